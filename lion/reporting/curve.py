"""Accuracy against given rows and dollars, and what the next doubling of the rows would bring.

The line is fitted to the largest points by the base-2 logarithm of their rows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log2

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lion import statistics
from lion.config import project
from lion.llm.prices import Prices
from lion.metrics.exams import CurveMetrics
from lion.metrics.pools import TeachMetrics, TuneMetrics
from lion.prompting.protocol import Usage
from lion.records.rows import Row
from lion.reporting.numbers import share
from lion.reporting.table import dollars
from lion.reporting.worth import MarkedRun, Marks
from lion.statistics import Bootstrap, Estimate

_FITTED = 3  # points, the largest: a learning curve is a line in log rows over a short stretch only


@dataclass(frozen=True, slots=True)
class RowsPoint:
    """A student of so many `rows`: its accuracy, and what the teacher's answers to them cost.

    `nanodollars` is None where a price is unknown.
    """

    rows: int
    steps: int
    correct: Estimate
    nanodollars: int | None


@dataclass(frozen=True, slots=True)
class Doubling:
    """The fitted line: `gain` (share a doubling) and the fitted share at the largest point."""

    gain: Estimate
    fitted_share: float
    points: int


@dataclass(frozen=True, slots=True)
class Curve:
    """The points by rows, the base student last, and the line; None with fewer than two points."""

    points: Sequence[RowsPoint]
    doubling: Doubling | None


def read_curve(run: MarkedRun, prices: Prices) -> Curve:
    """Return the curve of the params at hand, as far as its stages have run."""
    measured = sorted(_measured(run), key=lambda pair: pair[0].rows)
    level = run.settings.evaluate.confidence
    points, marks = list[RowsPoint](), list[Marks]()
    for size, marked in measured:
        correct = statistics.accuracy(list(marked.values()), level)
        if correct is not None and size.rows not in [point.rows for point in points]:
            cost = _nanodollars(size, run, prices)
            points.append(RowsPoint(size.rows, size.steps, correct, cost))
            marks.append(marked)
    return Curve(points, _doubling(points, marks, run))


@dataclass(frozen=True, slots=True)
class _Size:
    rows: int
    steps: int
    usage: Usage


def _measured(run: MarkedRun) -> Iterator[tuple[_Size, Marks]]:
    """Yield each student with its marks: the curve's, then the base student."""
    for name in run.settings.curve_points:
        metrics = run.read(project.metrics(name, CurveMetrics.FILE), CurveMetrics)
        if metrics is not None:
            usage = Usage(metrics.prompt_tokens, metrics.completion_tokens)
            yield _Size(metrics.rows, metrics.steps, usage), run.marks(name)
    tuned = run.read(project.metrics(project.BASE, TuneMetrics.FILE), TuneMetrics)
    taught = run.read(project.metrics(project.BASE, TeachMetrics.FILE), TeachMetrics)
    if tuned is not None and taught is not None and tuned.new_rows:
        usage = Usage(*taught.tokens_of(tuned.new_rows))
        yield _Size(tuned.new_rows, tuned.steps, usage), run.marks(project.BASE)


def _nanodollars(size: _Size, run: MarkedRun, prices: Prices) -> int | None:
    """Return the price of the answers, by the mode in which so many are asked."""
    if not size.usage.prompt and not size.usage.completion:
        return 0  # the rows brought their answers
    api = run.settings.api
    in_batch = api.mode.teacher == "batch" and size.rows >= api.batch_least
    rates = prices.rates(run.settings.teacher, batch=in_batch)
    return None if rates is None else rates.cost(size.usage)


def _doubling(
    points: Sequence[RowsPoint], marks: Sequence[Marks], run: MarkedRun
) -> Doubling | None:
    points, marks = points[-_FITTED:], marks[-_FITTED:]
    if len(points) < 2:
        return None
    names = [id for id in marks[0] if all(column.get(id) is not None for column in marks)]
    columns = [[bool(column[id]) for id in names] for column in marks]
    rules = run.settings.evaluate
    gain = statistics.gain_per_doubling(
        [point.rows for point in points],
        columns,
        Bootstrap(rules.confidence, rules.resamples, run.settings.random_seed),
    )
    if gain is None:
        return None
    places = [log2(point.rows) for point in points]
    middle = sum(point.correct.value for point in points) / len(points)
    fitted = middle + gain.value * (places[-1] - sum(places) / len(places))
    return Doubling(gain, fitted, len(points))


def curve_table(curve: Curve, declared: bool) -> RenderableType:
    """Return the points as a table, and the sentence below; `declared`: params name points."""
    if not curve.points:
        return Text("No point has been measured. " + _DECLARE)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
    for name in ("rows", "steps", "right", "interval", "teacher's answers"):
        table.add_column(name, justify="right")
    for point in curve.points:
        low, high = point.correct.low, point.correct.high
        between = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
        cost = dollars(point.nanodollars)
        table.add_row(
            f"{point.rows:,}", f"{point.steps:,}", share(point.correct.value), between, cost
        )
    ending = [] if declared else [Text(_DECLARE)]
    return Group(table, Text(doubling_sentence(curve)), *ending)


_DECLARE = "`curve: [50, 100, 200]` in params.yaml declares points, and `lion run` measures them."


def doubling_sentence(curve: Curve) -> str:
    """Return what the next doubling of the rows would bring, and what it would cost."""
    doubling = curve.doubling
    if doubling is None:
        return "Two points at least make a line."
    last, gain = curve.points[-1], doubling.gain
    between = ""
    if gain.low is not None and gain.high is not None:
        between = f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return (
        f"By the line through the {doubling.points} largest points, the next doubling, to "
        f"{2 * last.rows:,} rows, would bring about {100 * gain.value:+.1f} points{between} for "
        f"{dollars(last.nanodollars)} of the teacher's answers. The interval is that of "
        f"{gain.count:,} exam rows; another seed is not in it."
    )


def curve_values(curve: Curve) -> tuple[list[Row], list[Row]]:
    """Return the points and the ends of the fitted line, for a plot."""
    points = [
        {
            "rows": point.rows,
            "value": point.correct.value,
            "low": point.correct.low,
            "high": point.correct.high,
        }
        for point in curve.points
    ]
    doubling = curve.doubling
    if doubling is None:
        return points, []
    last, first = curve.points[-1].rows, curve.points[-doubling.points].rows
    line = [
        {"rows": rows, "value": doubling.fitted_share + doubling.gain.value * log2(rows / last)}
        for rows in (first, 2 * last)
    ]
    return points, line


def curve_as_json(curve: Curve) -> str:
    """Return the curve as a JSON object."""
    return json.dumps(asdict(curve), indent=2)
