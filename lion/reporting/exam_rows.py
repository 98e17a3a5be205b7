"""Exam rows side by side: the question, what is expected, and the answers of teacher and student.

The teacher's answers are read from the ledger, as the stage asked for them; no request is sent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from lion.config import project
from lion.config.settings import Scorer, Settings
from lion.discrimination import scorers
from lion.errors import DataError, MissingRepliesError, SettingsError
from lion.escape import DASH, clipped, inert
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.pipeline import revisions
from lion.pipeline.revisions import Place
from lion.prompting import teacher, templates
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Row

K = TypeVar("K", Answer, Instruction)
_CLIP = 400  # characters of a text, unless whole
_MARKS = {True: ("right", "green"), False: ("wrong", "red"), None: ("not marked", "yellow")}


@dataclass(frozen=True, slots=True)
class ExamRow:
    """A row of the exam with both answers and marks; None where there is no answer or mark.

    `differing` are the fields of JSON in which the student's answer is not the expected one.
    """

    id: str
    category: str | None
    question: str
    expected: str | None
    teacher: str | None
    student: str | None
    teacher_correct: bool | None
    student_correct: bool | None
    differing: tuple[str, ...]


def exam_rows(place: Place, settings: Settings) -> list[ExamRow]:
    """Return the exam as the student of a place answered it, in the exam's order.

    Raises DataError where that student has not answered yet.
    """
    iteration = _examined(place)
    student = {row.id: row.text for row in _read(place, iteration, "exam_responses.jsonl", Answer)}
    exam = [row for row in _read(place, None, "exam.jsonl", Instruction) if row.id in student]
    taught = _teacher_answers(exam, settings)
    return [_row(row, student[row.id], taught.get(row.id), settings.exam.scorer) for row in exam]


def _examined(place: Place) -> str:
    """Return the iteration of a place, or the last one whose student has answered the exam."""
    if place.iteration is None:
        for name in reversed(list(revisions.iterations(place.tree))):
            if place.tree.has(project.data(name, "exam_responses.jsonl")):
                return name
    return revisions.iteration_of(place)


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


def _teacher_answers(exam: Sequence[Instruction], settings: Settings) -> Mapping[str, str]:
    """Return the teacher's answers by id, as far as the ledger has them."""
    if not project.ledger().exists():
        return {}
    prompts = templates.load(project.PROMPTS / "teacher", "teacher")
    answers: dict[str, str] = {}
    with (
        Ledger(project.ledger()) as ledger,
        LLMClient(
            settings.teacher, settings.api, ledger, settings.random_seed, sends=False
        ) as client,
    ):
        for row in exam:
            try:
                (outcome,) = client.complete([teacher.answer_request(row, prompts)])
            except MissingRepliesError:
                continue
            answer = teacher.parse_answer(row, outcome, "keep")
            if isinstance(answer, Answer):
                answers[row.id] = answer.text
    return answers


def _row(row: Instruction, student: str, taught: str | None, scorer: Scorer) -> ExamRow:
    def mark(text: str | None) -> bool | None:
        if text is None or scorer.kind == "referee":
            return None
        return scorers.score(text, row.expected, scorer, row.id).correct

    return ExamRow(
        id=row.id,
        category=row.category,
        question="\n\n".join(message["content"] for message in row.messages),
        expected=row.expected,
        teacher=taught,
        student=student,
        teacher_correct=mark(taught),
        student_correct=mark(student),
        differing=differing_fields(row.expected, student),
    )


def differing_fields(expected: str | None, answer: str) -> tuple[str, ...]:
    """Return the names of fields whose values differ; empty where one of both is no object."""
    first, second = (_object(text) for text in (expected or "", answer))
    if first is None or second is None:
        return ()
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


def _shown(row: ExamRow, whole: bool) -> Iterator[RenderableType]:
    head = Text(row.id, style="bold")
    head.append(f"  {inert(row.category)}" if row.category else "", style="dim")
    for who, correct in (("student", row.student_correct), ("teacher", row.teacher_correct)):
        word, style = _MARKS[correct]
        head.append(f"  {who} ", style="dim").append(word, style=style)
    yield head
    texts = {
        "": row.question,
        "expected: ": row.expected,
        "teacher: ": row.teacher,
        "student: ": row.student,
        "differ in: ": ", ".join(row.differing) or None,
    }
    for label, text in texts.items():
        if text is not None or label == "teacher: ":
            body = DASH if text is None else text if whole else clipped(text, _CLIP)
            yield Text(f"  {label}", style="dim").append(inert(body), style="default")
    yield Text()
