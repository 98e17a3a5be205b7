"""Does a text give an exam question away? Pure lookups; what follows from it is the stage's.

Two tests, each an option: the whole question stands in the text (`whole`), or the two share a run
of `ngram` words, GPT-3's test (Brown et al. 2020, appendix C; 13 words there). Finds no
paraphrases.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import regex

from lion.chat import transcript
from lion.novelty import SPACED_WORD, UNSPACED_CHARACTER, folded
from lion.records import Instruction, canonical_text
from lion.settings import Decontaminate

Words = tuple[str, ...]

SHORT = 4
"""Whole questions of fewer words count only where the text equals them: `Why?` stands in many."""

# A sign beside a number or a bracket is arithmetic, not punctuation: `7 - 2` is not `7 + 2`. A
# point between digits belongs to the number. All other punctuation is a space.
_SIGN = r"[-+*/%^=<>|&!~\\#@$\u00D7\u00F7\u2212\u2260\u2264\u2265]"
_OPERAND = r"[\p{Nd}()\[\]{}]"
_WORD = regex.compile(
    rf"\p{{Nd}}+(?:\.\p{{Nd}}+)*|{UNSPACED_CHARACTER}|{SPACED_WORD}"
    rf"|(?<={_OPERAND}\s*){_SIGN}|{_SIGN}(?=\s*{_OPERAND})",
    regex.VERSION1,
)
_UNSPACED = regex.compile(UNSPACED_CHARACTER, regex.VERSION1)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The exam question that a text meets, and by which test."""

    exam_id: str
    kind: Literal["whole", "ngram"]


def normalised(text: str) -> Words:
    """Return the words of `text` for comparing: NFKC, case folded, punctuation as spaces.

    Where a script has no spaces, every character is a word. A sign beside a number stays. A text
    without any word is its own only word, so that it can still equal another.
    """
    found = tuple(_WORD.findall(folded(text)))
    canonical = canonical_text(text)
    return found or ((canonical,) if canonical else ())


class Decontamination:
    """The questions of an exam, indexed once, so that a text costs one pass over its words.

    A long question is filed under its rarest run of `SHORT` words, and questions that share even
    that, offset and length are told apart by one lookup: templates stay cheap.
    """

    def __init__(
        self, exam_texts: Iterable[tuple[str, str]], whole: bool, ngram: int | None
    ) -> None:
        """Index `exam_texts`, pairs of id and question; `ngram` is in words, None turns it off.

        Of equal questions the first is the one that is named.
        """
        if ngram is not None and ngram < 1:
            raise ValueError(f"ngram: at least one word is expected, found {ngram}")
        exam = [(identity, normalised(text)) for identity, text in exam_texts]
        self._ngram = ngram
        self._runs = _first(
            (run, identity) for identity, words in exam for run in _windows(words, ngram)
        )
        self._equal = _first((words, identity) for identity, words in exam if words and whole)
        self._anchors = _anchored(
            {words: name for words, name in self._equal.items() if not _is_short(words)}
        )

    def meets(self, text: str) -> Meeting | None:
        """Return the first question that `text` gives away, or None; `whole` goes before `ngram`.

        The first is the one that begins first in `text`, then the longest.
        """
        words = normalised(text)
        identity = self._equal.get(words, self._inside(words))
        if identity is not None:
            return Meeting(identity, "whole")
        for run in _windows(words, self._ngram):
            if run in self._runs:
                return Meeting(self._runs[run], "ngram")
        return None

    def _inside(self, words: Words) -> str | None:
        found: list[tuple[int, int, str]] = []
        for at, run in enumerate(_windows(words, SHORT)):
            for (offset, length), questions in self._anchors.get(run, {}).items():
                start = at - offset
                identity = questions.get(words[start : start + length]) if start >= 0 else None
                if identity is not None:
                    found.append((start, -length, identity))
        return min(found)[2] if found else None


def _anchored(
    questions: Mapping[Words, str],
) -> dict[Words, dict[tuple[int, int], dict[Words, str]]]:
    """File each question under its rarest run: run -> (offset, length) -> question -> id."""
    counts = Counter(run for words in questions for run in _windows(words, SHORT))
    anchors: dict[Words, dict[tuple[int, int], dict[Words, str]]] = {}
    for words, identity in questions.items():
        offset, run = min(enumerate(_windows(words, SHORT)), key=lambda item: counts[item[1]])
        anchors.setdefault(run, {}).setdefault((offset, len(words)), {})[words] = identity
    return anchors


def _windows(words: Words, size: int | None) -> Iterator[Words]:
    """Yield every run of `size` words, in order; none for None."""
    if size is not None:
        for at in range(len(words) - size + 1):
            yield words[at : at + size]


def _first(pairs: Iterable[tuple[Words, str]]) -> dict[Words, str]:
    found: dict[Words, str] = {}
    for words, identity in pairs:
        found.setdefault(words, identity)
    return found


def _is_short(words: Words) -> bool:
    """Say whether fewer than `SHORT` words; a character of an unspaced script is half of one."""
    characters = sum(1 for word in words if _UNSPACED.fullmatch(word))
    return len(words) - characters / 2 < SHORT


def guard(exam: Iterable[Instruction], settings: Decontaminate) -> Decontamination:
    """Return the guard that keeps the rows of `exam` out of pools."""
    texts = ((row.id, transcript(row.messages)) for row in exam)
    return Decontamination(texts, settings.whole, settings.ngram)
