"""The report page's cards of the referee: what its reviews say of it, and what truth says.

Reads metrics/k/calibration.json, agreement.json and calibrate.json; measures nothing itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lion.cards import Card, card
from lion.records import Row
from lion.runs import Run
from lion.visible import DASH

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
    found = {line.iteration: read(run, line.iteration) for line in run.lineage}
    known = {name: figures for name, figures in found.items() if figures}
    if not known:
        return None
    rows = [
        [name, *(_cell(show, figures.get(name)) for figures in known.values())]
        for name, show in cells.items()
        if any(figures.get(name) is not None for figures in known.values())
    ]
    return card(title, note, table={"columns": ["iteration", *known], "rows": rows})


def _cell(show: _Cell, value: Any) -> str:
    return DASH if value is None else show(value)


def _of_reviews(run: Run, iteration: str) -> Figures:
    told = run.metrics(iteration, "calibration")
    if not told.get("rows"):  # nothing was judged in both orders
        return {}
    agreement = run.metrics(iteration, "agreement").get("noise") or {}
    repeated = told.get("repeated") or {}
    return {
        "rows": told["rows"],
        "the order decides": told["flip_rate"],
        "ties": told["tie_rate"],
        "worth of the first place": told["position_bias"],
        "correlation of gap and length": told["length_correlation"],
        "noise of a gap": told["noise"],
        "gaps within the noise of tau": agreement.get("within"),
        "agreement when repeated": repeated.get("agreement"),
    }


def _of_truth(run: Run, iteration: str) -> Figures:
    told = run.metrics(iteration, "calibrate")
    anchors: Row = told.get("anchors") or {}
    second: Row = told.get("against_second") or {}
    if not anchors.get("rows") and not second.get("rows"):
        return {}
    return {
        "anchors": anchors.get("rows") or None,
        "the right answer is ahead": anchors.get("accuracy"),
        "its gap reaches tau": anchors.get("hard"),
        "area under the curve": anchors.get("auc"),
        "rows before a second referee": second.get("rows") or None,
        "it agrees on hard and easy": second.get("agreement"),
        "points for the teacher's own answers": second.get("self_preference"),
    }


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(number: float) -> str:
    return f"{number:+.2f}"


def _estimate(show: Callable[[float], str]) -> _Cell:
    """Return how an estimate with its interval is shown."""

    def shown(found: Figures) -> str:
        if found["low"] is None:
            return show(found["value"])
        return f"{show(found['value'])} ({show(found['low'])} to {show(found['high'])})"

    return shown


_OF_REVIEWS: Mapping[str, _Cell] = {
    "rows": "{:,}".format,
    "the order decides": _percent,
    "ties": _percent,
    "worth of the first place": _points,
    "correlation of gap and length": _points,
    "noise of a gap": "{:.2f}".format,
    "gaps within the noise of tau": _percent,
    "agreement when repeated": _percent,
}
_OF_TRUTH: Mapping[str, _Cell] = {
    "anchors": "{:,}".format,
    "the right answer is ahead": _estimate(_percent),
    "its gap reaches tau": _estimate(_percent),
    "area under the curve": _estimate("{:.3f}".format),
    "rows before a second referee": "{:,}".format,
    "it agrees on hard and easy": _estimate(_percent),
    "points for the teacher's own answers": _estimate(_points),
}
