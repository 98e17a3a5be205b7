"""Certification rows by kind: where a certificate's coverage and disagreements lie. Pure.

Nothing is promised of a stratum: the guarantee is over all requests together.
"""

import hashlib
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lion.certify.labels import AnsweredRow
from lion.certify.thresholds import LabelledRow, is_accepted
from lion.metrics.certificates import Stratum

_MOST = 20
"""Values of a kind that are kept apart; with more, the kind is left out."""
_EDGES = (25, 100, 400, 1600)
_BANDS = ("to 25 words", "to 100 words", "to 400 words", "to 1,600 words", "longer")
_LABEL = 40  # characters


def strata(
    rows: Sequence[AnsweredRow], labelled: Sequence[LabelledRow], limit: float | None
) -> dict[str, dict[str, Stratum]]:
    """Return the strata by kind and value; a kind with one value, or too many, is left out."""
    kinds = {name: [kind(row) for row in rows] for name, kind in _KINDS.items()}
    return {
        name: {
            value: _stratum(
                [row for row, own in zip(labelled, values, strict=True) if own == value], limit
            )
            for value in sorted(set(values))
        }
        for name, values in kinds.items()
        if 1 < len(set(values)) <= _MOST
    }


def _stratum(rows: Sequence[LabelledRow], limit: float | None) -> Stratum:
    accepted = [row for row in rows if is_accepted(row.uncertainty, limit)]
    return Stratum(len(rows), len(accepted), sum(not row.agrees for row in accepted))


def _script(row: AnsweredRow) -> str:
    """Return the script of most letters, by the first word of their names in Unicode."""
    text = row.instruction.messages[-1]["content"]
    names = (unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    common = Counter(names).most_common(1)
    return common[0][0].capitalize() if common else "no letters"


def _words(row: AnsweredRow) -> str:
    words = sum(len(turn["content"].split()) for turn in row.instruction.messages)
    return _BANDS[bisect_left(_EDGES, words)]


def _prompt(row: AnsweredRow) -> str:
    """Return a name of the system turn: its beginning and a part of its hash."""
    first = row.instruction.messages[0]
    if first["role"] != "system":
        return "no system turn"
    digest = hashlib.sha256(first["content"].encode()).hexdigest()[:8]
    return f"{' '.join(first['content'].split())[:_LABEL]} ({digest})"


_KINDS: Mapping[str, Callable[[AnsweredRow], str]] = {
    "label": lambda row: " ".join(row.teacher.split())[:_LABEL],
    "category": lambda row: row.instruction.category or "uncategorised",
    "length": _words,
    "language": _script,
    "prompt": _prompt,
}
