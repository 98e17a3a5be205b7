"""A pool to read: which rows, in which order, and how they look on a terminal."""

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

CLIP = 400  # characters of a text, unless it is asked for whole
ORDERS = ("pool", "gap", "-gap", "length", "-length")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)?(\.\.)?(-?\d+(?:\.\d+)?)?\Z")
_STYLES = {"hard": "red", "easy": "green", "undecided": "yellow"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rows shown have in common; None where anything will do."""

    difficulty: str | None = None
    origin: str | None = None
    iteration: str | None = None
    domain: str | None = None
    category: str | None = None
    parent: str | None = None
    id: str | None = None
    search: str | None = None
    gap: str | None = None


def select_rows(pool: pl.DataFrame, wanted: Wanted, order: str) -> pl.DataFrame:
    """Return the wanted rows of `gathering.judged_pool`, in `order`. Raises SettingsError."""
    rows = pool
    for name in ("difficulty", "origin", "iteration", "domain", "category"):
        value = getattr(wanted, name)
        if value is not None:
            rows = rows.filter(pl.col(name) == value)
    for name in ("id", "parent"):
        value = getattr(wanted, name)
        if value is not None:
            rows = rows.filter(pl.col(name).str.starts_with(value))
    if wanted.gap is not None:
        low, high = bounds(wanted.gap)
        rows = rows.filter(pl.col("gap").is_between(low, high))
    if wanted.search is not None:
        sought = [
            pl.col(name).str.to_lowercase().str.contains(wanted.search.lower(), literal=True)
            for name in ("text", "answer", "response")
        ]
        rows = rows.filter(pl.any_horizontal(sought))
    return _ordered(rows, order)


def _ordered(rows: pl.DataFrame, order: str) -> pl.DataFrame:
    """Return the rows in one of ORDERS; those without a figure come last."""
    if order == "pool":
        return rows
    key = {"gap": pl.col("gap"), "length": pl.col("text").str.len_chars()}[order.removeprefix("-")]
    return rows.sort(key, descending=order.startswith("-"), nulls_last=True, maintain_order=True)


def bounds(text: str) -> tuple[float, float]:
    """Return the numbers of a range such as `3..`, `..2`, `1..3` or `3`. Raises SettingsError."""
    match = _RANGE.match(text)
    if match is None or not text:
        raise SettingsError(f"--gap {text}: a range is expected, as 3.. or ..2 or 1..3")
    low, dots, high = match.groups()
    if dots is None:
        return float(low), float(low)
    return float(low or "-inf"), float(high or "inf")


def as_row(row: Row) -> Row:
    """Return a row for a script, in the words of the command's own options."""
    renamed = {"text": "instruction", "answer": "teacher", "response": "student"}
    return {renamed.get(name, name): value for name, value in row.items()}


def rows_as_text(rows: pl.DataFrame, whole: bool) -> RenderableType:
    """Return rows for a terminal of any width."""
    return Group(*(part for row in rows.iter_rows(named=True) for part in _row(row, whole)))


def _row(row: Row, whole: bool) -> Iterator[RenderableType]:
    head = Text(row["id"], style="bold")
    head.append(f"  {row['origin']}, iteration {row['iteration']}", style="dim")
    about = row["domain"] or row["category"]
    if about:
        head.append(f", {inert(about)}", style="dim")
    if row["difficulty"] is not None:
        gap = DASH if row["gap"] is None else f"{row['gap']:g}"
        verdict = f"  {row['difficulty']} {gap}"
        head.append(verdict, style=_STYLES.get(row["difficulty"], ""))
        head.append(f" in iteration {row['judged']}", style="dim")
    yield head
    yield _indented(row["text"], whole, "")
    for name, text in (("teacher", row["answer"]), ("student", row["response"])):
        if text is not None:
            yield _indented(text, whole, f"{name}: ")
    yield Text()


def _indented(text: str, whole: bool, label: str) -> RenderableType:
    shown = Text(label, style="dim")
    shown.append(inert(text if whole else clipped(text, CLIP)), style="default")
    return Padding(shown, (0, 0, 0, 2), expand=False)
