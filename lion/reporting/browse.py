"""Rows of a pool for `lion show`: filter, order, and text for a terminal."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lion.errors import SettingsError
from lion.escape import DASH, clipped, inert
from lion.records.rows import Row
from lion.reporting.domains import domain_name, is_about, shown_label

CLIP = 400  # characters of a text, unless --whole
_NAMED = 15  # values of a column that a sentence lists
MEASURE = pl.coalesce("gap", "nats")
"""What a verdict rests on: the gap, or the nats per token where the likelihood judged."""
ORDERS = ("pool", "gap", "-gap", "length", "-length")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)?(\.\.)?(-?\d+(?:\.\d+)?)?\Z")
_STYLES = {"hard": "red", "easy": "green", "undecided": "yellow"}


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Conditions on rows, all of which must hold; None sets no condition.

    `domain` is a label or the name of a domain (`reporting.domains`), in upper case or lower.
    """

    difficulty: str | None = None
    origin: str | None = None
    iteration: str | None = None
    domain: str | None = None
    category: str | None = None
    parent: str | None = None
    id: str | None = None
    search: str | None = None
    gap: str | None = None


def select_rows(pool: pl.DataFrame, criteria: RowFilter, order: str) -> pl.DataFrame:
    """Return the rows of `snapshot.judged_pool` that pass `criteria`, in `order`.

    `order` is one of ORDERS. Raises SettingsError where the range of gaps is malformed.
    """
    rows = pool
    for _, condition in _conditions(criteria):
        rows = rows.filter(condition)
    return _ordered(rows, order)


def emptied_by(pool: pl.DataFrame, criteria: RowFilter) -> str | None:
    """Return a sentence that names the condition after which no row is left; None without one."""
    rows = pool
    for name, condition in _conditions(criteria):
        before, rows = rows, rows.filter(condition)
        if rows.is_empty():
            value = getattr(criteria, name)
            return f"--{name} {value} leaves none of {before.height:,} rows{_choices(before, name)}"
    return None


def _choices(rows: pl.DataFrame, name: str) -> str:
    """Return the values that the rows have in a column of few values, in brackets."""
    if name not in _EQUAL or rows.is_empty():
        return ""
    own = rows.get_column(name).drop_nulls().unique()
    values = sorted(set(map(domain_name, own)) if name == "domain" else own)
    shown = ", ".join(values[:_NAMED]) or "none"
    return f" (theirs: {shown}{', ...' if len(values) > _NAMED else ''})"


_EQUAL = ("difficulty", "origin", "iteration", "domain", "category")


def _conditions(criteria: RowFilter) -> Iterator[tuple[str, pl.Expr]]:
    """Yield the conditions that are set, under their names. Raises SettingsError."""
    for name in _EQUAL:
        value = getattr(criteria, name)
        if value is not None:
            yield name, _about(value) if name == "domain" else pl.col(name) == value
    for name in ("id", "parent"):
        value = getattr(criteria, name)
        if value is not None:
            yield name, pl.col(name).str.starts_with(value)
    if criteria.gap is not None:
        yield "gap", MEASURE.is_between(*bounds(criteria.gap))
    if criteria.search is not None:
        contains = [
            pl.col(name).str.to_lowercase().str.contains(criteria.search.lower(), literal=True)
            for name in ("text", "answer", "response")
        ]
        yield "search", pl.any_horizontal(contains)


def _about(wanted: str) -> pl.Expr:
    """Return the condition that a row's label, or its domain, is `wanted`."""
    return pl.col("domain").map_elements(
        lambda label: is_about(label, wanted), return_dtype=pl.Boolean
    )


def _ordered(rows: pl.DataFrame, order: str) -> pl.DataFrame:
    """Return the rows in one of ORDERS; rows without the figure come last."""
    if order == "pool":
        return rows
    key = {"gap": MEASURE, "length": pl.col("text").str.len_chars()}[order.removeprefix("-")]
    return rows.sort(key, descending=order.startswith("-"), nulls_last=True, maintain_order=True)


def bounds(text: str) -> tuple[float, float]:
    """Return (low, high) of a range such as `3..`, `..2`, `1..3` or `3`. Raises SettingsError."""
    match = _RANGE.match(text)
    if match is None or not text:
        raise SettingsError(f"--gap {text}: a range is expected, as 3.. or ..2 or 1..3")
    low, dots, high = match.groups()
    if dots is None:
        return float(low), float(low)
    return float(low or "-inf"), float(high or "inf")


def json_row(row: Row) -> Row:
    """Return a row for JSON, with the names that the command's options use."""
    renamed = {"text": "instruction", "answer": "teacher", "response": "student"}
    return {renamed.get(name, name): value for name, value in row.items()}


def rows_as_text(rows: pl.DataFrame, whole: bool) -> RenderableType:
    """Return rows for a terminal of any width."""
    return Group(*(part for row in rows.iter_rows(named=True) for part in _row(row, whole)))


def _row(row: Row, whole: bool) -> Iterator[RenderableType]:
    head = Text(row["id"], style="bold")
    head.append(f"  {row['origin']}, iteration {row['iteration']}", style="dim")
    about = shown_label(row["domain"]) if row["domain"] else row["category"]
    if about:
        head.append(f", {inert(about)}", style="dim")
    if row["difficulty"] is not None:
        verdict = f"  {row['difficulty']}, {_measure(row)}"
        head.append(verdict, style=_STYLES.get(row["difficulty"], ""))
        head.append(f" in iteration {row['judged']}", style="dim")
    yield head
    yield _indented(row["text"], whole, "")
    for name, text in (("teacher", row["answer"]), ("student", row["response"])):
        if text is not None:
            yield _indented(text, whole, f"{name}: ")
    yield Text()


def _measure(row: Row) -> str:
    """Return the verdict's gap, or the nats per token of the teacher's answer."""
    if row["gap"] is None:
        return DASH if row["nats"] is None else f"{row['nats']:.2f} nats"
    return f"gap {row['gap']:g}"


def _indented(text: str, whole: bool, label: str) -> RenderableType:
    shown = Text(label, style="dim")
    shown.append(inert(text if whole else clipped(text, CLIP)), style="default")
    return Padding(shown, (0, 0, 0, 2), expand=False)
