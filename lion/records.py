"""The rows that travel between stages, and the content hash that names an instruction.

Pure values: no files (see `jsonl`), no decisions. Every row is joined by `id`, never by position,
and carries `format`, so that a later version reads or refuses it knowingly.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypedDict, get_args

import orjson

from lion.errors import DataError

FORMAT = 1

Role = Literal["system", "user", "assistant"]
Origin = Literal["seed", "hard", "easy", "exam"]
Order = Literal["teacher_first", "student_first"]
Difficulty = Literal["hard", "easy", "undecided"]
Kind = Literal["hard", "easy"]
Feedback = Literal["adversarial", "uniform", "uniform-mixed", "balanced"]
Basis = Literal["both_orders", "one_order", "same_answer"]
ORDERS: tuple[Order, Order] = ("teacher_first", "student_first")
KINDS: tuple[Kind, Kind] = ("hard", "easy")
Row = dict[str, Any]
_ROLES = get_args(Role)
_ORIGINS = get_args(Origin)


class Message(TypedDict):
    """One turn of a conversation, as the chat-completions protocol writes it."""

    role: Role
    content: str


def canonical_text(text: str) -> str:
    """Return `text` as it is hashed and kept: NFC, CRLF to LF, outer white space stripped.

    Nothing else is folded: code, case and inner spacing are meaning. What is canonical stays as it
    is, so that a row read again has the same id.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "\r" in text:
        text = re.sub("\r+\n", "\n", text)
    return text.strip()


def canonical_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with canonical contents, keys in a fixed order."""
    return [
        {"role": message["role"], "content": canonical_text(message["content"])}
        for message in messages
    ]


def instruction_id(messages: Sequence[Message]) -> str:
    """Return the first 16 hex digits of SHA-256 over the canonical JSON of `messages`.

    The same conversation has the same id in every iteration, revision and clone. Raises DataError
    where the text is no valid Unicode (a lone surrogate).
    """
    return canonical_id(canonical_messages(messages))


def canonical_id(canonical: Sequence[Message]) -> str:
    """Return the id of messages that are canonical already (see `instruction_id`)."""
    try:
        encoded = orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise DataError(f"the text is no valid Unicode: {error}") from error
    return hashlib.sha256(encoded).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a teacher or a student wrote for instruction `id`.

    `finish_reason` is the protocol's (`stop`, `length`, ...); `model` is the name as returned, or
    None where the answer came with the user's own pool.
    """

    id: str
    text: str
    finish_reason: str
    model: str | None

    def to_row(self) -> Row:
        """Return the row as it is written."""
        return {
            "format": FORMAT,
            "id": self.id,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "model": self.model,
        }

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError."""
        return cls(
            id=_text(row, "id"),
            text=_text(row, "text"),
            finish_reason=_text(row, "finish_reason"),
            model=_optional_text(row, "model"),
        )


@dataclass(frozen=True, slots=True)
class Instruction:
    """A conversation that ends with a user's turn, and where it came from.

    `parent` is the id of the instruction it was generated from, `iteration` the iteration that
    brought it. `expected` is a reference answer that the user's file or the exam brought,
    `category` its task. `domain` is what it is about (see `domains`), `nearest` the id of the
    instruction that was nearest to it when it was kept, with their ROUGE-L F, 0 to 1; `closest` the
    same by the cosine of embeddings, -1 to 1. `answer` is the teacher's, present in a Cache Pool.
    """

    id: str
    messages: tuple[Message, ...]
    origin: Origin
    parent: str | None
    iteration: str
    category: str | None = None
    expected: str | None = None
    domain: str | None = None
    nearest: tuple[str, float] | None = None
    closest: tuple[str, float] | None = None
    answer: Answer | None = field(default=None)

    @classmethod
    def new(
        cls,
        messages: Sequence[Message],
        *,
        origin: Origin,
        iteration: str,
        parent: str | None = None,
        category: str | None = None,
        expected: str | None = None,
    ) -> Self:
        """Make an instruction from raw messages; its id follows from them."""
        canonical = canonical_messages(messages)
        return cls(
            id=canonical_id(canonical),
            messages=tuple(canonical),
            origin=origin,
            parent=parent,
            iteration=iteration,
            category=category,
            expected=expected,
        )

    def to_row(self) -> Row:
        """Return the row as it is written; what is absent is left out."""
        row: Row = {
            "format": FORMAT,
            "id": self.id,
            "messages": list(self.messages),
            "origin": self.origin,
            "parent": self.parent,
            "iteration": self.iteration,
        }
        if self.category is not None:
            row["category"] = self.category
        if self.expected is not None:
            row["expected"] = self.expected
        if self.domain is not None:
            row["domain"] = self.domain
        if self.nearest is not None:
            row["nearest"] = list(self.nearest)
        if self.closest is not None:
            row["closest"] = list(self.closest)
        if self.answer is not None:
            answer = self.answer
            row["answer"] = {
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "model": answer.model,
            }
        return row

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError, also where id and text disagree."""
        messages = read_messages(row.get("messages"))
        identity = _text(row, "id")
        if identity != canonical_id(messages):
            raise DataError(f"id {identity} is not the hash of its messages (edited by hand?)")
        answer = row.get("answer")
        if answer is not None and not isinstance(answer, dict):
            raise DataError(f"answer: an object is expected, found {answer!r:.60}")
        return cls(
            id=identity,
            messages=tuple(messages),
            origin=_one_of(row, "origin", _ORIGINS),
            parent=_optional_text(row, "parent"),
            iteration=_text(row, "iteration"),
            category=_optional_text(row, "category"),
            expected=_optional_text(row, "expected"),
            domain=_optional_text(row, "domain"),
            nearest=_optional_neighbour(row, "nearest"),
            closest=_optional_neighbour(row, "closest"),
            answer=None if answer is None else Answer.from_row({**answer, "id": identity}),
        )


@dataclass(frozen=True, slots=True)
class Review:
    """One judgement of one order: two scores from 1 to 10, or the reason there are none.

    `sample` tells apart the judgements of the same order.
    """

    id: str
    order: Order
    teacher_score: float | None
    student_score: float | None
    reason: str | None
    evidence: str
    sample: int = 0

    @property
    def gap(self) -> float | None:
        """Teacher's score minus student's; None where there are no scores."""
        if self.teacher_score is None or self.student_score is None:
            return None
        return self.teacher_score - self.student_score

    def to_row(self) -> Row:
        """Return the row as it is written; the first sample is not numbered."""
        row: Row = {
            "format": FORMAT,
            "id": self.id,
            "order": self.order,
            "teacher_score": self.teacher_score,
            "student_score": self.student_score,
            "reason": self.reason,
            "evidence": self.evidence,
        }
        return row | {"sample": self.sample} if self.sample else row

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError."""
        return cls(
            id=_text(row, "id"),
            order=_one_of(row, "order", get_args(Order)),
            teacher_score=_optional_number(row, "teacher_score"),
            student_score=_optional_number(row, "student_score"),
            reason=_optional_text(row, "reason"),
            evidence=_text(row, "evidence"),
            sample=int(_optional_number(row, "sample") or 0),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """A response that gets a verdict, and what that verdict rests on.

    `basis` is what the rules of `review` ask for: both orders, `first` alone, or nothing where the
    two answers are the same. `audited`: the order left out was asked all the same, to be compared.
    `weight` is the number of responses that this one stands for: 1 / its chance to be drawn.
    """

    id: str
    basis: Basis
    first: Order
    audited: bool = False
    weight: float = 1.0

    def to_row(self) -> Row:
        """Return the row as it is written."""
        return {
            "format": FORMAT,
            "id": self.id,
            "basis": self.basis,
            "first": self.first,
            "audited": self.audited,
            "weight": self.weight,
        }

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError."""
        return cls(
            id=_text(row, "id"),
            basis=_one_of(row, "basis", get_args(Basis)),
            first=_one_of(row, "first", get_args(Order)),
            audited=_flag(row, "audited"),
            weight=_number(row, "weight"),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reviews of an instruction together say of it.

    gap = mean over the orders of (teacher score - student score); `undecided` has a reason and no
    numbers. `basis` tells which orders were seen: of the same answer nobody gave scores, and its
    gap is 0. `weight` is the number of responses that this one stands for.
    """

    id: str
    teacher_mean: float | None
    student_mean: float | None
    gap: float | None
    difficulty: Difficulty
    reason: str | None
    basis: Basis = "both_orders"
    weight: float = 1.0

    def to_row(self) -> Row:
        """Return the row as it is written."""
        return {
            "format": FORMAT,
            "id": self.id,
            "teacher_mean": self.teacher_mean,
            "student_mean": self.student_mean,
            "gap": self.gap,
            "difficulty": self.difficulty,
            "reason": self.reason,
            "basis": self.basis,
            "weight": self.weight,
        }

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError."""
        return cls(
            id=_text(row, "id"),
            teacher_mean=_optional_number(row, "teacher_mean"),
            student_mean=_optional_number(row, "student_mean"),
            gap=_optional_number(row, "gap"),
            difficulty=_one_of(row, "difficulty", get_args(Difficulty)),
            reason=_optional_text(row, "reason"),
            basis=_one_of(row, "basis", get_args(Basis)),
            weight=_number(row, "weight"),
        )


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that left the pipeline at `stage`: its id or its raw text, and why.

    `reason` is a short key that is counted (`truncated`, `duplicate`, ...); `detail` says more.
    """

    stage: str
    reason: str
    id: str | None = None
    text: str | None = None
    detail: str | None = None

    def to_row(self) -> Row:
        """Return the row as it is written; what is absent is left out."""
        row: Row = {"format": FORMAT, "stage": self.stage, "reason": self.reason}
        for key in ("id", "text", "detail"):
            value = getattr(self, key)
            if value is not None:
                row[key] = value
        return row

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Read a row that `to_row` wrote. Raises DataError."""
        return cls(
            stage=_text(row, "stage"),
            reason=_text(row, "reason"),
            id=_optional_text(row, "id"),
            text=_optional_text(row, "text"),
            detail=_optional_text(row, "detail"),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """The closing row of a file of dropped rows: their number, also where it is none."""

    stage: str
    dropped: int

    def to_row(self) -> Row:
        """Return the row as it is written."""
        return {"format": FORMAT, "stage": self.stage, "dropped": self.dropped}


def reasons(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Return how many rows were dropped for each reason, reasons in alphabetical order."""
    return dict(sorted(Counter(row.reason for row in dropped).items()))


def read_messages(value: object) -> list[Message]:
    """Return `value` as canonical messages that end with a user's turn. Raises DataError."""
    if not isinstance(value, list) or not value:
        raise DataError("messages: a list of {role, content} is expected")
    messages: list[Message] = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, dict):
            raise DataError(f"messages: turn {number} is not an object")
        content = item.get("content")
        if not isinstance(content, str):
            raise DataError(f"messages: the content of turn {number} is not text")
        role = _one_of(item, "role", _ROLES)
        messages.append({"role": role, "content": canonical_text(content)})
    if messages[-1]["role"] != "user":
        raise DataError("messages: the last turn must be the user's")
    if not messages[-1]["content"]:
        raise DataError("messages: the last turn is empty")
    return messages


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{key}: text is expected, found {value!r:.60}")
    return value


def _optional_text(row: Row, key: str) -> str | None:
    return None if row.get(key) is None else _text(row, key)


def _optional_number(row: Row, key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{key}: a number is expected, found {value!r:.60}")
    return float(value)


def _number(row: Row, key: str) -> float:
    value = _optional_number(row, key)
    if value is None:
        raise DataError(f"{key}: a number is expected, found none")
    return value


def _flag(row: Row, key: str) -> bool:
    value = row.get(key)
    if not isinstance(value, bool):
        raise DataError(f"{key}: true or false is expected, found {value!r:.60}")
    return value


def _optional_neighbour(row: Row, key: str) -> tuple[str, float] | None:
    value = row.get(key)
    if value is None:
        return None
    match value:
        case [str(id), float(similarity)]:
            return id, similarity
    raise DataError(f"{key}: an id and a similarity are expected, found {value!r:.60}")


def _one_of(row: Row, key: str, allowed: tuple[Any, ...]) -> Any:
    value = row.get(key)
    if value not in allowed:
        raise DataError(f"{key}: one of {', '.join(allowed)} is expected, found {value!r:.60}")
    return value
