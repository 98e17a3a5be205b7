"""Filter of novelty: the largest ROUGE-L F-measure of a candidate against a pool. In memory.

Exact without comparing all pairs: an inverted index counts the words that the candidate shares with
each text of the pool, which bounds the F-measure. RapidFuzz aligns only the texts above the bound.
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

# Code point 0 stands for every word that is not in the pool; surrogates are not characters.
_UNKNOWN = chr(0)
_SURROGATES = range(0xD800, 0xE000)
_LAST_CODE_POINT = 0x10FFFF
_ROUNDING = 1e-9  # far above the rounding error of a quotient; too large a value only costs time

Floats = NDArray[np.float64]


def f_measures(common: NDArray[np.int32], size: int, sizes: NDArray[np.int_]) -> Floats:
    """Return the F-measures 2pr / (p + r) of a text and others, 0 to 1, equal to rouge-score's.

    `common` are the lengths of their longest common subsequences, `size` and `sizes` the lengths
    of the text and of the others, all in words, all above 0. The order of operations is
    rouge-score's, because the last bit decides at the limit.
    """
    precision, recall = common / size, common / sizes
    with np.errstate(invalid="ignore"):  # no common word
        measures: Floats = np.nan_to_num(2 * precision * recall / (precision + recall))
    return measures


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The text of the pool that is nearest to a candidate, and their ROUGE-L F, 0 to 1."""

    id: str
    similarity: float


class Novelty:
    """A growing pool; a candidate is new where its largest ROUGE-L F is at most `limit`.

    A text without words (an emoji, or a script that the `reference` tokenizer does not know) has
    no F-measure: it is new unless the pool holds the same text.
    """

    def __init__(self, limit: float, tokens: Tokens) -> None:
        """Create an empty pool; `limit` is the largest F of a new text, above 0, at most 1."""
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
        """Add `text` to the pool.

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
        neighbour = self.neighbour(text)
        return None if neighbour is None or self.is_new(neighbour) else neighbour

    def is_new(self, neighbour: Neighbour) -> bool:
        """Return whether a text with this neighbour is new."""
        return neighbour.similarity <= self._limit

    def neighbour(self, text: str) -> Neighbour | None:
        """Return the text of the pool nearest to `text`, new or not; None where no word is shared.

        Of several equally near, the first added. The same non-empty text has similarity 1.0, also
        where the tokenizer returns no words.
        """
        canonical = canonical_text(text)
        if canonical and canonical in self._texts:
            return Neighbour(self._texts[canonical], 1.0)
        if not self._ids:
            return None
        code_points = self._code_points
        encoded = "".join([code_points.get(word, _UNKNOWN) for word in words(text, self._tokens)])
        bounds = self._bounds(encoded)
        if not bounds.any():
            return None
        first = self._similarities(encoded, [int(bounds.argmax())])[0]
        left = np.flatnonzero(bounds >= first - _ROUNDING).tolist()
        similarities = self._similarities(encoded, left)
        best = int(similarities.argmax())
        return Neighbour(self._ids[left[best]], float(similarities[best]))

    def _bounds(self, encoded: str) -> Floats:
        """Return an upper bound of F for each text of the pool: F of the number of shared words.

        A common subsequence has at most as many words as the two texts share, with multiplicity.
        """
        shared = np.zeros(len(self._encoded), dtype=np.int32)
        for key in _counted(encoded):
            holders = self._holders.get(key)
            if holders is not None:
                shared[np.frombuffer(holders, dtype=np.int32)] += 1
        total = np.frombuffer(self._sizes, dtype=np.int32) + max(len(encoded), 1)
        return 2 * shared / total

    def _similarities(self, encoded: str, orders: list[int]) -> Floats:
        """Return the exact F of `encoded` and each of the pool's texts in `orders`."""
        others = [self._encoded[order] for order in orders]
        common = cdist([encoded], others, scorer=LCSseq.similarity, dtype=np.int32)[0]
        sizes = np.array([len(other) for other in others])
        return f_measures(common, len(encoded), sizes)

    def _code_point(self, word: str) -> str:
        """Return the character that encodes `word`: RapidFuzz compares strings."""
        character = self._code_points.get(word)
        if character is None:
            number = len(self._code_points) + 1
            if number >= _SURROGATES.start:
                number += len(_SURROGATES)
            if number > _LAST_CODE_POINT:
                raise DataError(
                    f"novelty: the pool has more than {len(self._code_points):,} different "
                    "words, and no code point is left for another; use a smaller pool"
                )
            character = self._code_points[word] = chr(number)
        return character


def _counted(encoded: str) -> Iterator[tuple[str, int]]:
    """Yield each word with its number of earlier occurrences; equal pairs are shared words."""
    times: dict[str, int] = {}
    for word in encoded:
        before = times.get(word, 0)
        yield word, before
        times[word] = before + 1
