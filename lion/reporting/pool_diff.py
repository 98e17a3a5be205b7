"""The comparison of two pools: rows are joined by id, never by position. Pure.

A figure that neither side has is None. Verdicts are compared for rows that both sides judged; a row
that only one side judged does not count as moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lion.metrics.certificates import CertifiedMetrics
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.pools import GenerateMetrics

GROUPS = ("origin", "iteration", "domain", "category")
HARD, EASY = "hard", "easy"
_BINS = 12
_PARENTS = 10
_SIDES = ("", "_right")  # ends of the columns of a join


@dataclass(frozen=True, slots=True)
class Side:
    """One pool with the verdicts, responses and metrics of its iteration; None where missing."""

    name: str
    rows: pl.DataFrame
    verdicts: pl.DataFrame | None = None
    responses: pl.DataFrame | None = None
    generated: GenerateMetrics | None = None
    exam: EvaluateMetrics | None = None
    certified: CertifiedMetrics | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one origin, iteration, domain or category."""

    by: str
    name: str | None
    before: int
    after: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Parent:
    """An instruction from which rows were generated, and the count of those added."""

    id: str
    text: str | None
    added: int


@dataclass(frozen=True, slots=True)
class Moves:
    """Verdicts of rows that both sides judged. `gap_change` is the mean of gap after - before.

    `nats_change` is the same of the nats per token, where the likelihood judged both sides.
    """

    judged_by_both: int
    hard_to_easy: int
    easy_to_hard: int
    stayed_hard: int
    stayed_easy: int
    undecided: int
    gap_change: float | None
    nats_change: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """One side of a distribution; `shares` are of `_BINS` equal bins over both sides' range."""

    count: int
    mean: float
    p10: float
    median: float
    p90: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A quantity's spread on both sides, over one common range."""

    name: str
    low: float
    high: float
    before: Spread | None
    after: Spread | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A row to show; `before` and `after` are the gaps, nats or answers that changed."""

    kind: str
    id: str
    text: str
    before: str | float | None
    after: str | float | None
    unit: str = "gap"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows two pools share, the rows they do not, and how figures changed."""

    before: str
    after: str
    rows: tuple[int, int]
    added: int
    removed: int
    kept: int
    groups: tuple[Group, ...]
    parents: tuple[Parent, ...]
    moves: Moves | None
    answers_changed: int
    responses_compared: int
    responses_changed: int
    distributions: tuple[Distribution, ...]
    funnel: tuple[GenerateMetrics | None, GenerateMetrics | None]
    exam: tuple[EvaluateMetrics | None, EvaluateMetrics | None]
    certified: tuple[CertifiedMetrics | None, CertifiedMetrics | None]
    samples: tuple[Sample, ...]

    @property
    def differs(self) -> bool:
        """Whether a row, a teacher's answer or a verdict differs."""
        moved = self.moves.hard_to_easy + self.moves.easy_to_hard if self.moves else 0
        return bool(self.added or self.removed or self.answers_changed or moved)


def compare(before: Side, after: Side, samples: int) -> Comparison:
    """Compare two sides, with up to `samples` rows of each kind, in the pools' order."""
    added = after.rows.join(before.rows, on="id", how="anti", maintain_order="left")
    removed = before.rows.join(after.rows, on="id", how="anti", maintain_order="left")
    kept = before.rows.join(
        after.rows.select("id", "answer"), on="id", how="inner", maintain_order="left"
    )
    changed = kept.filter(pl.col("answer").ne_missing(pl.col("answer_right")))
    judged = _judged(before, after)
    responses = _responses(before, after)
    return Comparison(
        before=before.name,
        after=after.name,
        rows=(before.rows.height, after.rows.height),
        added=added.height,
        removed=removed.height,
        kept=kept.height,
        groups=tuple(_groups(before.rows, after.rows, added, removed)),
        parents=_parents(added, pl.concat([before.rows, after.rows])),
        moves=None if judged is None else _moves(judged),
        answers_changed=changed.height,
        responses_compared=responses.height,
        responses_changed=responses.filter(pl.col("text") != pl.col("text_right")).height,
        distributions=_distributions(before, after),
        funnel=(before.generated, after.generated),
        exam=(before.exam, after.exam),
        certified=(before.certified, after.certified),
        samples=(
            *_samples("added", added, "origin", "parent", samples),
            *_samples("removed", removed, "origin", "parent", samples),
            *_samples("answer changed", changed, "answer", "answer_right", samples),
            *_moved(judged, samples),
        ),
    )


def _groups(
    before: pl.DataFrame, after: pl.DataFrame, added: pl.DataFrame, removed: pl.DataFrame
) -> list[Group]:
    """Return the row counts by each field of GROUPS, most rows first."""
    parts = {"before": before, "after": after, "added": added, "removed": removed}
    groups = []
    for by in GROUPS:
        counts = {
            name: dict(part.get_column(by).value_counts().iter_rows())
            for name, part in parts.items()
        }
        names = counts["before"] | counts["after"]
        if names.keys() <= {None}:
            continue
        rows = [
            Group(by, name, **{part: counts[part].get(name, 0) for part in parts}) for name in names
        ]
        groups += sorted(rows, key=lambda group: (-group.after, -group.before, str(group.name)))
    return groups


def _parents(added: pl.DataFrame, rows: pl.DataFrame) -> tuple[Parent, ...]:
    counted = (
        added.drop_nulls("parent")
        .group_by("parent")
        .len("added")
        .sort(["added", "parent"], descending=[True, False])
        .head(_PARENTS)
    )
    texts = rows.select(parent="id", text="text").unique("parent", keep="first")
    parents = counted.join(texts, on="parent", how="left", maintain_order="left")
    return tuple(Parent(id, text, count) for id, count, text in parents.iter_rows())


def _judged(before: Side, after: Side) -> pl.DataFrame | None:
    """Return the verdicts of rows that both sides judged, with their texts."""
    if before.verdicts is None or after.verdicts is None:
        return None
    texts = pl.concat([before.rows, after.rows]).select("id", "text").unique("id", keep="first")
    return before.verdicts.join(after.verdicts, on="id", how="inner", maintain_order="left").join(
        texts, on="id", how="left", maintain_order="left"
    )


def _moves(judged: pl.DataFrame) -> Moves:
    counts = dict.fromkeys([(a, b) for a in (HARD, EASY) for b in (HARD, EASY)], 0)
    for before, after, count in judged.group_by("difficulty", "difficulty_right").len().iter_rows():
        if (before, after) in counts:
            counts[before, after] = count
    changes = judged.select(
        (pl.col(f"{name}_right") - pl.col(name)).mean() for name in ("gap", "nats")
    )
    change, nats = changes.row(0)
    return Moves(
        judged_by_both=judged.height,
        hard_to_easy=counts[HARD, EASY],
        easy_to_hard=counts[EASY, HARD],
        stayed_hard=counts[HARD, HARD],
        stayed_easy=counts[EASY, EASY],
        undecided=judged.height - sum(counts.values()),
        gap_change=change,
        nats_change=nats,
    )


def _responses(before: Side, after: Side) -> pl.DataFrame:
    """Return the responses to instructions that both sides' students answered."""
    empty = pl.DataFrame(schema={"id": pl.String, "text": pl.String, "text_right": pl.String})
    if before.responses is None or after.responses is None:
        return empty
    return before.responses.join(after.responses, on="id", how="inner")


def _distributions(before: Side, after: Side) -> tuple[Distribution, ...]:
    of_rows = {
        "characters of an instruction": pl.col("text").str.len_chars(),
        "characters of an answer": pl.col("answer").str.len_chars(),
        "nearest (ROUGE-L F)": pl.col("nearest"),
    }
    of_verdicts = {
        "teacher's score": pl.col("teacher_mean"),
        "student's score": pl.col("student_mean"),
        "gap": pl.col("gap"),
        "nats per token": pl.col("nats"),
    }
    first, second = (
        {**_selected(side.rows, of_rows), **_selected(side.verdicts, of_verdicts)}
        for side in (before, after)
    )
    distributions = (_distribution(name, first[name], second[name]) for name in first)
    return tuple(distribution for distribution in distributions if distribution is not None)


def _selected(
    frame: pl.DataFrame | None, expressions: Mapping[str, pl.Expr]
) -> dict[str, pl.Series]:
    """Return the non-null figures of each expression, in one query, which polars parallelises."""
    if frame is None:
        return {name: pl.Series(name, [], dtype=pl.Float64) for name in expressions}
    figures = frame.select(
        expression.cast(pl.Float64).alias(name) for name, expression in expressions.items()
    )
    return {name: figures.get_column(name).drop_nulls() for name in expressions}


def _distribution(name: str, before: pl.Series, after: pl.Series) -> Distribution | None:
    """Return both spreads, binned over their common range; None without any figure."""
    sides = (before, after)
    both = pl.concat(sides)
    if both.is_empty():
        return None
    low, high = _float(both.min()), _float(both.max())
    spreads = [None if side.is_empty() else _spread(side, low, high) for side in sides]
    return Distribution(name, low, high, spreads[0], spreads[1])


def _spread(values: pl.Series, low: float, high: float) -> Spread:
    width = (high - low) / _BINS or 1.0
    bins = ((values - low) / width).floor().clip(0, _BINS - 1).cast(pl.Int64)
    counts: Mapping[int, int] = dict(bins.value_counts().iter_rows())
    return Spread(
        count=values.len(),
        mean=_float(values.mean()),
        p10=_float(values.quantile(0.1)),
        median=_float(values.median()),
        p90=_float(values.quantile(0.9)),
        shares=tuple(counts.get(number, 0) / values.len() for number in range(_BINS)),
    )


def _float(value: Any) -> float:
    return float(value)


def _samples(kind: str, rows: pl.DataFrame, before: str, after: str, limit: int) -> list[Sample]:
    values = (pl.col(before).alias("before"), pl.col(after).alias("after"))
    picked = rows.head(limit).select("id", "text", *values)
    return [Sample(kind, *row) for row in picked.iter_rows()]


def _moved(judged: pl.DataFrame | None, limit: int) -> list[Sample]:
    """Return the rows whose gap, or nats per token, changed most, in each direction."""
    if judged is None:
        return []
    measures = {f"measure{side}": pl.coalesce(f"gap{side}", f"nats{side}") for side in _SIDES}
    judged = judged.with_columns(**measures)
    samples: list[Sample] = []
    for before, after in ((EASY, HARD), (HARD, EASY)):
        rows = judged.filter(
            (pl.col("difficulty") == before) & (pl.col("difficulty_right") == after)
        ).sort(
            (pl.col("measure_right") - pl.col("measure")).abs(),
            descending=True,
            maintain_order=True,
        )
        samples += _samples(f"{before} to {after}", rows, "measure", "measure_right", limit)
    unit = "gap" if judged.get_column("gap").count() else "nats per token"
    return [replace(sample, unit=unit) for sample in samples]
