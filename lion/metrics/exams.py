"""Metrics of students' exams: their own, BBH and AGIEval, and open-ended ones."""

from typing import ClassVar, Self

from msgspec.structs import asdict

from lion.metrics.units import (
    DifferenceInterval,
    Metrics,
    PercentEstimate,
    PercentInterval,
    RoleUsage,
    ShareEstimate,
    ShareInterval,
)


class ExamMarks(Metrics, frozen=True, kw_only=True):
    """The exam's marks: macro accuracies, student less teacher, and the student's by category.

    `guess_accuracy_share` is that of always giving the commonest expected answer of a category.
    None, and without an interval and a number of rows, where nothing could be marked.
    """

    accuracy_share: float | None
    accuracy_interval: ShareInterval | None = None
    accuracy_rows: int | None = None
    teacher_accuracy_share: float | None
    teacher_accuracy_interval: ShareInterval | None = None
    teacher_accuracy_rows: int | None = None
    accuracy_share_difference: float | None
    difference_interval: DifferenceInterval | None = None
    difference_rows: int | None = None
    guess_accuracy_share: float | None = None
    category_accuracy_share: dict[str, float]


class FieldAccuracy(Metrics, frozen=True, kw_only=True):
    """A field of JSON answers; None where no row could be marked.

    `confusion_rows` is of a label: rows by expected value and the student's, `(other)` where that
    is no expected value of the exam, `(none)` where the answer has no such field.
    """

    student: ShareEstimate | None
    teacher: ShareEstimate | None
    confusion_rows: dict[str, dict[str, int]] | None = None


class ExamFields(Metrics, frozen=True, kw_only=True):
    """JSON answers field by field, over rows; `valid` says whether the schema allows the answer."""

    valid: ShareEstimate | None
    teacher_valid: ShareEstimate | None
    by_name: dict[str, FieldAccuracy]


class ExamQuality(Metrics, frozen=True, kw_only=True):
    """The referee's scores of the student, of the teacher's; None where nothing was compared.

    `quality_flip_share` is of the rows whose better answer depends on the order of the two.
    """

    quality_percent: float | None
    quality_interval: PercentInterval | None = None
    quality_rows: int | None = None
    quality_flip_share: float | None = None


class PromptLengths(Metrics, frozen=True, kw_only=True):
    """Tokens of a request in the student's vocabulary, means over the exam's rows.

    `student_tokens` as the student is asked, `teacher_tokens` with the teacher's conversation.
    """

    student_tokens: float
    teacher_tokens: float


class EvaluateMetrics(ExamMarks, frozen=True, kw_only=True):
    """evaluate.json: the exam's marks and quality, and what asking for them needed.

    `fields` is of the scorer `json`, left out for others; `prompt` is of a student whose prompt is
    not the teacher's.
    """

    FILE: ClassVar[str] = "evaluate"

    quality_percent: float | None
    quality_interval: PercentInterval | None = None
    quality_rows: int | None = None
    quality_flip_share: float | None = None
    referee: RoleUsage
    teacher: RoleUsage
    dropped: dict[str, int]
    fields: ExamFields | None = None
    prompt: PromptLengths | None = None

    @classmethod
    def of(
        cls,
        accuracy: ExamMarks,
        quality: ExamQuality,
        *,
        referee: RoleUsage,
        teacher: RoleUsage,
        dropped: dict[str, int],
        fields: ExamFields | None = None,
        prompt: PromptLengths | None = None,
    ) -> Self:
        """Return both together, with what asking needed."""
        figures = {**asdict(accuracy), **asdict(quality)}
        return cls(
            **figures,
            referee=referee,
            teacher=teacher,
            dropped=dropped,
            fields=fields,
            prompt=prompt,
        )


class CurveMetrics(Metrics, frozen=True, kw_only=True):
    """curve.json: the exam of a student that was tuned on `rows` of the given rows.

    `correct` is over rows (micro), None where none can be marked. The tokens are those of the
    teacher's answers to the rows, in proportion to all; `teacher` was asked about the exam.
    """

    FILE: ClassVar[str] = "curve"

    rows: int
    steps: int
    correct: ShareEstimate | None
    prompt_tokens: int
    completion_tokens: int
    teacher: RoleUsage


class HeadlineMetrics(Metrics, frozen=True):
    """exam.json: what `dvc metrics` shows of an exam."""

    FILE: ClassVar[str] = "exam"

    accuracy_share: float | None
    teacher_accuracy_share: float | None
    quality_percent: float | None

    @classmethod
    def of(cls, metrics: EvaluateMetrics) -> Self:
        """Return the headline of an exam."""
        return cls(*(getattr(metrics, name) for name in cls.__struct_fields__))


class TaskAccuracy(Metrics, frozen=True):
    """One task of BBH or AGIEval: `unread` answers choose no option.

    `within_chance`: chance lies within the interval; None where there is no interval.
    """

    accuracy_percent: float
    interval_percent: tuple[float, float] | None
    chance_percent: float
    within_chance: bool | None
    unread_percent: float
    items: int
    official_items: int


class UnanswerableItem(Metrics, frozen=True):
    """An item whose target is none of its options; `item` is its number in the official file."""

    task: str
    item: int
    target: str


class ExamAccuracy(Metrics, frozen=True):
    """BBH or AGIEval: the macro average over `tasks`, beside what the paper reports of models."""

    average_percent: float
    interval_percent: tuple[float, float] | None
    chance_percent: float
    within_chance: bool | None
    items: int
    official_items: int
    subset: bool
    missing_tasks: tuple[str, ...]
    unread_percent: float
    without_right_option: tuple[UnanswerableItem, ...]
    paper_percent: dict[str, float]
    tasks: dict[str, TaskAccuracy]


class ExamineMetrics(Metrics, frozen=True):
    """examine.json: each exam that was taken, by its name."""

    FILE: ClassVar[str] = "examine"

    scoring: str
    exams: dict[str, ExamAccuracy]


class ReasoningMetrics(Metrics, frozen=True):
    """reasoning.json: what `dvc metrics` shows of BBH and AGIEval, their macro averages."""

    FILE: ClassVar[str] = "reasoning"

    bbh_percent: float | None = None
    agieval_percent: float | None = None

    @classmethod
    def of(cls, exams: dict[str, ExamAccuracy]) -> Self:
        """Return the averages of the exams that were taken."""
        return cls(
            **{f"{name}_percent": accuracy.average_percent for name, accuracy in exams.items()}
        )


class OpenEnded(Metrics, frozen=True):
    """What the reviews of an open-ended exam come to; None where there is nothing to measure."""

    rows: int
    candidate_points_sum: float
    reference_points_sum: float
    quality: PercentEstimate | None
    win_rate: PercentEstimate | None
    length_controlled_win_rate: PercentEstimate | None
    win: int
    tie: int
    loss: int
    categories: dict[str, PercentEstimate | None]


class OpenExamMetrics(Metrics, frozen=True):
    """`lion exam open`: the figures in the paper's `setting` 1 or 2, and what asking needed."""

    setting: int
    figures: OpenEnded
    dropped: dict[str, int]
    referee: RoleUsage


class Disagreement(Metrics, frozen=True):
    """A review whose file states other scores than its text, or a text without readable scores."""

    question: str
    stated: tuple[float, float] | None
    read: tuple[float, float] | str


class ReviewsRead(Metrics, frozen=True):
    """`lion exam reviews`: the totals of a file's own scores, and of those read from its texts."""

    questions: int
    candidate: int
    stated: OpenEnded | None
    read: OpenEnded | None
    differences: tuple[Disagreement, ...]
    unread: tuple[str, ...]
