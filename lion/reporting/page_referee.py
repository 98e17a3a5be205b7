"""The report page's cards of the referee: what its reviews say of it, and what truth says.

Of metrics/k/calibration.json, agreement.json and calibrate.json; measures nothing itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lion.escape import DASH
from lion.metrics.judging import AgreementMetrics, CalibrateMetrics, CalibrationMetrics
from lion.metrics.units import EstimateMetrics
from lion.reporting.page_run import Run
from lion.reporting.page_student import Card, card

Figures = Mapping[str, Any]
_Cell = Callable[[Any], str]


def referee(run: Run) -> Iterator[Card | None]:
    """Yield what the reviews say of the referee, then what known answers and another one say."""
    yield _table(
        run,
        "Calibration of the referee",
        "of the rows judged in both orders; points of the scale from 1 to 10",
        _OF_REVIEWS,
        _of_reviews,
    )
    yield _table(
        run,
        "The referee against truth",
        "anchors are pairs of a right and a wrong answer; intervals are those of the exam",
        _OF_TRUTH,
        _of_truth,
    )


def _table(
    run: Run, title: str, note: str, cells: Mapping[str, _Cell], read: Callable[[Run, str], Figures]
) -> Card | None:
    """Return a column an iteration, a row a figure that some iteration has; None without any."""
    by_iteration = {line.iteration: read(run, line.iteration) for line in run.lineage}
    columns = {name: figures for name, figures in by_iteration.items() if figures}
    if not columns:
        return None
    rows = [
        [name, *(_cell(show, figures.get(name)) for figures in columns.values())]
        for name, show in cells.items()
        if any(figures.get(name) is not None for figures in columns.values())
    ]
    return card(title, note, table={"columns": ["iteration", *columns], "rows": rows})


def _cell(show: _Cell, value: Any) -> str:
    return DASH if value is None else show(value)


def _of_reviews(run: Run, iteration: str) -> Figures:
    metrics = run.metrics(iteration, CalibrationMetrics)
    if metrics is None or not metrics.rows:  # nothing was judged in both orders
        return {}
    agreement = run.metrics(iteration, AgreementMetrics)
    return {
        "judged in both orders": metrics.rows,
        "the better side depends on the order": metrics.flip_share,
        "ties": metrics.tie_share,
        "points for standing first": metrics.position_bias_points,
        "correlation of gap and length": metrics.length_correlation,
        "noise of a gap, points": metrics.noise_points,
        "verdicts within the noise": agreement and agreement.noise.within_share,
        "repeated judgements agree": metrics.repeated and metrics.repeated.agreement_share,
    }


def _of_truth(run: Run, iteration: str) -> Figures:
    metrics = run.metrics(iteration, CalibrateMetrics)
    if metrics is None or not (metrics.anchors.rows or metrics.against_second.rows):
        return {}
    anchors, second = metrics.anchors, metrics.against_second
    return {
        "anchors": anchors.rows or None,
        "right answer ahead": anchors.accuracy,
        "its gap reaches tau": anchors.hard,
        "area under the curve (AUC)": anchors.auc,
        "judged by a second referee, too": second.rows or None,
        "it agrees on hard and easy": second.agreement,
        "points for the teacher's own answers": second.self_preference,
    }


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(number: float) -> str:
    return f"{number:+.2f}"


def _estimate(show: Callable[[float], str]) -> _Cell:
    """Return how an estimate with its interval is shown."""

    def shown(estimate: EstimateMetrics) -> str:
        value, low, high = estimate.figures
        if low is None or high is None:
            return show(value)
        return f"{show(value)} ({show(low)} to {show(high)})"

    return shown


_OF_REVIEWS: Mapping[str, _Cell] = {
    "judged in both orders": "{:,}".format,
    "the better side depends on the order": _percent,
    "ties": _percent,
    "points for standing first": _points,
    "correlation of gap and length": _points,
    "noise of a gap, points": "{:.2f}".format,
    "verdicts within the noise": _percent,
    "repeated judgements agree": _percent,
}
_OF_TRUTH: Mapping[str, _Cell] = {
    "anchors": "{:,}".format,
    "right answer ahead": _estimate(_percent),
    "its gap reaches tau": _estimate(_percent),
    "area under the curve (AUC)": _estimate("{:.3f}".format),
    "judged by a second referee, too": "{:,}".format,
    "it agrees on hard and easy": _estimate(_percent),
    "points for the teacher's own answers": _estimate(_points),
}
