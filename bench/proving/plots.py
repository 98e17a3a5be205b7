"""The plots of docs/evidence/results.md: paired differences, and money."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from proving import differences, report
from proving.arms import Comparison
from proving.registered import COMPARISONS, LONG, PRIMARY_COMPARISONS
from proving.report import PLOTS, Panel
from proving.results import Results

_CURVES = {
    "likelihood": "#c2410c",
    "likelihood progress": "#7c3aed",
    "scorer": "#be185d",
    "frugal": "#f59e0b",
    "one-way": "#0f766e",
    "one-way, spend of likelihood": "#5eead4",
    "same mix": "#64748b",
    "same mix, spend of likelihood": "#cbd5e1",
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


def write(results: Results, folder: Path) -> None:
    """Write both plots as SVG into `folder`: the same bytes for the same results."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = report.panels(results)
    with mpl.rc_context(_STYLE):
        for name, draw in zip(PLOTS, (_primary, _differences, _money), strict=True):
            draw(results, panels).savefig(folder / name, metadata={"Date": None, "Creator": None})


def _primary(results: Results, panels: Sequence[Panel]) -> Figure:
    """Return the primary comparisons by skew, base trained, zero marked."""
    skews = [skew for regime, skew in panels if regime == "trained"]
    figure = Figure(figsize=(7.0, 0.9 + 0.5 * max(1, len(skews))), layout="constrained")
    axes = figure.add_subplot()
    names = []
    for skew in sorted(skews, reverse=True):
        for compared in PRIMARY_COMPARISONS:
            known = differences.difference(results, compared, "trained", skew)
            _interval(axes, len(names), known)
            names.append(f"skew {skew:g}, less {compared.others.plain}")
    axes.axvline(0, color="#111827", linewidth=0.8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("points of macro accuracy at equal spend, 95 % interval")
    return figure


def _money(results: Results, panels: Sequence[Panel]) -> Figure:
    """Return accuracy against cents spent, a panel a base and skew, bars over seeds."""
    figure = Figure(figsize=(4.2 * max(1, len(panels)), 4.6), layout="constrained")
    for place, (regime, skew) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for arm in _CURVES:
            _curve(axes, arm, results, regime, skew)
        axes.set_title(f"{regime}, skew {skew:g}")
        axes.set_xlabel("cents spent after the base")
        axes.set_ylabel("macro accuracy, %")
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = 4 if len(panels) > 1 else 2
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)
    return figure


def _curve(axes: Axes, arm: str, results: Results, regime: str, skew: float) -> None:
    rows = list(results.get((regime, skew, arm), {}).values())
    if not rows:
        return
    points = [[row["iterations"][number] for row in rows] for number in range(3)]
    cents = [0.0, *(report.cents(point) for point in points)]
    values = [[100 * row["base"]["accuracy"] for row in rows]]
    values += [[100 * figures["accuracy"] for figures in point] for point in points]
    spreads = [stdev(column) if len(column) > 1 else 0.0 for column in values]
    means = [fmean(column) for column in values]
    style = {"color": _CURVES[arm], "marker": "o", "markersize": 3, "capsize": 2, "elinewidth": 0.7}
    axes.errorbar(cents, means, spreads, label=arm, **style)


def _differences(results: Results, panels: Sequence[Panel]) -> Figure:
    """Return the paired differences with their intervals, zero marked; a dot: two seeds."""
    compared = [
        comparison
        for comparison in COMPARISONS
        if comparison.ours not in LONG  # far to the right of all others: in the table alone
        and any(differences.difference(results, comparison, *panel) for panel in panels)
    ]
    names = [_name(comparison) for comparison in compared]
    size = (3.6 + 2.6 * max(1, len(panels)), 0.9 + 0.28 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    first = None
    for place, (regime, skew) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place, sharex=first)
        first = first or axes
        for row, comparison in enumerate(compared):
            _interval(axes, row, differences.difference(results, comparison, regime, skew))
        axes.axvline(0, color="#111827", linewidth=0.8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names if place == 1 else [""] * len(names))
        axes.set_title(f"{regime}, skew {skew:g}")
        axes.set_xlabel("points, 95 % interval\n(two seeds: none)")
    return figure


def _name(comparison: Comparison) -> str:
    return f"{comparison.ours.name} - {comparison.others.plain}, equal {comparison.budget}"


_SIDES = {"ahead": "#15803d", "behind": "#b91c1c", "undecided": "#64748b"}


def _interval(axes: Axes, row: int, known: differences.Difference | None) -> None:
    if known is None:
        return
    colour = _SIDES[known.side]
    if known.low is not None and known.high is not None and known.seeds > 2:
        axes.plot([100 * known.low, 100 * known.high], [row, row], color=colour)
    axes.plot([100 * known.mean], [row], color=colour, marker="o", markersize=4)
