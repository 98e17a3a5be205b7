"""Reviews that exist already: what they come to, and the same as a table for a person."""

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from lion.evaluation.open_exam import Compared, open_ended_metrics
from lion.evaluation.vicuna_files import Question, ReadReview
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
from lion.statistics import Bootstrap

DASH = "-"


def of_reviews(
    asked: Sequence[Question],
    found: Sequence[ReadReview],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
    bootstrap: Bootstrap,
) -> ReviewsRead:
    """Return what the file's own scores come to, what ours do, and where the two differ.

    `candidate` (1 or 2) is whose quality is told; `written` are the answers of both.
    """
    told, read = (
        open_ended_metrics(rows, bootstrap) if rows else None
        for rows in (
            _compared(asked, [one.recorded for one in found], written, candidate),
            _compared(asked, [one.read for one in found], written, candidate),
        )
    )
    return ReviewsRead(
        questions=len(asked),
        candidate=candidate,
        told=told,
        read=read,
        differences=tuple(
            Disagreement(one.key, one.recorded, one.read)
            for one in found
            if one.recorded != one.read and not (one.recorded is None and isinstance(one.read, str))
        ),
        unread=tuple(one.key for one in found if isinstance(one.read, str)),
    )


def _compared(
    asked: Sequence[Question],
    pairs: Sequence[judge_parser.Scores | str | None],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
) -> list[Compared]:
    """Return the questions that have two scores."""
    at = candidate - 1
    rows = []
    for number, (question, pair) in enumerate(zip(asked, pairs, strict=True)):
        if pair is None or isinstance(pair, str):
            continue
        lengths = None
        if written is not None:
            lengths = (len(written[at][number]), len(written[1 - at][number]))
        rows.append(Compared(question.category, pair[at], pair[1 - at], lengths))
    return rows


def reviews_table(found: ReviewsRead) -> RenderableType:
    """Return both readings side by side, by category, and every difference."""
    readings = {"the file's scores": found.told, "read in the texts": found.read}
    differences = [
        f"question {one.question}: the file {one.told}, its text {one.read}"
        for one in found.differences
    ]
    return Group(_readings(readings), *(differences or ["no difference between the two"]))


def open_table(found: OpenExamMetrics) -> RenderableType:
    """Return an exam's figures, and the reviews that have no scores."""
    without = [f"without scores: {reason} {n}" for reason, n in found.dropped.items()]
    return Group(_readings({"the referee's scores": found.figures}), *without)


def _readings(readings: Mapping[str, OpenEnded | None]) -> Table:
    """Return figures side by side, by category."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in readings:
        table.add_column(name, justify="right")
    for label, shown in _SHOWN.items():
        table.add_row(label, *(DASH if one is None else shown(one) for one in readings.values()))
    table.add_section()
    figures = [one.categories if one else {} for one in readings.values()]
    for name in sorted({name for one in figures for name in one}):
        table.add_row(name, *(_estimate(one.get(name)) for one in figures))
    return table


def reasoning_table(exam: str, found: ExamAccuracy) -> RenderableType:
    """Return an exam's tasks beside chance, and the paper's averages."""
    title = f"{exam}: {found.items:,} of {found.official_items:,} official items"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "items", "accuracy %", "chance %", "unread %", ""):
        table.add_column(name, justify="left" if name in ("task", "") else "right")
    for task, one in found.tasks.items():
        table.add_row(task, str(one.items), *_marks(one, one.accuracy_percent))
    table.add_section()
    table.add_row("macro average", f"{found.items:,}", *_marks(found, found.average_percent))
    for model, average in found.paper_percent.items():
        table.add_row(f"{model} in the paper", "", f"{average:.1f}", "", "", "")
    notes = [f"not here: {', '.join(found.missing_tasks)}"] if found.missing_tasks else []
    notes += [
        f"{one.task}, item {one.item}: the target {one.target!r} is no option; wrong"
        for one in found.without_right_option
    ]
    return Group(table, *notes)


def _marks(one: ExamAccuracy | TaskAccuracy, percent: float) -> list[str]:
    interval = one.interval_percent
    between = "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
    near = "at chance" if one.within_chance else ""
    others = (f"{number:.1f}" for number in (one.chance_percent, one.unread_percent))
    return [f"{percent:.1f}{between}", *others, near]


def _estimate(found: PercentEstimate | None) -> str:
    if found is None:
        return DASH
    if found.low_percent is None:
        return f"{found.value_percent:.1f}"
    return f"{found.value_percent:.1f} ({found.low_percent:.1f} to {found.high_percent:.1f})"


_SHOWN: Mapping[str, Callable[[OpenEnded], str]] = {
    "candidate's sum": lambda one: f"{one.candidate_points_sum:,.1f}",
    "reference's sum": lambda one: f"{one.reference_points_sum:,.1f}",
    "rows": lambda one: str(one.rows),
    "win / tie / loss": lambda one: f"{one.win} / {one.tie} / {one.loss}",
    "length-controlled win rate %": lambda one: _estimate(one.length_controlled_win_rate),
    "win rate %": lambda one: _estimate(one.win_rate),
    "quality %": lambda one: _estimate(one.quality),
}
