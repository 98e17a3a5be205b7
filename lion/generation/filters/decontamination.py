"""Does a text give an exam question away? Pure lookups; what follows from it is the stage's.

Two tests, each an option: the whole question stands in the text (`whole`), or the two share a run
of `ngram` words, GPT-3's test (Brown et al. 2020, appendix C; 13 words there). A question with
options is also met where its stem and all the options stand there in any order and under any
label, or where the stem alone does that no other item of the exam has. Finds no paraphrases.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import regex

from lion.config.settings import Decontaminate
from lion.records.rows import Instruction, canonical_text
from lion.student.chat_format import transcript
from lion.words import SPACED_WORD, UNSPACED_CHARACTER, folded

Words = tuple[str, ...]

SHORT = 4
"""Whole questions of fewer words count only where the text equals them: `Why?` stands in many.

Unless they have many marks, as `( ( not ( True ) ) ) is` has: those are looked for to the letter.
"""

# A sign beside a number or a bracket is arithmetic, not punctuation: `7 - 2` is not `7 + 2`. A
# point between digits belongs to the number. All other punctuation is a space.
_SIGN = r"[-+*/%^=<>|&!~\\#@$\u00D7\u00F7\u2212\u2260\u2264\u2265]"
_OPERAND = r"[\p{Nd}()\[\]{}]"
_WORD = regex.compile(
    rf"\p{{Nd}}+(?:\.\p{{Nd}}+)*|{UNSPACED_CHARACTER}|{SPACED_WORD}"
    rf"|(?<={_OPERAND}\s*){_SIGN}|{_SIGN}(?=\s*{_OPERAND})",
    regex.VERSION1,
)
_TYPOGRAPHIC = dict.fromkeys(map(ord, "\u201c\u201d\u2018\u2019\u2013\u2014\u2026\u2022"), " ")
_PLAIN_WORD = re.compile(r"[0-9]+(?:\.[0-9]+)*|[a-z0-9]+")
_SIGNED = re.compile(r"[0-9()\[\]{}]\s*[-+*/%^=<>|&!~\\#@$]|[-+*/%^=<>|&!~\\#@$]\s*[0-9()\[\]{}]")
_LABEL = re.compile(r"(?:(?<=\s)|^)(?:\(([A-Z])\)|^([A-Z])[.):](?=\s))\s*", re.MULTILINE)
_HEADING = re.compile(r"^\W*(?:answer\s+)?(?:options|choices)\W*$\n?", re.IGNORECASE | re.MULTILINE)
_SIGNIFICANT = re.compile(r"\w+|[^\w\s]")
_DASH = re.compile(r"^\s*[-*\u2022]\s+", re.MULTILINE)
_UNSPACED = regex.compile(UNSPACED_CHARACTER, regex.VERSION1)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The exam question that a text meets, and by which test.

    `options`: stem and options in another order; `stem`: the stem without its options.
    """

    exam_id: str
    kind: Literal["whole", "options", "stem", "ngram"]

    def __str__(self) -> str:
        """Return the meeting as a dropped row tells it."""
        return f"exam {self.exam_id} ({self.kind})"


def normalised(text: str) -> Words:
    """Return the words of `text` for comparing: NFKC, case folded, punctuation as spaces.

    Where a script has no spaces, every character is a word. A sign beside a number stays. A text
    without any word is its own only word, so that it can still equal another.
    """
    plain = folded(text.translate(_TYPOGRAPHIC))
    # In ASCII without a sign the two are the same, and the simpler pattern is many times faster.
    simple = plain.isascii() and not _SIGNED.search(plain)
    found = tuple((_PLAIN_WORD if simple else _WORD).findall(plain))
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
        texts = list(exam_texts)
        exam = [(identity, normalised(text)) for identity, text in texts]
        self._ngram = ngram
        self._runs: dict[Words, str] = {}
        for identity, words in reversed(exam):  # the first one stays
            self._runs.update(dict.fromkeys(_windows(words, ngram), identity))
        self._equal = {words: identity for identity, words in reversed(exam) if words and whole}
        self._stems = _stems(texts) if whole else {}
        self._verbatim = {
            _verbatim(text): identity
            for identity, text in reversed(texts)
            if whole
            and _is_short(normalised(text))
            and len(_SIGNIFICANT.findall(text)) >= 2 * SHORT
        }
        self._anchors = _anchored(
            words for words in {**self._equal, **self._stems} if not _is_short(words)
        )

    def meets(self, text: str) -> Meeting | None:
        """Return the first question that `text` gives away, or None; `whole` goes before `ngram`.

        The first is the one that begins first in `text`, then the longest.
        """
        words = normalised(text)
        standing = self._standing(words)
        identity = self._equal.get(words) or next(
            (self._equal[question] for question in standing if question in self._equal),
            self._to_the_letter(text),
        )
        if identity is not None:
            return Meeting(identity, "whole")
        for stem in standing:
            meeting = self._by_stem(words, self._stems[stem])
            if meeting is not None:
                return meeting
        run = next(filter(self._runs.__contains__, _windows(words, self._ngram)), None)
        return None if run is None else Meeting(self._runs[run], "ngram")

    def _to_the_letter(self, text: str) -> str | None:
        spelt = _verbatim(text) if self._verbatim else ""
        return next((name for short, name in self._verbatim.items() if short in spelt), None)

    def _standing(self, words: Words) -> list[Words]:
        """Return the questions and stems that stand in a text, by where they begin."""
        if self._anchors.keys().isdisjoint(_windows(words, SHORT)):  # nearly always
            return []
        found: list[tuple[int, int, Words]] = []
        for at, run in enumerate(_windows(words, SHORT)):
            for (offset, length), questions in self._anchors.get(run, {}).items():
                start = at - offset
                question = words[start : start + length]
                if start >= 0 and question in questions:
                    found.append((start, -length, question))
        return [question for _, _, question in sorted(found)]

    def _by_stem(self, words: Words, items: list[tuple[str, list[str]]]) -> Meeting | None:
        text = _spelt(words)
        for identity, options in items:
            if all(option in text for option in options):
                return Meeting(identity, "options")
        return Meeting(items[0][0], "stem") if len(items) == 1 else None


def _verbatim(text: str) -> str:
    """Return a text whose marks count: folded, white space aside."""
    return "".join(folded(text).split())


def parted(text: str) -> tuple[str, list[str]]:
    """Return the stem of a question and its options; none where fewer than two are told apart.

    Options are labelled A, B, ... as `(A)` or, opening a line, `A.`, `A)`, `A:`; or they are the
    dashed lines behind a line `Options:`.
    """
    marks: list[re.Match[str]] = []
    for mark in _LABEL.finditer(text):
        if (mark[1] or mark[2]) == chr(ord("A") + len(marks)):
            marks.append(mark)
    if len(marks) < 2:
        heading = _HEADING.search(text)
        marks = list(_DASH.finditer(text, heading.end() - 1)) if heading else []
    if len(marks) < 2:
        return text, []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    options = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    return _HEADING.sub("", text[: marks[0].start()]), options


def _stems(texts: Iterable[tuple[str, str]]) -> dict[Words, list[tuple[str, list[str]]]]:
    """Return for each stem the items that have it, with their options."""
    found: dict[Words, list[tuple[str, list[str]]]] = {}
    for identity, text in texts:
        stem, options = parted(text)
        if options:
            known = found.setdefault(normalised(stem), [])
            known.append((identity, [_spelt(normalised(option)) for option in options]))
    return found


def _spelt(words: Words) -> str:
    """Return words so that one stands in the other where its spelling does."""
    return f" {' '.join(words)} "


def _anchored(questions: Iterable[Words]) -> dict[Words, dict[tuple[int, int], set[Words]]]:
    """File each question under its rarest run: run -> (offset, length) -> questions."""
    known = list(questions)
    counts: Counter[Words] = Counter()
    for words in known:
        counts.update(_windows(words, SHORT))
    anchors: dict[Words, dict[tuple[int, int], set[Words]]] = {}
    for words in known:
        rarity = list(map(counts.__getitem__, _windows(words, SHORT)))
        offset = rarity.index(min(rarity))
        run = words[offset : offset + SHORT]
        anchors.setdefault(run, {}).setdefault((offset, len(words)), set()).add(words)
    return anchors


def _windows(words: Words, size: int | None) -> Iterator[Words]:
    """Return every run of `size` words, in order; none for None."""
    return iter(()) if size is None else zip(*(words[at:] for at in range(size)), strict=False)


def _is_short(words: Words) -> bool:
    """Say whether fewer than `SHORT` words; a character of an unspaced script is half of one."""
    if len(words) >= 2 * SHORT:
        return False
    characters = sum(1 for word in words if _UNSPACED.fullmatch(word))
    return len(words) - characters / 2 < SHORT


def guard(exam: Iterable[Instruction], settings: Decontaminate) -> Decontamination:
    """Return the guard that keeps the rows of `exam` out of pools."""
    texts = ((row.id, transcript(row.messages)) for row in exam)
    return Decontamination(texts, settings.whole, settings.ngram)
