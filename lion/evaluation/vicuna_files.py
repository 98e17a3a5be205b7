"""Readers of an open-ended exam's files: questions, answers and reviews, joined by question.

Two formats: Vicuna-80's own (FastChat: `question_id`, `text`, `category`, `score`), and plain JSONL
with a question in `instruction` or `question`, an answer in `output` or `answer`, and a key `id`.
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
    """One question; answers and reviews refer to it by `key`."""

    key: str
    text: str
    category: str


@dataclass(frozen=True, slots=True)
class ReadReview:
    """One review's scores of the first and the second answer: those recorded in its file, and ours.

    `recorded` is None if the file has no scores. `read` are the scores in the review's text, or the
    reason why it has no two scores.
    """

    key: str
    recorded: judge_parser.Scores | None
    read: judge_parser.Scores | str


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a file. Raises DataError."""
    return _read(path, _question, key=lambda question: question.key)


def read_answers(path: Path) -> dict[str, str]:
    """Return the answers of a file by their question's key. Raises DataError."""
    answers = _read(
        path,
        lambda row: (_key(row), _first(row, ("text", "output", "answer", "response"))),
        key=lambda answer: answer[0],
    )
    return dict(answers)


def read_reviews(path: Path) -> list[ReadReview]:
    """Return the reviews of a file, whose first line holds both scores. Raises DataError."""
    return _read(path, _review, key=lambda review: review.key)


def join(questions: Sequence[Question], by_key: dict[str, T], path: Path) -> list[T]:
    """Return the value of each question, in their order. Raises DataError if one has none."""
    missing = [question.key for question in questions if question.key not in by_key]
    if missing:
        raise DataError(
            f"{path}: nothing for {len(missing)} of {len(questions)} questions, the first of them "
            f"{missing[0]}. Complete the file, or shorten the questions' file."
        )
    return [by_key[question.key] for question in questions]


def _question(row: Row) -> Question:
    category = row.get("category") or _UNCATEGORISED
    if not isinstance(category, str):
        raise DataError(f"category: text is expected, found {category!r:.60}")
    return Question(_key(row), _first(row, ("text", "instruction", "question", "prompt")), category)


def _review(row: Row) -> ReadReview:
    recorded = row.get("score")
    pair = None
    if recorded is not None:
        if not (
            isinstance(recorded, list) and len(recorded) == 2 and all(map(_is_number, recorded))
        ):
            raise DataError(f"score: two numbers are expected, found {recorded!r:.60}")
        pair = (float(recorded[0]), float(recorded[1]))
        if pair == (-1.0, -1.0):  # FastChat writes this for a review that it could not read
            pair = None
    return ReadReview(_key(row), pair, judge_parser.from_first_line(_first(row, ("text",))))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(row: Row) -> str:
    key = next((row[name] for name in _KEYS if row.get(name) is not None), None)
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise DataError(f"one of {', '.join(_KEYS)} is expected, a text or a whole number")
    return str(key)


def _first(row: Row, names: tuple[str, ...]) -> str:
    text = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(text, str):
        raise DataError(f"one of {', '.join(names)} is expected, a text")
    return text


def _read(path: Path, make: Callable[[Row], T], key: Callable[[T], str]) -> list[T]:
    """Return the records of JSON lines. Raises DataError, also for a question with two rows."""
    by_key: dict[str, T] = {}
    for number, record in jsonl.read_plain(path, make):
        if key(record) in by_key:
            raise DataError(f"{path}, line {number}: question {key(record)} stands twice")
        by_key[key(record)] = record
    if not by_key:
        raise DataError(f"{path}: no row in it")
    return list(by_key.values())
