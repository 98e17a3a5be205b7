"""The files of an open-ended exam: questions, answers and reviews, joined by the question's number.

Vicuna-80's own format (FastChat: `question_id`, `text`, `category`, `score`) and plain JSONL, where
a question may be `instruction` or `question`, an answer `output` or `answer`, its key `id`. Reads
alone; what the scores come to is `open_ended`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lion.errors import DataError
from lion.prompting import judge_parser
from lion.records import jsonl
from lion.records.rows import Row

T = TypeVar("T")
_KEYS, _UNCATEGORISED = ("question_id", "id"), "uncategorised"


@dataclass(frozen=True, slots=True)
class Question:
    """One question; `key` is what answers and reviews name it by."""

    key: str
    text: str
    category: str


@dataclass(frozen=True, slots=True)
class ReadReview:
    """One review: what its file says the scores are, and what we read in its text.

    Of the first and the second answer. `told` is None where the file has none, `read` a reason
    where the text gives no two scores.
    """

    key: str
    told: judge_parser.Scores | None
    read: judge_parser.Scores | str


def read_questions(path: Path) -> list[Question]:
    """Read a file of questions. Raises DataError."""
    return _read(path, _question, key=lambda one: one.key)


def read_answers(path: Path) -> dict[str, str]:
    """Read a file of answers, by their question's key. Raises DataError."""
    found = _read(
        path,
        lambda row: (_key(row), _first(row, ("text", "output", "answer", "response"))),
        key=lambda one: one[0],
    )
    return dict(found)


def read_reviews(path: Path) -> list[ReadReview]:
    """Read a file of reviews whose first line holds both scores. Raises DataError."""
    return _read(path, _review, key=lambda one: one.key)


def join(asked: Sequence[Question], found: dict[str, T], path: Path) -> list[T]:
    """Return what stands in `found` for each question, in their order. Raises DataError."""
    missing = [one.key for one in asked if one.key not in found]
    if missing:
        raise DataError(
            f"{path}: nothing for {len(missing)} of {len(asked)} questions, the first of them "
            f"{missing[0]}. Complete the file, or shorten the questions' file."
        )
    return [found[one.key] for one in asked]


def _question(row: Row) -> Question:
    category = row.get("category") or _UNCATEGORISED
    if not isinstance(category, str):
        raise DataError(f"category: text is expected, found {category!r:.60}")
    return Question(_key(row), _first(row, ("text", "instruction", "question", "prompt")), category)


def _review(row: Row) -> ReadReview:
    told = row.get("score")
    pair = None
    if told is not None:
        if not (isinstance(told, list) and len(told) == 2 and all(map(_is_number, told))):
            raise DataError(f"score: two numbers are expected, found {told!r:.60}")
        pair = (float(told[0]), float(told[1]))
        if pair == (-1.0, -1.0):  # what FastChat writes where it could not read a review
            pair = None
    return ReadReview(_key(row), pair, judge_parser.from_first_line(_first(row, ("text",))))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(row: Row) -> str:
    found = next((row[name] for name in _KEYS if row.get(name) is not None), None)
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise DataError(f"one of {', '.join(_KEYS)} is expected, a text or a whole number")
    return str(found)


def _first(row: Row, names: tuple[str, ...]) -> str:
    found = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(found, str):
        raise DataError(f"one of {', '.join(names)} is expected, a text")
    return found


def _read(path: Path, make: Callable[[Row], T], key: Callable[[T], str]) -> list[T]:
    """Read JSON lines; the same question twice is an error, since one of them would be lost."""
    found: dict[str, T] = {}
    for number, made in jsonl.read_plain(path, make):
        if key(made) in found:
            raise DataError(f"{path}, line {number}: question {key(made)} stands twice")
        found[key(made)] = made
    if not found:
        raise DataError(f"{path}: no row in it")
    return list(found.values())
