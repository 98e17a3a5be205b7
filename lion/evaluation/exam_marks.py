"""The exam's marks and what they come to: student against teacher, with intervals. Pure.

Figures are Python numbers or None: where nothing could be marked there is no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lion import statistics
from lion.config.settings import Evaluate, Scorer
from lion.discrimination import scorers
from lion.discrimination import verdicts as discrimination
from lion.metrics.exams import EvaluateMetrics, ExamMarks, ExamQuality
from lion.metrics.units import DifferenceInterval, PercentInterval, ShareInterval
from lion.records.rows import Answer, Instruction, Review
from lion.statistics import Bootstrap, Estimate

UNCATEGORISED = "uncategorised"


@dataclass(frozen=True, slots=True)
class Marked:
    """One exam row's marks: right, wrong, or None where there is nothing to mark it by."""

    category: str
    student: bool | None
    teacher: bool | None


def mark(
    exam: Sequence[Instruction],
    taught: Mapping[str, Answer],
    answers: Sequence[Answer],
    scorer: Scorer,
) -> list[Marked]:
    """Mark student and teacher on each row. Nothing is marked where the scorer is `referee`."""
    if scorer.kind == "referee":
        return []
    by_id = {answer.id: answer.text for answer in answers}
    teacher = {identity: answer.text for identity, answer in taught.items()}
    return [
        Marked(
            row.category or UNCATEGORISED,
            scorers.score(by_id[row.id], row.expected, scorer, row.id).correct,
            scorers.score(teacher[row.id], row.expected, scorer, row.id).correct
            if row.id in teacher
            else None,
        )
        for row in exam
    ]


def exam_marks(marks: Sequence[Marked], settings: Evaluate, random_seed: int) -> ExamMarks:
    """Return macro accuracies (the mean over categories), their difference, and per category."""
    bootstrap = Bootstrap(settings.confidence, settings.resamples, random_seed)
    student = statistics.macro_accuracy([(row.category, row.student) for row in marks], bootstrap)
    teacher = statistics.macro_accuracy([(row.category, row.teacher) for row in marks], bootstrap)
    behind = statistics.difference([(row.student, row.teacher) for row in marks], bootstrap)
    by_category = statistics.accuracy_by_category(
        [(row.category, row.student) for row in marks], settings.confidence
    )
    return ExamMarks(
        accuracy_share=_value(student),
        accuracy_interval=ShareInterval.of(student),
        accuracy_rows=_count(student),
        teacher_accuracy_share=_value(teacher),
        teacher_accuracy_interval=ShareInterval.of(teacher),
        teacher_accuracy_rows=_count(teacher),
        accuracy_share_difference=_value(behind),
        difference_interval=DifferenceInterval.of(behind),
        difference_rows=_count(behind),
        category_accuracy_share={str(name): one.value for name, one in by_category.items()},
    )


def exam_quality(reviews: Sequence[Review], settings: Evaluate, random_seed: int) -> ExamQuality:
    """Return the quality: 100 x sum of the student's scores / sum of the teacher's, both orders.

    The paper's relative response quality; its Setting 2 (evidence first, both orders averaged).
    """
    verdicts = discrimination.verdicts(reviews, tau=0.0)
    pairs = [
        (one.student_mean, one.teacher_mean)
        for one in verdicts
        if one.student_mean is not None and one.teacher_mean is not None
    ]
    bootstrap = Bootstrap(settings.confidence, settings.resamples, random_seed)
    found = statistics.quality(pairs, bootstrap)
    return ExamQuality(
        quality_percent=_value(found),
        quality_interval=PercentInterval.of(found),
        quality_rows=_count(found),
    )


def exam_sentence(found: EvaluateMetrics) -> str:
    """Return the exam's outcome in one sentence."""
    parts = []
    if found.accuracy_share is not None:
        parts.append(f"accuracy {100 * found.accuracy_share:.1f} %")
        if found.teacher_accuracy_share is not None:
            parts[-1] += f", the teacher's {100 * found.teacher_accuracy_share:.1f} %"
    if found.quality_percent is not None:
        parts.append(f"quality {found.quality_percent:.1f} % of the teacher's")
    return "; ".join(parts) if parts else "no exam rows to mark"


def _value(found: Estimate | None) -> float | None:
    return None if found is None else found.value


def _count(found: Estimate | None) -> int | None:
    return None if found is None else found.count
