"""Readers of the official files of BBH and AGIEval: multiple-choice items with lettered options.

BIG-Bench Hard (Suzgun et al. 2022): the 23 multiple-choice tasks, 5,511 items; AGIEval v1 (Zhong et
al. 2023): the 8 English multiple-choice tasks, 2,546 items; the paper reports both, zero-shot.
Tasks without letters get them in the fixed order of `WORDS`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from types import MappingProxyType
from typing import Any

import orjson

from lion.errors import DataError
from lion.records.rows import Instruction, Row

ASK = "Answer with the letter of the right option."

_BBH = {
    "boolean_expressions": 250,
    "causal_judgement": 187,
    "date_understanding": 250,
    "disambiguation_qa": 250,
    "formal_fallacies": 250,
    "geometric_shapes": 250,
    "hyperbaton": 250,
    "logical_deduction_five_objects": 250,
    "logical_deduction_seven_objects": 250,
    "logical_deduction_three_objects": 250,
    "movie_recommendation": 250,
    "navigate": 250,
    "penguins_in_a_table": 146,
    "reasoning_about_colored_objects": 250,
    "ruin_names": 250,
    "salient_translation_error_detection": 250,
    "snarks": 178,
    "sports_understanding": 250,
    "temporal_sequences": 250,
    "tracking_shuffled_objects_five_objects": 250,
    "tracking_shuffled_objects_seven_objects": 250,
    "tracking_shuffled_objects_three_objects": 250,
    "web_of_lies": 250,
}
_AGIEVAL = {
    "aqua-rat": 254,
    "logiqa-en": 651,
    "lsat-ar": 230,
    "lsat-lr": 510,
    "lsat-rc": 269,
    "sat-en": 206,
    "sat-en-without-passage": 206,
    "sat-math": 220,
}
OFFICIAL: Mapping[str, Mapping[str, int]] = MappingProxyType({"bbh": _BBH, "agieval": _AGIEVAL})
"""Numbers of items of the tasks in the paper's average."""

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "boolean_expressions": ("True", "False"),
        "causal_judgement": ("Yes", "No"),
        "formal_fallacies": ("valid", "invalid"),
        "navigate": ("Yes", "No"),
        "sports_understanding": ("yes", "no"),
        "web_of_lies": ("Yes", "No"),
    }
)
"""The options of tasks without letters: the first is (A), the second (B)."""

_OPTION = re.compile(r"\(([A-Z])\)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Item:
    """A question; `answer` is the letter of the right option, None where no option is."""

    exam: str
    task: str
    number: int
    question: str
    options: tuple[str, ...]
    answer: str | None
    target: str

    @property
    def letters(self) -> str:
        """The letters of its options."""
        return ascii_uppercase[: len(self.options)]

    @property
    def prompt(self) -> str:
        """The prompt for the student: question, lettered options, request for a letter."""
        options = [f"({a}) {b}" for a, b in zip(self.letters, self.options, strict=True)]
        return "\n".join([self.question, "Options:", *options, ASK])

    def instruction(self) -> Instruction:
        """Return the item as an exam row."""
        return Instruction.new(
            [{"role": "user", "content": self.prompt}],
            origin="exam",
            iteration="0",
            category=f"{self.exam}/{self.task}",
            expected=self.answer,
        )


def read_items(folder: Path) -> list[Item]:
    """Return the items of all official tasks with a file in `folder`, in the order of the tasks.

    Other files are ignored: BBH has four tasks without options. Raises DataError.
    """
    readers = dict(_READERS.values())
    return [
        item
        for path in official_files(folder)
        for item in readers[path.suffix.lstrip(".")](path, path.stem)
    ]


def official_files(folder: Path) -> list[Path]:
    """Return the files of BBH and AGIEval in `folder`, by their official names.

    Raises DataError if the folder has none.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Import BBH or AGIEval there (docs/reference/exams.md)."
        )
    paths = [
        folder / f"{task}.{_READERS[exam][0]}" for exam, tasks in OFFICIAL.items() for task in tasks
    ]
    present = [path for path in paths if path.is_file()]
    if not present:
        raise DataError(
            f"{folder}: no file of BBH (such as navigate.json) or AGIEval (such as sat-en.jsonl). "
            "Name the folder that holds them (docs/reference/exams.md)."
        )
    return present


def _bbh(path: Path, task: str) -> Iterator[Item]:
    document = _json(path, path.read_bytes())
    examples = document.get("examples")
    if not isinstance(examples, list):
        raise DataError(f"{path}: no list `examples`; is it BBH's own file?")
    for number, row in enumerate(examples, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, example {number}: not an object")
        text, target = (_text(row, key, path, number) for key in ("input", "target"))
        question, _, listed = text.partition("\nOptions:\n")
        options = WORDS.get(task) or tuple(_listed(listed.splitlines(), path, number))
        words = dict(zip(options, ascii_uppercase, strict=False))
        letter = _OPTION.fullmatch(target)
        answer = words.get(target) if task in WORDS else letter and letter[1]
        yield _item("bbh", task, number, question, options, answer, target)


def _agieval(path: Path, task: str) -> Iterator[Item]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        row = _json(path, line)
        listed = row.get("options")
        if not isinstance(listed, list) or not all(isinstance(option, str) for option in listed):
            raise DataError(f"{path}, line {number}: no list of options; is it AGIEval v1's file?")
        question, passage = _text(row, "question", path, number), row.get("passage")
        text = f"{passage}\n\n{question}" if passage else question
        target = _text(row, "label", path, number)
        options = tuple(_lettered(listed))
        yield _item("agieval", task, number, text, options, target, target)


_READERS: dict[str, tuple[str, Any]] = {"bbh": ("json", _bbh), "agieval": ("jsonl", _agieval)}


def _item(
    exam: str,
    task: str,
    number: int,
    question: str,
    options: tuple[str, ...],
    answer: str | None,
    target: str,
) -> Item:
    letter = answer if answer and answer in ascii_uppercase[: len(options)] else None
    return Item(exam, task, number, question, options, letter, target)


def _listed(lines: Sequence[str], path: Path, number: int) -> Iterator[str]:
    """Yield the options' texts. Raises DataError where their letters are not A, B, C, ..."""
    for letter, line in zip(ascii_uppercase, lines, strict=False):
        match = _OPTION.fullmatch(line.strip())
        if match is None or match[1] != letter:
            raise DataError(f"{path}, {number}: option ({letter}) is expected, found {line!r:.60}")
        yield match[2].strip()


def _lettered(options: Sequence[str]) -> Iterator[str]:
    """Yield AGIEval's options without their letters, in the letters' order.

    Some options of LogiQA are in the order A, C, B, D, and some have a letter without brackets, or
    none. Where not all options have distinct letters, the position determines the letter.
    """
    matches = [_OPTION.fullmatch(option) for option in options]
    texts = {match[1]: match[2].strip() for match in matches if match is not None}
    if sorted(texts) == list(ascii_uppercase[: len(options)]):
        yield from (texts[letter] for letter in sorted(texts))
        return
    for letter, option in zip(ascii_uppercase, options, strict=False):
        yield re.sub(rf"^(?:\({letter}\)|{letter}[?.\s])\s*", "", option).strip()


def _json(path: Path, raw: bytes) -> Row:
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}: a JSON object is expected")
    return row


def _text(row: Row, key: str, path: Path, number: int) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{path}, {number}: {key}: text is expected, found {value!r:.60}")
    return value
