"""Decontamination: overlaps of a text with the questions of an exam. Pure.

Two tests, each an option: the text contains the whole question (`whole`), or the two share an
n-gram of `ngram` words, GPT-3's test (Brown et al. 2020, appendix C; 13 words there). A question
with options also overlaps where the text contains its stem and all its options, in any order and
under any label, or its stem alone if no other item of the exam has that stem. Paraphrases are not
detected.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import regex

from lion.config.settings import Decontaminate
from lion.conversations import TaskTemplate, variable_part
from lion.records.rows import Instruction, canonical_text
from lion.words import SPACED_WORD, UNSPACED_CHARACTER, folded

Words = tuple[str, ...]

SHORT = 4
"""A question of fewer words overlaps only with a text equal to it: many texts contain `Why?`.

Unless it has many symbols, as `( ( not ( True ) ) ) is` has: then its characters are searched for.
"""

# A sign next to a number or a bracket is an operator: `7 - 2` is not `7 + 2`. A point between
# digits belongs to the number. All other punctuation is replaced by spaces.
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
class Overlap:
    """The exam question that a text contains, and by which test.

    `options`: stem and options in another order; `stem`: the stem without its options.
    """

    exam_id: str
    kind: Literal["whole", "options", "stem", "ngram"]

    def __str__(self) -> str:
        """Return the overlap as the detail of a dropped row."""
        return f"exam {self.exam_id} ({self.kind})"


def normalised(text: str) -> Words:
    """Return the words of `text` for comparing: NFKC, case folded, punctuation as spaces.

    In a script without spaces, every character is a word. Signs next to numbers are kept. A text
    without words becomes one word, so that it can still equal another.
    """
    plain = folded(text.translate(_TYPOGRAPHIC))
    # For ASCII without signs both patterns agree, and the simpler is many times faster.
    simple = plain.isascii() and not _SIGNED.search(plain)
    words = tuple((_PLAIN_WORD if simple else _WORD).findall(plain))
    canonical = canonical_text(text)
    return words or ((canonical,) if canonical else ())


class Decontamination:
    """An index of exam questions; a lookup takes one pass over the words of the text.

    A long question is indexed by its rarest n-gram of `SHORT` words. Questions that share that
    n-gram, its offset and their length share one set, so templates of questions stay cheap.
    """

    def __init__(
        self, exam_texts: Iterable[tuple[str, str]], whole: bool, ngram: int | None
    ) -> None:
        """Index `exam_texts`, pairs of id and question; `ngram` is in words, None turns it off.

        Of equal questions, the first is reported.
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

    def find_overlap(self, text: str) -> Overlap | None:
        """Return the overlap with the first question in `text`, or None; `whole` before `ngram`.

        Questions are ordered by where they begin in `text`, then by length, longest first.
        """
        words = normalised(text)
        contained = self._contained(words)
        identity = self._equal.get(words) or next(
            (self._equal[question] for question in contained if question in self._equal),
            self._verbatim_question(text),
        )
        if identity is not None:
            return Overlap(identity, "whole")
        for stem in contained:
            overlap = self._by_stem(words, self._stems[stem])
            if overlap is not None:
                return overlap
        run = next(filter(self._runs.__contains__, _windows(words, self._ngram)), None)
        return None if run is None else Overlap(self._runs[run], "ngram")

    def _verbatim_question(self, text: str) -> str | None:
        spelt = _verbatim(text) if self._verbatim else ""
        return next((name for short, name in self._verbatim.items() if short in spelt), None)

    def _contained(self, words: Words) -> list[Words]:
        """Return the questions and stems that a text contains, by where they begin."""
        if self._anchors.keys().isdisjoint(_windows(words, SHORT)):  # nearly always
            return []
        matches: list[tuple[int, int, Words]] = []
        for index, run in enumerate(_windows(words, SHORT)):
            for (offset, length), questions in self._anchors.get(run, {}).items():
                start = index - offset
                question = words[start : start + length]
                if start >= 0 and question in questions:
                    matches.append((start, -length, question))
        return [question for _, _, question in sorted(matches)]

    def _by_stem(self, words: Words, items: list[tuple[str, list[str]]]) -> Overlap | None:
        text = _spelt(words)
        for identity, options in items:
            if all(option in text for option in options):
                return Overlap(identity, "options")
        return Overlap(items[0][0], "stem") if len(items) == 1 else None


def _verbatim(text: str) -> str:
    """Return a text for the comparison of characters: folded, without white space."""
    return "".join(folded(text).split())


def parted(text: str) -> tuple[str, list[str]]:
    """Return the stem of a question and its options; no options where fewer than two are found.

    Options are labelled A, B, ... as `(A)` or, at the start of a line, `A.`, `A)`, `A:`; or they
    are the dashed lines after a line `Options:`.
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
    """Return for each stem the items with that stem: id and options."""
    stems: dict[Words, list[tuple[str, list[str]]]] = {}
    for identity, text in texts:
        stem, options = parted(text)
        if options:
            items = stems.setdefault(normalised(stem), [])
            items.append((identity, [_spelt(normalised(option)) for option in options]))
    return stems


def _spelt(words: Words) -> str:
    """Return words as a string in which `in` matches whole words only."""
    return f" {' '.join(words)} "


def _anchored(questions: Iterable[Words]) -> dict[Words, dict[tuple[int, int], set[Words]]]:
    """Index each question by its rarest n-gram: n-gram -> (offset, length) -> questions."""
    questions = list(questions)
    counts: Counter[Words] = Counter()
    for words in questions:
        counts.update(_windows(words, SHORT))
    anchors: dict[Words, dict[tuple[int, int], set[Words]]] = {}
    for words in questions:
        rarity = list(map(counts.__getitem__, _windows(words, SHORT)))
        offset = rarity.index(min(rarity))
        run = words[offset : offset + SHORT]
        anchors.setdefault(run, {}).setdefault((offset, len(words)), set()).add(words)
    return anchors


def _windows(words: Words, size: int | None) -> Iterator[Words]:
    """Return every n-gram of `size` words, in order; none where `size` is None."""
    return (
        iter(()) if size is None else zip(*(words[start:] for start in range(size)), strict=False)
    )


def _is_short(words: Words) -> bool:
    """Return whether there are fewer than `SHORT` words; an unspaced character is half a word."""
    if len(words) >= 2 * SHORT:
        return False
    characters = sum(1 for word in words if _UNSPACED.fullmatch(word))
    return len(words) - characters / 2 < SHORT


def guard(
    exam: Iterable[Instruction], settings: Decontaminate, task: TaskTemplate | None = None
) -> Decontamination:
    """Return the index of the variable parts of the rows of `exam`."""
    texts = ((row.id, variable_part(row.messages, task)) for row in exam)
    return Decontamination(texts, settings.whole, settings.ngram)
