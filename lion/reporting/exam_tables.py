"""Tables of exams, and a comparison of two readings of existing reviews."""

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from lion.evaluation.open_exam import Compared, Question, ReadReview, open_ended_metrics
from lion.metrics.exams import (
    Disagreement,
    ExamAccuracy,
    OpenEnded,
    OpenExamMetrics,
    ReviewsRead,
    TaskAccuracy,
)
from lion.metrics.units import PercentEstimate
from lion.prompting import judge_parser
from lion.reporting import paper_figures
from lion.reporting.numbers import decimal
from lion.statistics import Bootstrap

DASH = "-"


def of_reviews(
    questions: Sequence[Question],
    reviews: Sequence[ReadReview],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
    bootstrap: Bootstrap,
) -> ReviewsRead:
    """Compare the scores that a file of reviews states with those parsed from its texts.

    `candidate` (1 or 2) is the assistant whose quality is computed; `written` holds both
    assistants' answers, for their lengths.
    """
    stated, parsed = (
        open_ended_metrics(rows, bootstrap) if rows else None
        for rows in (
            _compared(questions, [review.recorded for review in reviews], written, candidate),
            _compared(questions, [review.read for review in reviews], written, candidate),
        )
    )
    return ReviewsRead(
        questions=len(questions),
        candidate=candidate,
        stated=stated,
        read=parsed,
        differences=tuple(
            Disagreement(review.key, review.recorded, review.read)
            for review in reviews
            if review.recorded != review.read
            and not (review.recorded is None and isinstance(review.read, str))
        ),
        unread=tuple(review.key for review in reviews if isinstance(review.read, str)),
    )


def _compared(
    questions: Sequence[Question],
    pairs: Sequence[judge_parser.Scores | str | None],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
) -> list[Compared]:
    """Return the questions for which both assistants have a score."""
    own = candidate - 1
    rows = []
    for number, (question, pair) in enumerate(zip(questions, pairs, strict=True)):
        if pair is None or isinstance(pair, str):
            continue
        lengths = None
        if written is not None:
            lengths = (len(written[own][number]), len(written[1 - own][number]))
        rows.append(Compared(question.category, pair[own], pair[1 - own], lengths))
    return rows


def reviews_table(reviews: ReviewsRead) -> RenderableType:
    """Return both readings side by side, by category, and every difference."""
    readings = {"the file's scores": reviews.stated, "read in the texts": reviews.read}
    differences = [
        f"question {difference.question}: the file {difference.stated}, its text {difference.read}"
        for difference in reviews.differences
    ]
    return Group(_readings(readings), *(differences or ["no difference between the two"]))


def open_table(metrics: OpenExamMetrics) -> RenderableType:
    """Return an exam's figures beside the paper's, and counts of the reviews without scores."""
    without = [f"without scores: {reason} {n}" for reason, n in metrics.dropped.items()]
    table = _readings({"the referee's scores": metrics.figures})
    table.add_section()
    for model, percent in paper_figures.reported_quality(metrics.setting).items():
        table.add_row(f"{model} in the paper, quality %", f"{percent:.2f}")
    source = f"the paper: setting {metrics.setting}, the 80 Vicuna questions, against ChatGPT"
    return Group(table, source, *without)


def _readings(readings: Mapping[str, OpenEnded | None]) -> Table:
    """Return a table with one column per reading, and a row per figure and category."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in readings:
        table.add_column(name, justify="right")
    for label, shown in _SHOWN.items():
        table.add_row(
            label, *(DASH if reading is None else shown(reading) for reading in readings.values())
        )
    table.add_section()
    figures = [reading.categories if reading else {} for reading in readings.values()]
    for name in sorted({name for categories in figures for name in categories}):
        table.add_row(name, *(_estimate(categories.get(name)) for categories in figures))
    return table


def reasoning_table(exam: str, accuracy: ExamAccuracy) -> RenderableType:
    """Return an exam's tasks beside chance, then beside the paper's models."""
    notes = [f"not here: {', '.join(accuracy.missing_tasks)}"] if accuracy.missing_tasks else []
    notes += [
        f"{question.task}, item {question.item}: the target {question.target!r} is no option; wrong"
        for question in accuracy.without_right_option
    ]
    return Group(_beside_chance(exam, accuracy), _beside_paper(exam, accuracy), *notes)


def _beside_chance(exam: str, accuracy: ExamAccuracy) -> Table:
    title = f"{exam}: {accuracy.items:,} of {accuracy.official_items:,} official items"
    table = _tasks_table(title, ("items", "accuracy %", "chance %", "unread %", ""))
    for name, task in accuracy.tasks.items():
        table.add_row(name, str(task.items), *_marks(task, task.accuracy_percent))
    table.add_section()
    average = _marks(accuracy, accuracy.average_percent)
    table.add_row("macro average", f"{accuracy.items:,}", *average)
    return table


def _beside_paper(exam: str, accuracy: ExamAccuracy) -> Table:
    """Return our accuracy and that of the paper's models, by task. Narrow by its heads."""
    models = accuracy.paper_percent
    heads = [model.replace("-", "\n") for model in models]
    table = _tasks_table(f"{exam} beside the paper, accuracy %", ("ours", *heads))
    for name, task in accuracy.tasks.items():
        reported = paper_figures.of_task(exam, name)
        values = (task.accuracy_percent, *(reported.get(model) for model in models))
        table.add_row(name, *map(decimal, values))
    table.add_section()
    table.add_row("macro average", *map(decimal, (accuracy.average_percent, *models.values())))
    return table


def _tasks_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table of tasks, whose names alone are folded where there is no room."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False
    )
    table.add_column("task", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    return table


def _marks(accuracy: ExamAccuracy | TaskAccuracy, percent: float) -> list[str]:
    interval = accuracy.interval_percent
    between = "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
    near = "at chance" if accuracy.within_chance else ""
    others = (f"{number:.1f}" for number in (accuracy.chance_percent, accuracy.unread_percent))
    return [f"{percent:.1f}{between}", *others, near]


def _estimate(estimate: PercentEstimate | None) -> str:
    if estimate is None:
        return DASH
    if estimate.low_percent is None:
        return f"{estimate.value_percent:.1f}"
    return (
        f"{estimate.value_percent:.1f} ({estimate.low_percent:.1f} to {estimate.high_percent:.1f})"
    )


_SHOWN: Mapping[str, Callable[[OpenEnded], str]] = {
    "candidate's sum": lambda figures: f"{figures.candidate_points_sum:,.1f}",
    "reference's sum": lambda figures: f"{figures.reference_points_sum:,.1f}",
    "rows": lambda figures: str(figures.rows),
    "win / tie / loss": lambda figures: f"{figures.win} / {figures.tie} / {figures.loss}",
    "length-controlled win rate %": lambda figures: _estimate(figures.length_controlled_win_rate),
    "win rate %": lambda figures: _estimate(figures.win_rate),
    "quality %": lambda figures: _estimate(figures.quality),
}
