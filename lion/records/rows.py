"""The rows that travel between stages, and the content hash that names an instruction.

Pure values: no files (see `jsonl`), no decisions. Every row is joined by `id`, never by position,
and carries `format`, so that a later version reads or refuses it knowingly.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, TypedDict, get_args

import msgspec
import orjson
from msgspec.structs import replace

from lion.errors import DataError

FORMAT = 1

Role = Literal["system", "user", "assistant"]
Origin = Literal["seed", "hard", "easy", "exam", "certify"]
Order = Literal["teacher_first", "student_first"]
Difficulty = Literal["hard", "easy", "undecided"]
Kind = Literal["hard", "easy"]
Feedback = Literal["adversarial", "uniform", "uniform-mixed", "balanced"]
Basis = Literal["both_orders", "one_order", "same_answer", "likelihood", "uniform"]
ROLES: tuple[Role, ...] = get_args(Role)
ORDERS: tuple[Order, Order] = ("teacher_first", "student_first")
KINDS: tuple[Kind, Kind] = ("hard", "easy")
Row = dict[str, Any]


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


class Record(msgspec.Struct, frozen=True, tag_field="format", tag=FORMAT):
    """Base of all rows: a file has `format` first, then the fields in their order.

    A field of a row that `omit_defaults` is left out where it has its default value.
    """

    def checked(self) -> Self:
        """Return the row as it was read. Raises DataError where its fields do not go together."""
        return self

    @classmethod
    def explain(cls, row: Row) -> None:
        """Raise DataError where it can tell better than a type what is wrong with `row`."""


class TeacherAnswer(msgspec.Struct, frozen=True):
    """What was written, inside the row that it answers: an `Answer` without its id."""

    text: str
    finish_reason: str
    model: str | None


class TokenScores(msgspec.Struct, frozen=True):
    """The log probabilities of an answer's tokens, in nats, the token that ended it included.

    `ends` are the ends of the tokens, in characters of the answer's text.
    """

    logprobs: tuple[float, ...]
    ends: tuple[int, ...]


class Answer(Record, frozen=True, omit_defaults=True):
    """What a teacher or a student wrote for instruction `id`.

    `finish_reason` is the protocol's (`stop`, `length`, ...); `model` is the name as returned, or
    None where the answer came with the user's own pool. `tokens` are there where a stage asked for
    them, and the student gave any.
    """

    id: str
    text: str
    finish_reason: str
    model: str | None
    tokens: TokenScores | None = None

    @property
    def inside(self) -> TeacherAnswer:
        """The same inside the row that it answers."""
        return TeacherAnswer(self.text, self.finish_reason, self.model)


class ExamAnswer(Answer, frozen=True, omit_defaults=True):
    """A student's answer in the exam, with the `teacher`'s where a certificate will need it."""

    teacher: TeacherAnswer | None = None


class Likelihood(Record, frozen=True, omit_defaults=True):
    """How likely the teacher's answer to instruction `id` is under a student.

    `nll_nats` is the mean negative log-likelihood of its `tokens` (nats per token, the end of turn
    included), `unprompted_nats` the same behind an empty instruction, where that was asked for.
    Without a number there is a `reason`. `same_answer`: the answer is what the student writes by
    greedy decoding. `response` is the student's own answer where the row is audited.
    """

    id: str
    nll_nats: float | None
    tokens: int
    same_answer: bool = False
    unprompted_nats: float | None = None
    reason: str | None = None
    response: TeacherAnswer | None = None


class Instruction(Record, frozen=True, omit_defaults=True):
    """A conversation that ends with a user's turn, and where it came from.

    `parent` is the id of the instruction it was generated from, `iteration` the iteration that
    brought it. `expected` is a reference answer that the user's file or the exam brought,
    `category` its task. `domain` is what it is about (see `topic_labels`), `nearest` the id of the
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
    answer: TeacherAnswer | None = None

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

    def checked(self) -> Self:
        """Return the row with canonical messages. Raises DataError where id and text disagree."""
        messages = canonical_messages(self.messages)
        _refuse_unanswerable(messages)
        if self.id != canonical_id(messages):
            raise DataError(f"id {self.id} is not the hash of its messages (edited by hand?)")
        return replace(self, messages=tuple(messages))

    @classmethod
    def explain(cls, row: Row) -> None:
        """Raise DataError for what is wrong with the messages, by the number of the turn."""
        read_messages(row.get("messages"))


class Review(Record, frozen=True, omit_defaults=True):
    """One judgement of one order: two scores from 1 to 10, or the reason there are none.

    `sample` tells apart the judgements of the same order; the first one is not numbered.
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


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a student's likelihood of the teacher's answer says, in nats per token.

    `score_nats` ranks the answers: `nll_nats`, less what the answer costs by itself where that was
    asked for. `lowest_nats` is the least `nll_nats` of the row so far. None where there is none.
    """

    nll_nats: float | None
    score_nats: float | None
    lowest_nats: float | None = None
    reason: str | None = None


class Selection(Record, frozen=True):
    """A response that gets a verdict, and what that verdict rests on.

    `basis` is what the rules of `review` ask for: both orders, `first` alone, or nothing where the
    two answers are the same. `audited`: the order left out was asked all the same, to be compared.
    `weight` is the number of responses that this one stands for: 1 / its chance to be drawn. With
    `signal` the likelihood decides; `audited`: the referee was asked all the same.
    """

    id: str
    basis: Basis
    first: Order
    audited: bool = False
    weight: float = 1.0
    signal: Signal | msgspec.UnsetType = msgspec.UNSET


class Verdict(Record, frozen=True):
    """What the reviews of an instruction together say of it.

    gap = mean over the orders of (teacher score - student score); `undecided` has a reason and no
    numbers. `basis` tells which orders were seen: the same answer has no scores, and its
    gap is 0. `weight` is the number of responses that this one stands for. With `signal` there are
    no scores and no gap: `likelihood` is among the least likely answers or not, `uniform` is hard
    by lot.
    """

    id: str
    teacher_mean: float | None
    student_mean: float | None
    gap: float | None
    difficulty: Difficulty
    reason: str | None
    basis: Basis = "both_orders"
    weight: float = 1.0
    signal: Signal | msgspec.UnsetType = msgspec.UNSET

    @property
    def nats(self) -> float | None:
        """The likelihood's nats per token; None where another judge decided."""
        return None if self.signal is msgspec.UNSET else self.signal.nll_nats


class Dropped(Record, frozen=True, omit_defaults=True):
    """A row that left the pipeline at `stage`: its id or its raw text, and why.

    `reason` is a short key that is counted (`truncated`, `duplicate`, ...); `detail` says more.
    """

    stage: str
    reason: str
    id: str | None = None
    text: str | None = None
    detail: str | None = None


class Tally(Record, frozen=True):
    """The closing row of a file of dropped rows: their number, also where it is none."""

    stage: str
    dropped: int


class NoRows(Record, frozen=True):
    """What a file without rows has instead, since DVC warns of empty files."""

    stage: str
    rows: Literal[0]


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
        messages.append({"role": _role(item.get("role")), "content": canonical_text(content)})
    _refuse_unanswerable(messages)
    return messages


def _role(value: object) -> Role:
    known_role = next((role for role in ROLES if role == value), None)
    if known_role is None:
        raise DataError(f"role: one of {', '.join(ROLES)} is expected, found {value!r:.60}")
    return known_role


def _refuse_unanswerable(messages: Sequence[Message]) -> None:
    if not messages or messages[-1]["role"] != "user":
        raise DataError("messages: the last turn must be the user's")
    if not messages[-1]["content"]:
        raise DataError("messages: the last turn is empty")
