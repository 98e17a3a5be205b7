"""Exam rows side by side: the question, what is expected, and the answers of teacher and student.

The teacher's answers and the referee's reviews are read from the ledger, as the stage asked for
them; no request is sent.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from lion import pools
from lion.config import project
from lion.config.settings import Endpoint, Scorer, Settings
from lion.conversations import TaskTemplate, transcript, variable_part
from lion.discrimination import pairwise, scorers
from lion.errors import DataError, MissingRepliesError, SettingsError
from lion.escape import DASH, clipped, inert
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.pipeline import revisions
from lion.pipeline.revisions import Place
from lion.prompting import teacher, templates
from lion.records import jsonl
from lion.records.rows import Answer, Dropped, Instruction, Review, Row

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", Answer, Instruction)
ANSWERS = "exam_responses.jsonl"
_CLIP = 400  # characters of a text, unless whole
RIGHT_OR_WRONG = {True: ("right", "green"), False: ("wrong", "red"), None: ("not marked", "yellow")}
"""Word and colour of a mark; None where nothing marks the row."""


@dataclass(frozen=True, slots=True)
class ExamRow:
    """A row of the exam with both answers and marks; None where there is no answer or mark.

    `input` is what differs from row to row, `question` the conversation that the teacher got.
    `differing` are the fields of JSON in which the student's answer is not the expected one. The
    points are the referee's means over both orders, 1 to 10, `reasons` what it wrote.
    """

    id: str
    category: str | None
    input: str
    question: str
    expected: str | None
    teacher: str | None
    student: str | None
    teacher_correct: bool | None
    student_correct: bool | None
    differing: tuple[str, ...]
    teacher_points: float | None = None
    student_points: float | None = None
    reasons: tuple[str, ...] = ()


def exam_rows(place: Place, settings: Settings) -> list[ExamRow]:
    """Return the exam as the student of a place answered it, in the exam's order.

    Raises DataError where that student has not answered yet.
    """
    place = examined_place(place)
    student = {row.id: row for row in _read(place, place.iteration, ANSWERS, Answer)}
    every = _read(place, None, "exam.jsonl", Instruction)
    exam = [row for row in every if row.id in student]
    taught = _teacher_answers(exam, settings)
    compared = pools.compared_rows(
        every, settings.exam.certify, settings.evaluate.quality, settings.random_seed
    )
    pairs = [
        pairwise.pair(teacher.taught(row, taught[row.id]), student[row.id])
        for row in compared
        if row.id in taught and row.id in student
    ]
    reviews = _reviews(pairs, settings)
    return [
        _row(row, student[row.id].text, taught.get(row.id), reviews.get(row.id, ()), settings)
        for row in exam
    ]


def examined_place(place: Place) -> Place:
    """Return the place with its iteration, or the last one whose student has answered the exam."""
    if place.iteration is None:
        for name in reversed(list(revisions.iterations(place.tree))):
            if place.tree.has(project.data(name, ANSWERS)):
                return replace(place, iteration=name)
    return replace(place, iteration=revisions.iteration_of(place))


def wrong_rows(rows: Sequence[ExamRow], scorer: Scorer) -> list[ExamRow]:
    """Return the rows that the student failed. Raises SettingsError if nothing marks them."""
    if scorer.kind == "referee":
        raise SettingsError("exam.scorer is the referee: no row is right or wrong; omit --wrong")
    return [row for row in rows if row.student_correct is False]


def _read(place: Place, iteration: str | None, name: str, kind: type[K]) -> list[K]:
    path = project.EXAM if iteration is None else project.data(iteration, name)
    local = place.tree.local(path)
    if local is None:
        raise DataError(f"{path}: {place.tree.name} has none. `lion run` or `dvc pull` brings it.")
    return jsonl.read(local, kind)


def _teacher_answers(exam: Sequence[Instruction], settings: Settings) -> Mapping[str, Answer]:
    """Return the teacher's answers by id, as far as the ledger has them."""
    prompts = templates.load(project.PROMPTS / "teacher", "teacher")

    def lookup(client: LLMClient, rows: Sequence[Instruction]) -> list[Answer | Dropped]:
        outcomes = client.complete([teacher.answer_request(row, prompts) for row in rows])
        return [teacher.parse_answer(*pair, "keep") for pair in zip(rows, outcomes, strict=True)]

    answers = _kept(settings.teacher, settings, exam, lookup)
    return {row.id: row for row in answers if isinstance(row, Answer)}


def _reviews(pairs: Sequence[pairwise.Pair], settings: Settings) -> Mapping[str, list[Review]]:
    """Return the exam referee's reviews by id, as far as the ledger has them."""
    judge, samples = settings.exam_referee, settings.evaluate.samples
    prompts = templates.load(project.PROMPTS / "referee", "referee", settings.task.good)
    limit = pairwise.ReviewLimit(1.0, "evaluate.max_dropped")

    def lookup(client: LLMClient, pairs: Sequence[pairwise.Pair]) -> list[Review]:
        orders = pairwise.in_both_orders(pairs)
        return pairwise.ask(client, orders, prompts, judge.form, limit, samples)

    by_id: dict[str, list[Review]] = {}
    for review in _kept(judge, settings, pairs, lookup):
        by_id.setdefault(review.id, []).append(review)
    return by_id


def _kept(
    endpoint: Endpoint,
    settings: Settings,
    items: Sequence[T],
    lookup: Callable[[LLMClient, Sequence[T]], list[R]],
) -> list[R]:
    """Return what the ledger has: of all items together, or one by one where some are missing."""
    if not items or not project.ledger().exists():
        return []
    results: list[R] = []
    with _ledger_client(endpoint, settings) as client:
        with suppress(MissingRepliesError):
            return lookup(client, items)
        for item in items:
            with suppress(MissingRepliesError):
                results += lookup(client, [item])
    return results


@contextmanager
def _ledger_client(endpoint: Endpoint, settings: Settings) -> Iterator[LLMClient]:
    """Yield a client that answers from the ledger alone."""
    with (
        Ledger(project.ledger()) as ledger,
        LLMClient(endpoint, settings.api, ledger, settings.random_seed, sends=False) as client,
    ):
        yield client


def _row(
    row: Instruction,
    student: str,
    answer: Answer | None,
    reviews: Sequence[Review],
    settings: Settings,
) -> ExamRow:
    scorer, taught = settings.exam.scorer, None if answer is None else answer.text

    def mark(text: str | None) -> bool | None:
        if text is None or scorer.kind == "referee":
            return None
        return scorers.score(text, row.expected, scorer, row.id).correct

    return ExamRow(
        id=row.id,
        category=row.category,
        input=variable_part(row.messages, TaskTemplate.declared(settings.task)),
        question=transcript(row.messages),
        expected=row.expected,
        teacher=taught,
        student=student,
        teacher_correct=mark(taught),
        student_correct=mark(student),
        differing=differing_fields(row.expected, student, scorer),
        teacher_points=_mean([review.teacher_score for review in reviews]),
        student_points=_mean([review.student_score for review in reviews]),
        reasons=tuple(review.evidence for review in reviews),
    )


def _mean(points: Sequence[float | None]) -> float | None:
    scored = [point for point in points if point is not None]
    return fmean(scored) if scored else None


def differing_fields(expected: str | None, answer: str, scorer: Scorer) -> tuple[str, ...]:
    """Return the names of fields that differ; empty where one of both is no object.

    The scorer `json` says by its rules which do.
    """
    first, second = (_object(text) for text in (expected or "", answer))
    if first is None or second is None:
        return ()
    if scorer.kind == "json":
        marks = scorers.field_marker(scorer)(answer, expected)
        right = {} if isinstance(marks, str) else marks.right
        return tuple(name for name, correct in right.items() if not correct)
    names = [*first, *(name for name in second if name not in first)]
    absent = object()
    return tuple(name for name in names if first.get(name, absent) != second.get(name, absent))


def _object(text: str) -> Row | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def row_as_json(row: ExamRow) -> Row:
    """Return a row for JSON."""
    return asdict(row)


def exam_rows_as_text(rows: Sequence[ExamRow], whole: bool) -> RenderableType:
    """Return rows for a terminal of any width."""
    return Group(*(part for row in rows for part in _shown(row, whole)))


def row_head(row_id: str, category: str | None) -> Text:
    """Return the first line of a row: its id, and its category where it has one."""
    head = Text(row_id, style="bold")
    return head.append(f"  {inert(category)}" if category else "", style="dim")


def labelled_text(label: str, text: str | None, whole: bool) -> Text:
    """Return a text of a row behind its label, clipped unless `whole`; a dash for None."""
    body = DASH if text is None else text if whole else clipped(text, _CLIP)
    return Text(f"  {label}", style="dim").append(inert(body), style="default")


def _shown(row: ExamRow, whole: bool) -> Iterator[RenderableType]:
    head = row_head(row.id, row.category)
    for who, correct in (("student", row.student_correct), ("teacher", row.teacher_correct)):
        word, style = RIGHT_OR_WRONG[correct]
        head.append(f"  {who} ", style="dim").append(word, style=style)
    yield head
    referee = None
    if row.teacher_points is not None and row.student_points is not None:
        referee = f"teacher {row.teacher_points:.1f}, student {row.student_points:.1f} points"
    texts = {
        "": row.input,
        "expected: ": row.expected,
        "teacher: ": row.teacher,
        "student: ": row.student,
        "differ in: ": ", ".join(row.differing) or None,
        "referee: ": referee,
        "its reasons: ": "\n\n".join(row.reasons) or None,
        "the whole request: ": row.question if whole and row.question != row.input else None,
    }
    for label, text in texts.items():
        if text is not None or label == "teacher: ":
            yield labelled_text(label, text, whole)
    yield Text()
