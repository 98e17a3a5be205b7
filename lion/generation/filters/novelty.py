"""Is a candidate new? Its largest ROUGE-L F-measure against a pool decides; pure, in memory.

Exact without comparing everything: which texts of the pool hold a word is known, so that the words
shared with each are counted at once, and they bound the F-measure. RapidFuzz aligns the few texts
that the bound leaves. Does not read pools, nor apply the other rules for candidates (see
`nursery`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from lion.errors import DataError
from lion.records.rows import canonical_text
from lion.words import Tokens, words

# Code point 0 stands for every word that the pool lacks; surrogates are no characters.
_UNKNOWN = chr(0)
_SURROGATES = range(0xD800, 0xE000)
_LAST_CODE_POINT = 0x10FFFF
_ROUNDING = 1e-9  # far above the error of a quotient; it can only cost time

Floats = NDArray[np.float64]


def f_measures(common: NDArray[np.int32], one: int, others: NDArray[np.int_]) -> Floats:
    """Return the F-measures 2pr / (p + r) of a text and others, 0 to 1, as rouge-score has them.

    `common` are the lengths of their longest common subsequences, `one` and `others` the texts'
    lengths, all in words and all above 0. The order of operations is the reference's, because the
    last bit decides at the limit.
    """
    precision, recall = common / one, common / others
    with np.errstate(invalid="ignore"):  # nothing in common
        found: Floats = np.nan_to_num(2 * precision * recall / (precision + recall))
    return found


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The text of the pool that is nearest to a candidate, and their ROUGE-L F, 0 to 1."""

    id: str
    similarity: float


class Novelty:
    """A growing pool, and whether a candidate is new to it: largest ROUGE-L F <= `limit`.

    A text without any word (an emoji, or a script that the `reference` tokenizer does not know)
    has no F-measure: it is known where the pool holds the very same text, else new.
    """

    def __init__(self, limit: float, tokens: Tokens) -> None:
        """Start an empty pool; `limit` is the largest F that is still new, above 0, at most 1."""
        if not 0 < limit <= 1:
            raise ValueError(f"limit: above 0 and at most 1 is expected, found {limit}")
        self._limit = limit
        self._tokens = tokens
        self._code_points: dict[str, str] = {}
        self._holders: dict[tuple[str, int], array[int]] = {}
        self._encoded: list[str] = []
        self._sizes = array("i")
        self._ids: list[str] = []
        self._texts: dict[str, str] = {}

    def __len__(self) -> int:
        """Return the number of texts added."""
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        """Put `text` into the pool.

        Raises DataError where the pool has more than 1,112,063 different words.
        """
        order = len(self._ids)
        encoded = "".join([self._code_point(word) for word in words(text, self._tokens)])
        for key in _counted(encoded):
            self._holders.setdefault(key, array("i")).append(order)
        self._encoded.append(encoded)
        self._sizes.append(len(encoded))
        self._ids.append(id)
        self._texts.setdefault(canonical_text(text), id)

    def check(self, text: str) -> bool:
        """Return whether `text` is new: its largest F against the pool is at most the limit."""
        return self.nearest(text) is None

    def nearest(self, text: str) -> Neighbour | None:
        """Return the text of the pool nearest to `text`, or None where `text` is new."""
        found = self.neighbour(text)
        return None if found is None or self.is_new(found) else found

    def is_new(self, neighbour: Neighbour) -> bool:
        """Return whether a text with this neighbour is new."""
        return neighbour.similarity <= self._limit

    def neighbour(self, text: str) -> Neighbour | None:
        """Return the text of the pool nearest to `text`, new or not; None where no word is shared.

        Of several equally near, the first added. The same non-empty text counts as 1.0, whatever
        the tokenizer sees in it.
        """
        canonical = canonical_text(text)
        if canonical and canonical in self._texts:
            return Neighbour(self._texts[canonical], 1.0)
        if not self._ids:
            return None
        known = self._code_points
        encoded = "".join([known.get(word, _UNKNOWN) for word in words(text, self._tokens)])
        bounds = self._bounds(encoded)
        if not bounds.any():
            return None
        first = self._similarities(encoded, [int(bounds.argmax())])[0]
        left = np.flatnonzero(bounds >= first - _ROUNDING).tolist()
        similarities = self._similarities(encoded, left)
        best = int(similarities.argmax())
        return Neighbour(self._ids[left[best]], float(similarities[best]))

    def _bounds(self, encoded: str) -> Floats:
        """Return what F can be at most, for each text of the pool: F by the words shared.

        A common subsequence cannot have more words than the two texts share, counted as often as
        they stand in both.
        """
        shared = np.zeros(len(self._encoded), dtype=np.int32)
        for key in _counted(encoded):
            holders = self._holders.get(key)
            if holders is not None:
                shared[np.frombuffer(holders, dtype=np.int32)] += 1
        total = np.frombuffer(self._sizes, dtype=np.int32) + max(len(encoded), 1)
        return 2 * shared / total

    def _similarities(self, encoded: str, orders: list[int]) -> Floats:
        """Return F of `encoded` and each of the pool's texts in `orders`, by the reference."""
        others = [self._encoded[order] for order in orders]
        common = cdist([encoded], others, scorer=LCSseq.similarity, dtype=np.int32)[0]
        sizes = np.array([len(other) for other in others])
        return f_measures(common, len(encoded), sizes)

    def _code_point(self, word: str) -> str:
        """Return the character that stands for `word`, so that RapidFuzz compares plain texts."""
        found = self._code_points.get(word)
        if found is None:
            number = len(self._code_points) + 1
            if number >= _SURROGATES.start:
                number += len(_SURROGATES)
            if number > _LAST_CODE_POINT:
                raise DataError(
                    f"novelty: the pool has more than {len(self._code_points):,} different "
                    "words, and no code point is left for another; use a smaller pool"
                )
            found = self._code_points[word] = chr(number)
        return found


def _counted(encoded: str) -> Iterator[tuple[str, int]]:
    """Yield each word and how often it stood before: two texts share a word per equal pair."""
    times: dict[str, int] = {}
    for word in encoded:
        before = times.get(word, 0)
        yield word, before
        times[word] = before + 1
