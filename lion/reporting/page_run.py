"""A run as far as one iteration, for pages: its lines, its metrics, its Cache Pool. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lion.config import project
from lion.metrics import iterations
from lion.metrics.files import M
from lion.metrics.iterations import Line
from lion.pipeline import revisions
from lion.pipeline.revisions import Tree


@dataclass(frozen=True, slots=True)
class Run:
    """A run as far as `iteration`: its lines, those that lead there, and its Cache Pool.

    `rows` are as `gathering.judged_pool` has them, with a column `about` (see `described`).
    """

    tree: Tree
    iteration: str
    lines: Sequence[Line]
    lineage: Sequence[Line]
    rows: pl.DataFrame

    @property
    def has_domains(self) -> bool:
        """Whether rows say what they are about; else their seeds' categories stand for it."""
        return bool(self.rows.get_column("domain").is_not_null().any())

    def metrics(self, iteration: str, kind: type[M]) -> M | None:
        """Return metrics of an iteration; None where there are none."""
        return revisions.document(self.tree, project.metrics(iteration, kind.FILE), kind)


def read_run(tree: Tree, iteration: str, rows: pl.DataFrame) -> Run:
    """Return the run that led to `iteration`. Raises DataError."""
    predecessors = revisions.iterations(tree)
    chain = revisions.lineage(predecessors, iteration)
    previous = {name: before for name, before in predecessors.items() if before is not None}
    lines = iterations.lines(previous, lambda path, kind: revisions.document(tree, path, kind))
    lineage = [line for line in lines if line.iteration in chain]
    return Run(tree, iteration, lines, lineage, described(rows))


def described(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with a column `about`: the domain, or else the category of the row's seed.

    A pool has parents before their children, so one pass finds every seed.
    """
    if rows.get_column("domain").is_not_null().any():
        return rows.with_columns(pl.col("domain").alias("about"))
    about: dict[str, str | None] = {}
    for identity, parent, category in rows.select("id", "parent", "category").iter_rows():
        about[identity] = category if category is not None else about.get(parent)
    return rows.with_columns(pl.Series("about", list(about.values()), dtype=pl.String))
