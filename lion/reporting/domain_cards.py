"""The report page's cards of what the pool is about: by iteration, and among what is hard."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from lion.escape import line as one_line
from lion.reporting import plots
from lion.reporting.page_cards import Card, card
from lion.reporting.snapshot import Run

_OTHERS = "others"
_PARTS = 14  # domains shown by name; the rest are summed
_NAME = 40  # characters


def domain_cards(run: Run) -> Iterator[Card | None]:
    """Yield the domains of each iteration's rows, and those of the pool against the hard ones."""
    rows = _named(run)
    if rows.is_empty():
        return
    largest = rows.get_column("part").value_counts(sort=True).get_column("part").to_list()
    shown = largest[:_PARTS]
    rows = rows.with_columns(
        part=pl.when(pl.col("part").is_in(shown)).then("part").otherwise(pl.lit(_OTHERS))
    )
    order = [*shown, *([_OTHERS] if len(largest) > _PARTS else [])]
    about = "domains" if run.has_domains else "categories of the seeds"
    yield _by_iteration(run, rows, order, about)
    yield _among_hard(rows, order, about)


def _named(run: Run) -> pl.DataFrame:
    """Return the rows that are about something, with its name as `part`."""
    rows = run.rows.drop_nulls("about")
    names = {name: one_line(name, _NAME) for name in rows.get_column("about").unique()}
    return rows.with_columns(part=pl.col("about").replace_strict(names, return_dtype=pl.String))


def _by_iteration(run: Run, rows: pl.DataFrame, order: list[str], about: str) -> Card:
    counts: Counter[tuple[str, str]] = Counter()
    for iteration, name, count in rows.group_by("iteration", "part").len().iter_rows():
        counts[iteration, name] += count
    values = [
        {
            "iteration": line.iteration,
            "part": name,
            "rows": counts[line.iteration, name],
            "rank": rank,
        }
        for line in run.lineage
        for rank, name in enumerate(order)
    ]
    note = f"{about} of the rows that each iteration brought"
    return card("Drift of the pool", note, plot=plots.shares(values, order, "of the new rows"))


def _among_hard(rows: pl.DataFrame, order: list[str], about: str) -> Card | None:
    """Return each domain's share of the pool beside its share of what is hard (the paper's)."""
    hard = rows.filter(pl.col("difficulty") == "hard")
    if hard.is_empty():
        return None
    values = [
        {"domain": name, "of": of, "share": counted.get(name, 0) / frame.height}
        for of, frame in (("pool", rows), ("hard rows", hard))
        for counted in [dict(frame.get_column("part").value_counts().iter_rows())]
        for name in order
    ]
    note = f"{about}: share of the Cache Pool, and of the rows whose latest verdict is hard"
    return card("What is hard", note, plot=plots.paired_shares(values, order))
