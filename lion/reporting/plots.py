"""The report page's plots as Vega-Lite specifications. Pure functions of their values.

Colours are CSS variables of the page, so dark mode and print need no second plot.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lion.records.rows import Row

Spec = dict[str, Any]

_ITERATION = {"field": "iteration", "type": "nominal", "sort": None, "axis": {"labelAngle": 0}}
_POINTS = {**_ITERATION, "scale": {"type": "point", "padding": 0.5}}  # where bars have their middle
_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SHARE: Spec = {"format": ".0%", "values": list(_FIFTHS)}
PERCENT: Spec = {
    "labelExpr": "datum.label + '\\u00a0%'",
    "values": [round(100 * part) for part in _FIFTHS],
}
"""The axis of a figure in per cent; that of a share has the same labels."""
_STUDENT, _TEACHER = "var(--student)", "var(--teacher)"
_INTERVAL: Spec = {"type": "rule", "strokeWidth": 4, "opacity": 0.4}
_BANDS = [f"var(--s{number})" for number in range(1, 6)]
_SHADES = [f"var(--a{number})" for number in range(1, 6)]
_HEIGHT, _BAR = 220, 26  # pixels
OF_ROLES = {"teacher": _TEACHER, "referee": "var(--c4)", "generator": "var(--c3)"}
SMOOTH = 9  # points of the training curve


def against_teacher(values: Sequence[Row]) -> Spec:
    """Return student and teacher by iteration. Values: iteration, who, value, low, high."""
    colour = {
        "field": "who",
        "type": "nominal",
        "scale": {"domain": ["student", "teacher"], "range": [_STUDENT, _TEACHER]},
    }
    return _layers(values, "right answers", _SHARE, colour)


def by_iteration(values: Sequence[Row], title: str, axis: Spec = _SHARE) -> Spec:
    """Return one quantity by iteration, with its interval; `axis` is that of its unit.

    Values: iteration, value, low, high.
    """
    return _layers(values, title, axis, {"value": _STUDENT})


def _layers(values: Sequence[Row], title: str, unit: Spec, colour: Spec) -> Spec:
    """Return a line over an axis from nothing to all, or further where a value is above all."""
    whole = unit["values"][-1]
    top = max([whole, *(row["high"] for row in values)])
    axis = {"title": title, **unit} if top <= whole else {"title": title, **_unbounded(unit)}
    y = {
        "field": "value",
        "type": "quantitative",
        "axis": axis,
        "scale": {"domain": [0, top], "nice": top > whole},
    }
    shared = {"x": _POINTS, "color": colour}
    bounds = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return _spec(
        values,
        layer=[
            {"mark": {**_INTERVAL}, "encoding": {**shared, **bounds}},
            {
                "mark": {"type": "line", "point": {"filled": True, "size": 60}, "tooltip": True},
                "encoding": {**shared, "y": y},
            },
        ],
    )


def _unbounded(unit: Spec) -> Spec:
    """Return an axis that chooses its own ticks."""
    return {key: value for key, value in unit.items() if key != "values"}


def against_coverage(values: Sequence[Row], promises: Sequence[Row]) -> Spec:
    """Return agreement by coverage, with its bound below, and the promised limits as points.

    Values: coverage, agreement, bound. Promises: coverage, agreement, promise.
    """
    x = {
        "field": "coverage",
        "type": "quantitative",
        "axis": {"title": "share of the requests that the student answers", "format": ".0%"},
    }
    axis = {"title": "agreement with the teacher", "format": ".0%"}
    y = {"type": "quantitative", "axis": axis, "scale": {"zero": False}}
    own = {"data": {"values": list(promises)}, "encoding": {"x": x}}
    return _spec(
        values,
        layer=[
            {
                "mark": {"type": "area", "opacity": 0.15},
                "encoding": {"x": x, "y": {**y, "field": "bound"}, "y2": {"field": "agreement"}},
            },
            {
                "mark": {"type": "line", "tooltip": True, "color": _STUDENT},
                "encoding": {"x": x, "y": {**y, "field": "agreement"}},
            },
            {
                **own,
                "mark": {"type": "point", "filled": True, "size": 80, "tooltip": True},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "agreement"},
                    "color": {"value": _TEACHER},
                },
            },
            {
                **own,
                "mark": {"type": "text", "dy": -12},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "agreement"},
                    "text": {"field": "promise"},
                    "color": {"value": "var(--fg)"},
                },
            },
        ],
    )


def against_rows(points: Sequence[Row], line: Sequence[Row]) -> Spec:
    """Return accuracy by given rows with its interval, and the fitted line to twice the rows.

    Points: rows, value, low, high. Line: rows, value.
    """
    scale = {"type": "log", "base": 2}
    x = {
        "field": "rows",
        "type": "quantitative",
        "scale": scale,
        "axis": {"title": "given rows", "grid": False},
    }
    axis = {"title": "right answers", "format": ".0%"}
    y = {"field": "value", "type": "quantitative", "axis": axis}
    bounds = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return _spec(
        points,
        layer=[
            {"mark": {**_INTERVAL}, "encoding": {"x": x, **bounds}},
            {
                "mark": {"type": "point", "filled": True, "size": 60, "tooltip": True},
                "encoding": {"x": x, "y": y, "color": {"value": _STUDENT}},
            },
            {
                "data": {"values": list(line)},
                "mark": {"type": "line", "strokeDash": [4, 4]},
                "encoding": {"x": x, "y": y, "color": {"value": _TEACHER}},
            },
        ],
    )


def loss(values: Sequence[Row]) -> Spec:
    """Return the training loss by step, raw and smoothed. Values: iteration, step, loss.

    Smoothed is the mean of the nearest `SMOOTH` points.
    """
    x_axis = {"title": "optimiser step", "grid": False}
    x = {"field": "step", "type": "quantitative", "axis": x_axis}
    y = {"type": "quantitative", "axis": {"title": "mean loss"}}
    hue = {
        "field": "iteration",
        "type": "nominal",
        "sort": None,
        "legend": {"symbolType": "stroke"},
    }
    near = {
        "window": [{"op": "mean", "field": "loss", "as": "smooth"}],
        "frame": [-(SMOOTH // 2), SMOOTH // 2],
        "groupby": ["iteration"],
        "sort": [{"field": "step"}],
    }
    return _spec(
        values,
        transform=[near],
        layer=[
            {
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.25, "tooltip": True},
                "encoding": {"x": x, "y": {**y, "field": "loss"}, "color": hue},
            },
            {
                "mark": {"type": "line", "tooltip": True},
                "encoding": {"x": x, "y": {**y, "field": "smooth"}, "color": hue},
            },
        ],
    )


def shares(
    values: Sequence[Row], order: Sequence[str], title: str, *, graded: bool = False
) -> Spec:
    """Return stacked shares of what `title` names, by iteration. The parts appear in `order`.

    Values: iteration, part, rows, rank.
    """
    scale: Spec = {"domain": list(order)}
    if graded:
        scale["range"] = _BANDS
    return _spec(
        values,
        mark={"type": "bar", "tooltip": True},
        encoding={
            "x": {**_ITERATION, "scale": {"paddingInner": 0.35, "paddingOuter": 0.175}},
            "y": {
                "field": "rows",
                "type": "quantitative",
                "stack": "normalize",
                "axis": {"title": title, **_SHARE},
            },
            "color": {"field": "part", "type": "nominal", "sort": None, "scale": scale},
            "order": {"field": "rank", "type": "quantitative"},
        },
    )


def paired_shares(values: Sequence[Row], order: Sequence[str]) -> Spec:
    """Return two shares a domain, in `order`. Values: domain, of (`pool`, `hard rows`), share."""
    share = {"field": "share", "type": "quantitative", "axis": {"title": "share", "format": ".0%"}}
    colour = {
        "field": "of",
        "type": "nominal",
        "scale": {"domain": ["pool", "hard rows"], "range": [_TEACHER, _STUDENT]},
    }
    named = {"field": "domain", "type": "nominal", "sort": list(order), "axis": {"title": None}}
    return _spec(
        values,
        height=max(60, _BAR * len(order)),
        mark={"type": "bar", "tooltip": True},
        encoding={
            "y": named,
            "yOffset": {"field": "of", "sort": ["pool", "hard rows"]},
            "x": share,
            "color": colour,
        },
    )


def amounts(values: Sequence[Row], title: str, colours: Mapping[str, str] | None = None) -> Spec:
    """Return stacked amounts, one bar per row. Values: row, part, amount, rank.

    `colours` are by part, all parts in their order.
    """
    bars = len({row["row"] for row in values})
    scale: Spec = {}
    if colours is not None:
        scale["scale"] = {"domain": list(colours), "range": list(colours.values())}
    return _spec(
        values,
        height=max(60, _BAR * bars),
        mark={"type": "bar", "tooltip": True},
        encoding={
            "y": {"field": "row", "type": "nominal", "sort": None, "axis": {"title": None}},
            "x": {
                "field": "amount",
                "type": "quantitative",
                "axis": {"title": title, "tickCount": 5},
            },
            "color": {"field": "part", "type": "nominal", "sort": None, **scale},
            "order": {"field": "rank", "type": "quantitative"},
        },
    )


def scores(values: Sequence[Row]) -> Spec:
    """Return accuracies of categories by iteration. Values: category, iteration, accuracy."""
    rows = len({row["category"] for row in values})
    shared = {
        "x": {**_ITERATION, "axis": {"labelAngle": 0, "orient": "top", "title": None}},
        "y": {
            "field": "category",
            "type": "nominal",
            "sort": None,
            "axis": {"title": None, "labelLimit": 150},
        },
    }
    shade = {
        "field": "accuracy",
        "type": "quantitative",
        "legend": None,
        "scale": {"type": "threshold", "domain": [0.2, 0.4, 0.6, 0.8], "range": _SHADES},
    }
    text = {"field": "accuracy", "type": "quantitative", "format": ".0%"}
    dark = {"condition": {"test": "datum.accuracy >= 0.8", "value": "var(--card)"}}
    ink = {**dark, "value": "var(--fg)"}
    return _spec(
        values,
        height=max(60, _BAR * rows),
        layer=[
            {
                "mark": {"type": "rect", "tooltip": True, "stroke": "var(--card)"},
                "encoding": {**shared, "color": shade},
            },
            {"mark": {"type": "text"}, "encoding": {**shared, "text": text, "color": ink}},
        ],
    )


def confusion(values: Sequence[Row], expected: Sequence[str], given: Sequence[str]) -> Spec:
    """Return a confusion matrix. Values: expected, given, rows, share (of the expected label).

    Rows are the `expected` labels, columns those `given`, both in this order.
    """
    shared: Spec = {
        "x": {
            "field": "given",
            "type": "nominal",
            "sort": list(given),
            "scale": {"domain": list(given)},
            "axis": {
                "orient": "top",
                "title": "the student's",
                "labelAngle": -35,
                "labelLimit": 90,
            },
        },
        "y": {
            "field": "expected",
            "type": "nominal",
            "sort": list(expected),
            "scale": {"domain": list(expected)},
            "axis": {"title": "expected", "labelLimit": 120},
        },
    }
    shade = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"type": "threshold", "domain": [0.02, 0.1, 0.4, 0.8], "range": _SHADES},
    }
    dark = {"condition": {"test": "datum.share >= 0.8", "value": "var(--card)"}}
    return _spec(
        values,
        height=max(60, _BAR * len(expected)),
        layer=[
            {
                "mark": {"type": "rect", "tooltip": True, "stroke": "var(--card)"},
                "encoding": {**shared, "color": shade},
            },
            {
                "mark": {"type": "text"},
                "encoding": {
                    **shared,
                    "text": {"field": "rows", "type": "quantitative", "format": ","},
                    "color": {**dark, "value": "var(--fg)"},
                },
            },
        ],
    )


def _spec(values: Sequence[Row], *, height: int = _HEIGHT, **rest: Any) -> Spec:
    return {
        "data": {"values": list(values)},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **rest,
    }
