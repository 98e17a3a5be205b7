"""The exam's figures of JSON answers: each field, validity, and the confusion of labels."""

import json
from collections.abc import Mapping, Sequence

from lion import statistics
from lion.config.settings import Scorer
from lion.discrimination import scorers
from lion.discrimination.json_scorer import FieldMarks, parse_json
from lion.metrics.exams import ExamFields, FieldAccuracy
from lion.metrics.units import ShareEstimate
from lion.records.rows import Instruction

OTHER, NONE = "(other)", "(none)"


def exam_fields(
    exam: Sequence[Instruction],
    taught: Mapping[str, str],
    answers: Mapping[str, str],
    scorer: Scorer,
    confidence: float,
) -> ExamFields | None:
    """Return the figures of each field from the texts of teacher and student, by id of the row.

    None where the scorer is not `json`.
    """
    if scorer.kind != "json":
        return None
    mark = scorers.field_marker(scorer)
    expected = {row.id: row.expected for row in exam}

    def marked(texts: Mapping[str, str]) -> dict[str, FieldMarks]:
        marks = {id: mark(texts[id], expected[id]) for id in expected if id in texts}
        return {id: row for id, row in marks.items() if isinstance(row, FieldMarks)}

    student, teacher = marked(answers), marked(taught)
    return ExamFields(
        valid=_share([row.invalid is None for row in student.values()], confidence),
        teacher_valid=_share([row.invalid is None for row in teacher.values()], confidence),
        by_name={
            name: FieldAccuracy(
                student=_share([row.right[name] for row in student.values()], confidence),
                teacher=_share([row.right[name] for row in teacher.values()], confidence),
                confusion_rows=_confusion(name, student, expected) if rule == "label" else None,
            )
            for name, rule in scorer.fields.items()
        },
    )


def fields_sentence(fields: ExamFields) -> str:
    """Return the student's figures of each field, in per cent."""
    shares = {name: field.student for name, field in fields.by_name.items()}
    shares["valid JSON"] = fields.valid
    return ", ".join(
        f"{name} {100 * share.value_share:.1f} %"
        for name, share in shares.items()
        if share is not None
    )


def _share(marks: Sequence[bool], confidence: float) -> ShareEstimate | None:
    return ShareEstimate.of(statistics.accuracy(marks, confidence))


def _confusion(
    name: str, marks: Mapping[str, FieldMarks], expected: Mapping[str, str | None]
) -> dict[str, dict[str, int]]:
    """Return the number of rows by expected label and the student's."""
    rights = {id: parse_json(str(expected[id]))[0] for id in marks}
    values = {id: _label(right[name]) for id, right in rights.items() if isinstance(right, dict)}
    labels = sorted(set(values.values()))
    counts = {right: dict.fromkeys((*labels, OTHER, NONE), 0) for right in labels}
    for id, row in marks.items():
        given = _label(row.values[name]) if name in row.values else NONE
        counts[values[id]][given if given in (*labels, NONE) else OTHER] += 1
    return counts


def _label(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
