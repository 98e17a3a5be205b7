"""The plots of docs/evidence/results.md, from the same results: money, and paired differences."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from proving import report
from proving.report import COMPARED, PLOTS, Comparison, Results

_CURVES = {
    "adversarial": "#c2410c",
    "progress": "#7c3aed",
    "frugal": "#f59e0b",
    "frugal progress": "#c084fc",
    "one-way": "#0f766e",
    "one-way, spend of frugal": "#5eead4",
    "same mix, spend of frugal": "#cbd5e1",
    "one-way, spend of adversarial": "#0891b2",
    "same mix": "#64748b",
    "balanced": "#1d4ed8",
}
"""An arm's colour: warm with feedback, cool without."""
_STYLE = {
    "svg.hashsalt": "lion",  # else each file has other ids
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "legend.frameon": False,
}


def write(found: Results, folder: Path) -> None:
    """Write both plots as SVG into `folder`: the same bytes for the same results."""
    folder.mkdir(parents=True, exist_ok=True)
    skews = report.ran(found)
    with mpl.rc_context(_STYLE):
        for name, draw in zip(PLOTS, (_money, _differences), strict=True):
            draw(found, skews).savefig(folder / name, metadata={"Date": None, "Creator": None})


def _money(found: Results, skews: Sequence[float]) -> Figure:
    """Return accuracy against cents spent, a panel a skew, a curve an arm, bars over seeds."""
    figure = Figure(figsize=(4.2 * max(1, len(skews)), 4.6), layout="constrained")
    for at, skew in enumerate(skews):
        axes = figure.add_subplot(1, len(skews), at + 1)
        for arm in _CURVES:
            _curve(axes, arm, found, skew)
        axes.set_title(f"skew {skew:g}")
        axes.set_xlabel("cents spent after the base")
        axes.set_ylabel("macro accuracy, %")
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = 4 if len(skews) > 1 else 2
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)
    return figure


def _curve(axes: Axes, arm: str, found: Results, skew: float) -> None:
    results = list(found.get((arm, skew), {}).values())
    if not results:
        return
    base = [100 * one["base"]["accuracy"] for one in results]
    points = [[one["iterations"][at] for one in results] for at in range(3)]
    cents = [0.0, *(report.cents(point) for point in points)]
    values = [base, *([100 * one["accuracy"] for one in point] for point in points)]
    spreads = [stdev(one) if len(one) > 1 else 0.0 for one in values]
    means = [fmean(one) for one in values]
    style = {"color": _CURVES[arm], "marker": "o", "markersize": 3, "capsize": 2, "elinewidth": 0.7}
    axes.errorbar(cents, means, spreads, label=arm, **style)


def _differences(found: Results, skews: Sequence[float]) -> Figure:
    """Return the paired differences with their intervals, a panel a skew, zero marked."""
    compared = [one for one in COMPARED if any(_known(found, one, skew) for skew in skews)]
    names = [
        f"{one.ours.split(',')[0]} - {one.others.split(',')[0]}, equal {one.budget}"
        for one in compared
    ]
    size = (3.2 + 2.6 * max(1, len(skews)), 0.6 + 0.28 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    for at, skew in enumerate(skews):
        axes = figure.add_subplot(1, len(skews), at + 1)
        for row, one in enumerate(compared):
            known = _known(found, one, skew)
            if known is not None:
                mean, low, high = known
                colour = "#15803d" if low > 0 else "#b91c1c" if high < 0 else "#64748b"
                axes.plot([low, high], [row, row], color=colour)
                axes.plot([mean], [row], color=colour, marker="o", markersize=4)
        axes.axvline(0, color="#111827", linewidth=0.8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names if at == 0 else [""] * len(names))
        axes.set_title(f"skew {skew:g}")
        axes.set_xlabel("points, 95 % interval")
    return figure


def _known(found: Results, one: Comparison, skew: float) -> tuple[float, float, float] | None:
    """Return a difference's mean and interval, in points; None with fewer than two seeds."""
    known = report.difference(found, one.ours, one.others, skew, report.last)
    if known is None or known.low is None or known.high is None:
        return None
    return 100 * known.mean, 100 * known.low, 100 * known.high
