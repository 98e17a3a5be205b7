"""The trial of the teacher: a first batch of exam rows, before anything else is paid for.

The exam asks the same requests later, and the ledger has their replies: the trial costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lion import escape, pools
from lion.config.settings import Exam
from lion.conversations import TaskTemplate, variable_part
from lion.discrimination import scorers
from lion.errors import DataError
from lion.llm.protocols import Client
from lion.metrics.pools import TeacherTrial
from lion.prompting import teacher
from lion.prompting.protocol import Reply
from lion.prompting.templates import Prompts
from lion.records.rows import Instruction

TRIAL_ROWS = 50
_SHOWN = 5
_CLIP = 300  # characters of each text in the message


@dataclass(frozen=True, slots=True)
class _Answered:
    """An exam row, the teacher's reply, and its mark."""

    row: Instruction
    text: str
    mark: scorers.Mark


def trial_rows(exam: Sequence[Instruction], random_seed: int) -> list[Instruction]:
    """Return the rows of the first batch: at most 50 of those with an expected answer."""
    rows = [row for row in exam if row.expected is not None]
    return pools.sample(
        rows, TRIAL_ROWS, pools.rng_for(random_seed=random_seed, purpose="trial", depth=0)
    )


def teacher_trial(
    client: Client,
    rows: Sequence[Instruction],
    settings: Exam,
    templates: Prompts,
    task: TaskTemplate | None,
) -> TeacherTrial:
    """Return the teacher's accuracy on `rows`; a failed call counts as wrong.

    Raises DataError with the five worst answers where it is below `exam.teacher_at_least`.
    """
    outcomes = client.complete([teacher.answer_request(row, templates) for row in rows])
    answered = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, Reply):
            mark = scorers.score(outcome.text, row.expected, settings.scorer, row.id)
            answered.append(_Answered(row, outcome.text, mark))
        else:
            answered.append(_Answered(row, "", scorers.Mark(False, outcome.reason)))
    marked = [entry for entry in answered if entry.mark.correct is not None]
    right = sum(entry.mark.correct is True for entry in marked)
    share = right / len(marked) if marked else 0.0
    if share < settings.teacher_at_least:
        wrong = [entry for entry in answered if entry.mark.correct is not True]
        raise DataError(_refusal(right, len(marked), settings, _worst(wrong, settings), task))
    return TeacherTrial(accuracy_share=share, rows=len(marked))


def _worst(wrong: Sequence[_Answered], settings: Exam) -> list[_Answered]:
    """Return five wrong answers; of JSON those with the fewest right fields."""
    if settings.scorer.kind != "json":
        return list(wrong[:_SHOWN])
    mark = scorers.field_marker(settings.scorer)

    def right_fields(entry: _Answered) -> int:
        marks = mark(entry.text, entry.row.expected)
        return 0 if isinstance(marks, str) else sum(marks.right.values())

    return sorted(wrong, key=right_fields)[:_SHOWN]


def _refusal(
    right: int, count: int, settings: Exam, worst: Sequence[_Answered], task: TaskTemplate | None
) -> str:
    blocks = [
        f"  {entry.row.id}: {_shown(variable_part(entry.row.messages, task))}\n"
        f"    expected: {_shown(entry.row.expected or '')}\n"
        f"    teacher:  {_shown(entry.text) or '(none)'}\n"
        f"    {entry.mark.reason or 'wrong'}"
        for entry in worst
    ]
    return (
        f"the teacher is right on {right} of the first {count} exam rows, and "
        f"exam.teacher_at_least is {settings.teacher_at_least:g}. Nothing else was asked. "
        "Its worst answers:\n" + "\n".join(blocks) + "\nMend the prompt (`task`, or "
        "prompts/teacher/system.txt), the teacher's model, exam.scorer or the expected answers."
    )


def _shown(text: str) -> str:
    """Return a text as one line, clipped, without control characters."""
    return escape.line(text, _CLIP)
