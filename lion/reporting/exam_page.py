"""The exam's rows on the report page: whole texts, every student's answers, marks and reviews."""

from collections.abc import Mapping, Sequence
from typing import Any

from lion.config import project, yaml_file
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.errors import LionError
from lion.escape import clipped, inert
from lion.pipeline.revisions import Place, Tree
from lion.reporting.exam_rows import ANSWERS, ExamRow, exam_rows
from lion.reporting.snapshot import Run

ROWS = 2000
"""Rows that the page shows, at most: first those that some student failed."""
_LONGEST = 20_000  # characters of a text
Columns = dict[str, Any]


def exam_answers(run: Run) -> tuple[Columns | None, str]:
    """Return the exam's rows as columns, and a sentence about them.

    `answers` has each student's by the name of its iteration, `students` these names in order.
    None, and no sentence, where no student has taken the exam; where they cannot be read, the
    sentence says why.
    """
    names = [
        line.iteration
        for line in run.lineage
        if run.tree.has(project.data(line.iteration, ANSWERS))
    ]
    if not names or not run.tree.has(project.EXAM):
        return None, ""
    try:
        settings = settings_of(run.tree)
        by_student = {name: exam_rows(Place(run.tree, name), settings) for name in names}
    except LionError as error:
        return None, f"The exam's answers cannot be shown: {error}"
    return _columns(by_student), _sentence(by_student)


def settings_of(tree: Tree) -> Settings:
    """Return the params of a revision. Raises SettingsError and DataError."""
    path = tree.local(project.PARAMS)
    return read_settings(None if path is None else yaml_file.read_yaml(path))


def _columns(by_student: Mapping[str, Sequence[ExamRow]]) -> Columns:
    marked = {name: {row.id: row for row in rows} for name, rows in by_student.items()}
    rows = _shown(by_student)
    return {
        "id": [row.id for row in rows],
        "category": [_text(row.category) for row in rows],
        "input": [_text(row.input) for row in rows],
        "question": [_text(row.question) if row.question != row.input else None for row in rows],
        "expected": [_text(row.expected) for row in rows],
        "teacher": [_text(row.teacher) for row in rows],
        "teacher_correct": [row.teacher_correct for row in rows],
        "students": list(marked),
        "answers": {
            name: [_answer(answers.get(row.id)) for row in rows] for name, answers in marked.items()
        },
    }


def _shown(by_student: Mapping[str, Sequence[ExamRow]]) -> list[ExamRow]:
    """Return the last student's rows in the exam's order; of too many those that were failed."""
    rows = list(by_student.values())[-1]
    if len(rows) <= ROWS:
        return list(rows)
    failed = {
        row.id for answers in by_student.values() for row in answers if row.student_correct is False
    }
    first = sorted(rows, key=lambda row: row.id not in failed)[:ROWS]
    chosen = {row.id for row in first}
    return [row for row in rows if row.id in chosen]


def _answer(row: ExamRow | None) -> list[Any] | None:
    """Return text, mark, differing fields, points of teacher and student, and reasons."""
    if row is None:
        return None
    points = [row.teacher_points, row.student_points]
    return [
        _text(row.student),
        row.student_correct,
        list(map(_text, row.differing)),
        *points,
        list(map(_text, row.reasons)),
    ]


def _text(text: str | None) -> str | None:
    return None if text is None else clipped(inert(text), _LONGEST)


def _sentence(by_student: Mapping[str, Sequence[ExamRow]]) -> str:
    rows = list(by_student.values())[-1]
    parts = [f"{len(rows):,} rows as the students answered them"]
    if len(rows) > ROWS:
        parts.append(f"{ROWS:,} of them are here, failed ones first")
    reviewed = sum(row.student_points is not None for row in rows)
    parts.append(f"{reviewed:,} with reviews of the referee" if reviewed else "without reviews")
    return "; ".join(parts) + "; in a terminal: lion show --exam --wrong."
