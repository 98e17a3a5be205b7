"""Is a candidate new? Its largest ROUGE-L F-measure against a pool decides; pure, in memory.

Words become code points, so that the pool is lists of strings, one list for each length, and
RapidFuzz finds the nearest one in C++. Does not read pools, nor apply the other rules for
candidates (see `nursery`).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import regex
from rapidfuzz import process
from rapidfuzz.distance import Indel, LCSseq

from lion.errors import DataError
from lion.records import canonical_text

Tokens = Literal["unicode", "reference"]

# Scripts that write words without spaces between them: each character is a token there. The long
# vowel mark of kana is in no script of its own.
_UNSPACED = (
    r"\u30FC\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Ahom}\p{Javanese}\p{Balinese}"
)
UNSPACED_CHARACTER = rf"[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]\p{{M}}*"
SPACED_WORD = rf"(?:[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]\p{{M}}*)+"
"""Patterns of the package `regex`, version 1: combining marks stay with their base."""

_UNICODE_WORD = regex.compile(f"{UNSPACED_CHARACTER}|{SPACED_WORD}", regex.VERSION1)
# Joiners and soft hyphens say how a word is drawn, not which word it is.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))

# Code point 0 stands for every word that the pool lacks; surrogates are no characters.
_UNKNOWN = chr(0)
_SURROGATES = range(0xD800, 0xE000)
_LAST_CODE_POINT = 0x10FFFF

# RapidFuzz 3.14 compares cut-offs in single precision: with one of exactly 0.8 it misses a fraction
# of 0.8. The slack is far above that error; it can only cost time, never change a decision.
_SLACK = 1e-5


def folded(text: str) -> str:
    """Return `text` for comparing: compatibility forms and case folded, invisible marks gone."""
    visible = text.translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def words(text: str, tokens: Tokens) -> list[str]:
    """Return the words of `text` that ROUGE-L compares.

    `reference`: the default tokenizer of the package rouge-score, without stemming: lower case,
    runs of a-z and 0-9, everything else separates. `unicode`: the same idea for every script;
    where a script puts no spaces between words, every character is a word. Punctuation and
    symbols are never words.
    """
    # In ASCII the two are the same, and the simpler pattern is many times faster.
    if tokens == "reference" or text.isascii():
        return re.findall("[a-z0-9]+", text.lower())
    return list(_UNICODE_WORD.findall(folded(text)))


def f_measure(common: int, one: int, other: int) -> float:
    """Return the F-measure 2pr / (p + r) of two texts, 0 to 1, as rouge-score computes it.

    `common` is the length of their longest common subsequence, `one` and `other` are their
    lengths in words. The order of operations is the reference's, because the last bit decides at
    the limit.
    """
    if common == 0:
        return 0.0
    precision, recall = common / one, common / other
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The text of the pool that is nearest to a candidate, and their ROUGE-L F, 0 to 1."""

    id: str
    similarity: float


@dataclass(slots=True)
class _Length:
    """The texts of one length in words, and which in order of all texts each of them was."""

    texts: list[str] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)

    def add(self, encoded: str, order: int) -> None:
        self.texts.append(encoded)
        self.orders.append(order)

    def best(self, encoded: str, cutoff: float) -> float:
        """Return the largest similarity that is at least `cutoff`, or 0."""
        found = process.extractOne(
            encoded, self.texts, scorer=Indel.normalized_similarity, score_cutoff=cutoff
        )
        return 0.0 if found is None else found[1]

    def all(self, encoded: str, cutoff: float) -> list[tuple[int, str]]:
        """Return order and text of each that is at least as similar as `cutoff`."""
        found = process.extract(
            encoded,
            self.texts,
            scorer=Indel.normalized_similarity,
            score_cutoff=cutoff,
            limit=None,
        )
        return [(self.orders[index], text) for text, _, index in found]


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
        self._lengths: dict[int, _Length] = {}
        self._ids: list[str] = []
        self._texts: dict[str, str] = {}

    def __len__(self) -> int:
        """Return the number of texts added."""
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        """Put `text` into the pool.

        Raises DataError where the pool has more than 1,112,063 different words.
        """
        encoded = "".join(self._code_point(word) for word in words(text, self._tokens))
        self._lengths.setdefault(len(encoded), _Length()).add(encoded, len(self._ids))
        self._ids.append(id)
        self._texts.setdefault(canonical_text(text), id)

    def nearest(self, text: str) -> Neighbour | None:
        """Return the text of the pool nearest to `text`, or None where `text` is new.

        Of several equally near, the first added. The same non-empty text counts as 1.0, whatever
        the tokenizer sees in it.
        """
        if self._limit >= 1:
            return None
        canonical = canonical_text(text)
        if canonical and canonical in self._texts:
            return Neighbour(self._texts[canonical], 1.0)
        known = self._code_points
        encoded = "".join(known.get(word, _UNKNOWN) for word in words(text, self._tokens))
        return self._nearest(encoded) if encoded else None

    def check(self, text: str) -> bool:
        """Return whether `text` is new: its largest F against the pool is at most the limit."""
        return self.nearest(text) is None

    def _nearest(self, encoded: str) -> Neighbour | None:
        # Indel.normalized_similarity is 2L/(m+n): the same fraction as the reference's 2pr/(p+r),
        # but rounded elsewhere. It finds the nearest, the reference's formula decides: of equal
        # fractions any may round above the limit, or above the others.
        cutoff = self._limit - _SLACK
        groups = list(self._near(len(encoded)))
        best = max((group.best(encoded, cutoff) for group in groups), default=0.0)
        if not best:
            return None
        cutoff = max(cutoff, best - _SLACK)
        tied = sorted(one for group in groups for one in group.all(encoded, cutoff))
        neighbours = [self._neighbour(encoded, order, other) for order, other in tied]
        nearest = max(neighbours, key=lambda neighbour: neighbour.similarity)
        return nearest if nearest.similarity > self._limit else None

    def _near(self, length: int) -> Iterator[_Length]:
        """Yield the texts whose length in words lets them come near one of `length` words.

        With L <= min(m, n) the F-measure is at most 2 min(m, n) / (m + n).
        """
        cutoff = self._limit - _SLACK
        for other, group in self._lengths.items():
            if 2 * min(length, other) >= cutoff * (length + other):
                yield group

    def _neighbour(self, encoded: str, order: int, other: str) -> Neighbour:
        common = LCSseq.similarity(encoded, other)
        return Neighbour(self._ids[order], f_measure(common, len(encoded), len(other)))

    def _code_point(self, word: str) -> str:
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
