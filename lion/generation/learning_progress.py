"""Where the student still learns: hard instructions told from unlearnable ones. Pure.

The paper draws parents uniformly from all that is hard, for ever: what the student never learns
takes a growing share of the budget. Here a parent's weight follows the *learning progress* of its
relatives, by how much their gap fell since the iteration before (Schmidhuber 1991; Oudeyer, Kaplan
and Hafner 2007; for language models LILO, NeurIPS 2025, which samples by learnability p(1 - p)).
p(1 - p) alone would not do here: a family that is answered right by chance, a third of the time,
looks learnable for ever.

Relatives are judged rows whose words are much the same: the cosine of their idf-weighted sets of
words, rare words apart, is at least 0.6. So no label, no model and no number of clusters is needed;
in the laboratory, whose domain labels lump families, 98.9 % of such pairs are of one family.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lion.records.rows import Instruction, Verdict
from lion.words import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 0.6  # the least cosine of relatives
COMMON = 5  # rows that a word stands in to count: numbers and names tell no relatives
PRIOR = 4.0  # relatives that the mean progress stands for, where there are few
FLOOR = 0.25  # the weight of no progress at all, where 1 is the mean: nothing is given up for good
_AT_ONCE = 512  # rows compared at a time

_LEAST = 5  # verdicts in either iteration for a domain to be named
_NAMED = 5  # domains named, at most


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with its gap (points of score)."""

    row: Instruction
    gap: float


def judged(rows: Iterable[Instruction], verdicts: Iterable[Verdict]) -> list[Judged]:
    """Return the rows that have a gap, in their order."""
    gaps = {one.id: one.gap for one in verdicts if one.gap is not None}
    return [Judged(row, gaps[row.id]) for row in rows if row.id in gaps]


def weights(
    parents: Sequence[Instruction], before: Sequence[Judged], now: Sequence[Judged]
) -> dict[str, float]:
    """Return the weight of each parent, by id; all are 1 where there is no history.

    progress(x) = mean gap of x's relatives before - mean gap of its relatives now (x itself apart),
    shrunk to the parents' mean by PRIOR relatives and 0 where negative;
    weight(x) = FLOOR + (1 - FLOOR) * progress(x) / its mean over the parents.
    """
    if not parents or not before or not now:
        return {row.id: 1.0 for row in parents}
    import numpy as np

    index = _index([*parents, *(one.row for one in before), *(one.row for one in now)])
    ends = np.cumsum([len(parents), len(before), len(now)])
    parts = (index[: ends[0]], index[ends[0] : ends[1]], index[ends[1] :])
    old_count, old_gap = _relatives(parts[0], parts[1], [one.gap for one in before])
    count, gap = _relatives(parts[0], parts[2], [one.gap for one in now])
    own = {one.row.id: one.gap for one in now}
    count -= np.array([row.id in own for row in parents])
    gap -= np.array([own.get(row.id, 0.0) for row in parents])
    moved = _shrunk(old_gap, old_count, gap, count)
    relative = moved / moved.mean() if moved.any() else np.ones(len(parents))
    found = FLOOR + (1 - FLOOR) * relative
    return {row.id: float(one) for row, one in zip(parents, found, strict=True)}


def resisting(before: Sequence[Judged], now: Sequence[Judged]) -> list[str]:
    """Return the domains whose mean gap is above that of all and has not fallen, largest first.

    Only domains with a few verdicts in both iterations are told, and at most five of them.
    """
    least = fmean(one.gap for one in now) if now else 0.0
    old, new = _by_domain(before), _by_domain(now)
    found = {
        name: fmean(gaps)
        for name, gaps in new.items()
        if len(gaps) >= _LEAST
        and len(old.get(name, ())) >= _LEAST
        and fmean(gaps) > least
        and fmean(gaps) >= fmean(old[name])
    }
    return sorted(found, key=lambda name: (-found[name], name))[:_NAMED]


def _by_domain(rows: Sequence[Judged]) -> Mapping[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for one in rows:
        if one.row.domain is not None:
            found[one.row.domain].append(one.gap)
    return found


def _shrunk(
    old_gap: "NDArray[Any]", old_count: "NDArray[Any]", gap: "NDArray[Any]", count: "NDArray[Any]"
) -> "NDArray[Any]":
    """Return each parent's progress, shrunk to the mean, and 0 where it is negative."""
    import numpy as np

    pairs = np.minimum(old_count, count)
    raw = old_gap / np.maximum(old_count, 1) - gap / np.maximum(count, 1)
    mean = max(0.0, float(np.average(raw, weights=pairs))) if pairs.any() else 0.0
    shrunk: NDArray[Any] = np.maximum(0.0, (pairs * raw + PRIOR * mean) / (pairs + PRIOR))
    return shrunk


def _relatives(
    rows: Any, others: Any, gaps: Sequence[float]
) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """Return for each row how many of the others are its relatives, and the sum of their gaps."""
    import numpy as np

    values = np.asarray(gaps, dtype=float)
    counts, sums = [], []
    for start in range(0, rows.shape[0], _AT_ONCE):
        alike = (rows[start : start + _AT_ONCE] @ others.T).toarray() >= ALIKE - 1e-9
        counts.append(alike.sum(axis=1).astype(float))
        sums.append(alike @ values)
    return np.concatenate(counts), np.concatenate(sums)


def _index(rows: Sequence[Instruction]) -> Any:
    """Return a (rows, words) matrix of idf weights, each row of length 1 (or 0, without words)."""
    import numpy as np
    from scipy import sparse  # slow to import

    sets = [sorted(set(words(row.messages[-1]["content"], "unicode"))) for row in rows]
    places: dict[str, int] = {}
    columns = np.array([places.setdefault(word, len(places)) for one in sets for word in one], int)
    starts = np.cumsum([0, *(len(one) for one in sets)])
    frequency = np.bincount(columns, minlength=len(places))
    idf = np.log((1 + len(rows)) / np.maximum(frequency, 1)) * (frequency >= COMMON)
    values = idf[columns]
    matrix = sparse.csr_array((values, columns, starts), shape=(len(rows), max(1, len(places))))
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    return sparse.diags_array(1 / np.maximum(length, 1e-12)) @ matrix
