"""The phase `evaluate`: a student takes the exam.

The exam's scorer marks the student's answers and the teacher's; the referee compares the two on
`evaluate.quality` rows. A metric is None where there is nothing to measure, as for accuracy where
no row can be marked. Writes no file.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import asdict, replace

from lion import pools, statistics
from lion.config.settings import Evaluate, Scorer, Settings
from lion.discrimination import judge_reliability, pairwise, scorers, verdicts
from lion.evaluation.exam_fields import exam_fields, fields_sentence
from lion.failure_limit import allowed_failures, check_dropped
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.llm.request_set import DropLimit
from lion.metrics.exams import (
    EvaluateMetrics,
    ExamFields,
    ExamMarks,
    ExamQuality,
    PromptLengths,
)
from lion.metrics.units import DifferenceInterval, PercentInterval, RoleUsage, ShareInterval
from lion.prompting import teacher
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Answer, Dropped, ExamAnswer, Instruction, Review
from lion.statistics import Estimate

UNCATEGORISED = "uncategorised"
_READ_AS_ANSWER = {"exact", "number", "math", "json"}  # scorers whose `expected` is an answer


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The student's answers, their marks and quality, and the rows without a usable reply.

    Rows that `exam.certify` sets apart are answered, and have no part in the figures. `teacher` and
    `referee` are the usage of these roles. `prompt` is None where the student's prompt is the
    teacher's.
    """

    answers: list[Answer]
    marks: list["Marked"]
    accuracy: ExamMarks
    fields: ExamFields | None
    quality: ExamQuality
    dropped: list[Dropped]
    teacher: RoleUsage
    referee: RoleUsage
    prompt: PromptLengths | None = None


def evaluate(
    exam: Sequence[Instruction],
    respondent: Respondent,
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> Evaluated:
    """Return the result of `exam`; `templates` are the prompts of teacher and referee.

    Raises TooManyDroppedError if more than `evaluate.max_dropped` of the teacher's answers or of
    the reviews fail.
    """
    compared = pools.compared_rows(
        exam, settings.exam.certify, settings.evaluate.quality, settings.random_seed
    )
    exam, apart = pools.set_apart(exam, settings.exam.certify)
    if settings.exam.scorer.kind == "referee":
        exam = compared  # no row is marked, and each answer of the teacher is paid for
    # where the referee judges, certify@k asks the teacher about the rows set apart, if it may
    taught_rows = exam if settings.exam.scorer.kind == "referee" else [*exam, *apart]
    taught, untaught, teacher_usage = _teacher(taught_rows, settings, clients, templates["teacher"])
    scored = settings.exam.certify is not None
    answers = respondent.respond([*exam, *apart], settings.random_seed, scored=scored)
    marks = mark(exam, taught, answers, settings.exam.scorer)
    answered = [teacher.taught(row, taught[row.id]) for row in compared if row.id in taught]
    referee_prompts = templates["referee"]
    quality, unread, referee_usage = _quality(answered, answers, settings, clients, referee_prompts)
    return Evaluated(
        answers=[_with_teacher(row, taught) for row in answers] if scored else answers,
        marks=marks,
        accuracy=exam_marks(
            marks, settings.evaluate, guess=guess_accuracy(exam, settings.exam.scorer)
        ),
        fields=exam_fields(
            exam,
            {id: answer.text for id, answer in taught.items()},
            {answer.id: answer.text for answer in answers},
            settings.exam.scorer,
            settings.evaluate.confidence,
        ),
        quality=quality,
        dropped=untaught + unread,
        teacher=teacher_usage,
        referee=referee_usage,
        prompt=respondent.prompt_lengths(exam),
    )


def _with_teacher(answer: Answer, taught: Mapping[str, Answer]) -> Answer:
    teacher_answer = taught.get(answer.id)
    inside = None if teacher_answer is None else teacher_answer.inside
    return ExamAnswer(**asdict(answer), teacher=inside)


def _teacher(
    exam: Sequence[Instruction], settings: Settings, clients: Clients, templates: Prompts
) -> tuple[dict[str, Answer], list[Dropped], RoleUsage]:
    """Return the teacher's answers by id, the failures and the usage.

    Later iterations send the same requests, which the ledger answers.
    """
    requests = [teacher.answer_request(row, templates) for row in exam]
    share = settings.evaluate.max_dropped
    limit = DropLimit(
        allowed_failures(share, len(exam)),
        lambda index, outcome: teacher.drop_reason(exam[index], outcome, "keep"),
        "evaluate.max_dropped",
    )
    with clients.open("teacher", settings.teacher) as client:
        outcomes = client.complete(requests, limit)
        usage = client.usage.versioned()
    answers = [teacher.parse_answer(*pair, "keep") for pair in zip(exam, outcomes, strict=True)]
    dropped = [replace(row, stage="evaluate") for row in answers if isinstance(row, Dropped)]
    check_dropped(dropped, share, len(exam), "evaluate.max_dropped")
    return {row.id: row for row in answers if isinstance(row, Answer)}, dropped, usage


def _quality(
    rows: Sequence[Instruction],
    answers: Sequence[Answer],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> tuple[ExamQuality, list[Dropped], RoleUsage]:
    """Return the quality on `rows`, the reviews without scores, and the referee's usage."""
    by_id = {answer.id: answer for answer in answers}
    wanted = pairwise.in_both_orders([pairwise.pair(row, by_id[row.id]) for row in rows])
    share = settings.evaluate.max_dropped
    judge, samples = settings.exam_referee, settings.evaluate.samples
    with clients.open("referee", judge) as client:
        limit = pairwise.ReviewLimit(share, "evaluate.max_dropped")
        reviews = pairwise.ask(client, wanted, templates, judge.form, limit, samples)
        usage = client.usage.versioned()
    dropped = pairwise.dropped(reviews, "evaluate")
    check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
    alike = {row.id for row in rows if row.answer and row.answer.text == by_id[row.id].text}
    quality = exam_quality(reviews, settings.evaluate, alike)
    return quality, dropped, usage


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks of an exam row: right, wrong, or None if the row cannot be marked."""

    category: str
    student: bool | None
    teacher: bool | None


def mark(
    exam: Sequence[Instruction],
    taught: Mapping[str, Answer],
    answers: Sequence[Answer],
    scorer: Scorer,
) -> list[Marked]:
    """Return the marks of student and teacher on each row; none if the scorer is `referee`."""
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


def guess_accuracy(exam: Sequence[Instruction], scorer: Scorer) -> float | None:
    """Return the macro accuracy of guessing: always the commonest `expected` of a row's category.

    Equal texts are counted, no answer is marked. None where no row has an expected answer.
    """
    if scorer.kind not in _READ_AS_ANSWER:
        return None
    return statistics.guess_share(
        (row.category or UNCATEGORISED, row.expected) for row in exam if row.expected is not None
    )


def exam_marks(
    marks: Sequence[Marked], settings: Evaluate, *, guess: float | None = None
) -> ExamMarks:
    """Return macro accuracies (means over categories), their difference, and each category's."""
    level = settings.confidence
    student = statistics.macro_accuracy([(row.category, row.student) for row in marks], level)
    teacher = statistics.macro_accuracy([(row.category, row.teacher) for row in marks], level)
    behind = statistics.difference([(row.student, row.teacher) for row in marks], level)
    by_category = statistics.accuracy_by_category(
        [(row.category, row.student) for row in marks], level
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
        guess_accuracy_share=guess,
        category_accuracy_share={
            str(name): estimate.value for name, estimate in by_category.items()
        },
    )


def exam_quality(
    reviews: Sequence[Review], settings: Evaluate, alike: Collection[str] = ()
) -> ExamQuality:
    """Return the quality: 100 x sum of the student's scores / sum of the teacher's, both orders.

    The paper's relative response quality in its Setting 2: evidence first, repeated judgements of
    an order averaged, then both orders. `alike` are the ids whose two answers are the same: their
    two orders are one request, which says nothing of the referee.
    """
    pairs = [
        (verdict.student_mean, verdict.teacher_mean)
        for verdict in verdicts.verdicts(verdicts.pooled(reviews), tau=0.0)
        if verdict.student_mean is not None and verdict.teacher_mean is not None
    ]
    estimate = statistics.quality(pairs, settings.confidence)
    return ExamQuality(
        quality_percent=_value(estimate),
        quality_interval=PercentInterval.of(estimate),
        quality_rows=_count(estimate),
        quality_flip_share=judge_reliability.flip_share(reviews, alike),
    )


def exam_sentence(metrics: EvaluateMetrics) -> str:
    """Return the exam's result as a sentence."""
    parts = []
    if metrics.accuracy_share is not None:
        parts.append(f"accuracy {100 * metrics.accuracy_share:.1f} %")
        if metrics.teacher_accuracy_share is not None:
            parts[-1] += f", the teacher's {100 * metrics.teacher_accuracy_share:.1f} %"
        if metrics.guess_accuracy_share is not None:
            parts[-1] += f", guessing {100 * metrics.guess_accuracy_share:.1f} %"
    if metrics.quality_percent is not None:
        parts.append(f"quality {metrics.quality_percent:.1f} % of the teacher's")
    if metrics.fields is not None:
        parts.append(fields_sentence(metrics.fields))
    if metrics.prompt is not None:
        lengths = metrics.prompt
        parts.append(
            f"{lengths.student_tokens:.0f} tokens a request instead of {lengths.teacher_tokens:.0f}"
        )
    return "; ".join(parts) if parts else "no exam rows to mark"


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _count(estimate: Estimate | None) -> int | None:
    return None if estimate is None else estimate.count
