"""The report page's cards of pools and verdicts: hard share, gaps, funnel, drift."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

import polars as pl

from lion.config import project
from lion.escape import line as one_line
from lion.metrics.pools import GenerateMetrics
from lion.records.rows import Row
from lion.reporting import plots, pool_frames
from lion.reporting.page_run import Run
from lion.reporting.page_student import Card, card, point

OTHERS = "others"
_BANDS = ("0 or less", "to 1", "to 3", "to 6", "above 6")  # of gaps, by their upper edge
_EDGES = (0.0, 1.0, 3.0, 6.0)
_NAME = 40  # characters
_PARTS = 10  # domains that are told apart; the rest are one


def difficulty(run: Run) -> Iterator[Card | None]:
    """Yield hard share and gaps."""
    hard = [
        point(line, line.hard_share, None) for line in run.lineage if line.hard_share is not None
    ]
    if hard:
        note = "share of the verdicts whose gap reaches tau"
        yield card("Hard share", note, plot=plots.by_iteration(hard, "share", ".0%"))
    yield _gaps(run)


def _gaps(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        path = run.tree.local(project.data(line.iteration, "verdicts.jsonl"))
        if path is None:
            continue
        gaps = pool_frames.verdicts_frame(path).get_column("gap").drop_nulls()
        if gaps.is_empty():  # the base has no verdicts
            continue
        counts = Counter(bisect_left(_EDGES, gap) for gap in gaps)
        values += [
            {"iteration": line.iteration, "part": band, "rows": counts[rank], "rank": rank}
            for rank, band in enumerate(_BANDS)
        ]
    if not values:
        return None
    note = "teacher's score less the student's, both orders averaged"
    return card("Gaps", note, plot=plots.shares(values, _BANDS, graded=True))


def pools(run: Run) -> Iterator[Card | None]:
    """Yield the funnel of generation, and the drift of what the rows are about."""
    yield _funnel(run)
    yield _drift(run)


def _funnel(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        metrics = run.metrics(line.iteration, GenerateMetrics)
        for kind, funnel in () if metrics is None else metrics.funnels.items():
            parts = {"kept": funnel.kept, **funnel.dropped}
            values += [
                {"row": f"{line.iteration} {kind}", "part": part, "amount": count, "rank": rank}
                for rank, (part, count) in enumerate(parts.items())
                if count
            ]
    if not values:
        return None
    note = "what became of each candidate: kept, or dropped and why"
    return card("Generation", note, plot=plots.amounts(values, "candidates"))


def _drift(run: Run) -> Card | None:
    """Return what the new rows of each iteration are about."""
    rows = run.rows.drop_nulls("about")
    if rows.is_empty():
        return None
    counted = rows.get_column("about").value_counts(sort=True)
    largest = counted.get_column("about").head(_PARTS).to_list()
    order = [one_line(name, _NAME) for name in largest]
    order += [OTHERS] if counted.height > _PARTS else []
    part = pl.when(pl.col("about").is_in(largest)).then("about").otherwise(pl.lit(OTHERS))
    counts: Counter[tuple[str, str]] = Counter()
    grouped = rows.with_columns(part=part).group_by("iteration", "part").len()
    for iteration, name, count in grouped.iter_rows():
        counts[iteration, one_line(name, _NAME)] += count
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
    about = "domains" if run.has_domains else "categories of the seeds"
    note = f"{about} of the rows that each iteration brought"
    return card("Drift of the pool", note, plot=plots.shares(values, order))
