"""What the report page says of a run: key figures, plots, small tables. Reads, never judges.

A figure that is not known is a dash; a plot without a figure is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lion import frames, plots, project, revisions, summary, tables
from lion.records import KINDS, Row
from lion.revisions import Tree
from lion.summary import Line
from lion.tables import DASH
from lion.visible import line as one_line

Card = dict[str, Any]
OTHERS = "others"
_ABOUT = {"domain": "Domain", "category": "Category"}
_BANDS = ("0 or less", "to 1", "to 3", "to 6", "above 6")  # of gaps, by their upper edge
_EDGES = (0.0, 1.0, 3.0, 6.0)
_PARTS = 10  # domains that are told apart; the rest are one
_ROLES = {"teach": "teacher", "review": "referee", "generate": "generator", "evaluate": "referee"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run as far as `iteration`: its lines, those that lead there, and its Cache Pool.

    `rows` are as `gathering.judged` has them, with a column `about` (see `described`).
    """

    tree: Tree
    iteration: str
    lines: Sequence[Line]
    lineage: Sequence[Line]
    rows: pl.DataFrame

    def metrics(self, line: Line, stage: str) -> Row:
        """Return a stage's metrics of a line; empty where there are none."""
        return revisions.document(self.tree, project.metrics(line.iteration, stage))


def run(tree: Tree, iteration: str, rows: pl.DataFrame) -> Run:
    """Return the run that led to `iteration`. Raises DataError."""
    found = revisions.iterations(tree)
    chain = revisions.lineage(found, iteration)
    previous = {name: before for name, before in found.items() if before is not None}
    lines = summary.lines(previous, lambda path: revisions.document(tree, path))
    lineage = [line for line in lines if line.iteration in chain]
    return Run(tree, iteration, lines, lineage, described(rows))


def described(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with a column `about`: the domain, or else the category of the row's seed.

    A pool has parents before their children, so one pass finds every seed.
    """
    if rows.get_column("domain").is_not_null().any():
        return rows.with_columns(pl.col("domain").alias("about"))
    found: dict[str, str | None] = {}
    for identity, parent, category in rows.select("id", "parent", "category").iter_rows():
        found[identity] = category if category is not None else found.get(parent)
    return rows.with_columns(pl.Series("about", list(found.values()), dtype=pl.String))


def overview(run: Run) -> Row:
    """Return the page's summary of a run."""
    about = _ABOUT["domain" if run.rows.get_column("domain").is_not_null().any() else "category"]
    sections = {
        "Progress": _progress(run),
        "Hard and easy": _difficulty(run),
        "Pools": _pools(run, about),
        "Exam": _exam(run),
        "Cost": _cost(run),
    }
    cards = {title: [card for card in made if card] for title, made in sections.items()}
    return {
        "title": f"Lion: student {run.iteration}",
        "headline": tables.headline(run.lines).plain.replace("\n", " "),
        "tiles": list(_tiles(run)),
        "sections": [
            {"id": title.split()[0].lower(), "title": title, "cards": made}
            for title, made in cards.items()
            if made
        ],
        "about": about,
        "told": (
            f"The Cache Pool of iteration {run.iteration}: each row with its latest verdict, and "
            "the student's answer that it judged. Texts are cut at 400 characters."
        ),
    }


def _tiles(run: Run) -> Iterator[Row]:
    last = run.lineage[-1]
    accuracy = f"teacher {_percent(last.teacher_accuracy)}"
    yield _tile("Student's accuracy", _percent(last.accuracy), accuracy)
    quality = DASH if last.quality is None else f"{last.quality:.1f} %"
    yield _tile("Quality", quality, "of the teacher's scores")
    yield _tile("Instructions", f"{run.rows.height:,}", f"{_count(last.train_pool)} of them new")
    gap = DASH if last.mean_gap is None else f"mean gap {last.mean_gap:.2f}"
    yield _tile("Hard", _percent(last.hard_share), gap)
    tokens = [line.tokens for line in run.lines if line.tokens is not None]
    yield _tile("Tokens", _short(sum(tokens)) if tokens else DASH, "asked of all three roles")
    yield _tile("Spent", tables.spent(run.lines), "by this machine")


def _tile(label: str, value: str, note: str) -> Row:
    return {"label": label, "value": value, "note": note}


def _card(title: str, note: str, **content: Any) -> Card:
    return {"title": title, "note": note, **content}


def _progress(run: Run) -> Iterator[Card | None]:
    yield _accuracy(run)
    yield _quality(run)
    yield _loss(run)
    columns, rows = tables.cells(run.lines)
    yield _card(
        "The iterations",
        "hard: share of verdicts; kept: share of the generator's candidates",
        table={"columns": columns, "rows": rows},
        wide=True,
    )


def _accuracy(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        if line.teacher_accuracy is not None:
            values.append(_point(line, line.teacher_accuracy, None, who="teacher"))
        if line.accuracy is not None:
            values.append(_point(line, line.accuracy, line.accuracy_interval, who="student"))
    if not values:
        return None
    note = "macro accuracy, with its interval"
    return _card("Student against teacher on the exam", note, plot=plots.against_teacher(values))


def _quality(run: Run) -> Card | None:
    values = [
        _point(line, line.quality, line.quality_interval)
        for line in run.lineage
        if line.quality is not None
    ]
    if not values:
        return None
    spec = plots.by_iteration(values, "per cent", ".0f")
    return _card("Quality", "the referee's scores of the student over the teacher's", plot=spec)


def _point(line: Line, value: float, interval: tuple[float, float] | None, **more: str) -> Row:
    low, high = interval or (value, value)
    return {"iteration": line.iteration, "value": value, "low": low, "high": high, **more}


def _loss(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        path = run.tree.local(project.metrics(line.iteration, "tune", "csv"))
        if path is not None:
            curve = pl.read_csv(path, schema_overrides={"step": pl.Int64, "loss": pl.Float64})
            values += [
                {"iteration": line.iteration, "step": step, "loss": loss}
                for step, loss in curve.select("step", "loss").iter_rows()
            ]
    if not values:
        return None
    return _card("Training loss", "by optimiser step", plot=plots.loss(values), wide=True)


def _difficulty(run: Run) -> Iterator[Card | None]:
    hard = [
        _point(line, line.hard_share, None) for line in run.lineage if line.hard_share is not None
    ]
    if hard:
        note = "share of the verdicts whose gap reaches tau"
        yield _card("Hard share", note, plot=plots.by_iteration(hard, "share", ".0%"))
    yield _gaps(run)
    yield _calibration(run)


def _gaps(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        path = run.tree.local(project.data(line.iteration, "verdicts.jsonl"))
        if path is None:
            continue
        gaps = frames.verdicts(path).get_column("gap").drop_nulls()
        counts = dict(gaps.cut(_EDGES, labels=_BANDS).value_counts().iter_rows())
        values += [
            {"iteration": line.iteration, "part": band, "rows": counts.get(band, 0), "rank": rank}
            for rank, band in enumerate(_BANDS)
        ]
    if not values:
        return None
    note = "teacher's score less the student's, both orders averaged"
    return _card("Gaps", note, plot=plots.shares(values, _BANDS, graded=True))


def _calibration(run: Run) -> Card | None:
    """Return the referee's calibration, where metrics have it: any figures, by iteration."""
    found = {line.iteration: run.metrics(line, "review").get("calibration") for line in run.lineage}
    known = {name: figures for name, figures in found.items() if isinstance(figures, dict)}
    names = dict.fromkeys(
        name
        for figures in known.values()
        for name, value in figures.items()
        if isinstance(value, int | float)
    )
    if not names:
        return None
    rows = [
        [name.replace("_", " "), *(_figure(figures.get(name)) for figures in known.values())]
        for name in names
    ]
    table = {"columns": ["iteration", *known], "rows": rows}
    return _card("Calibration of the referee", "by iteration", table=table, wide=True)


def _pools(run: Run, about: str) -> Iterator[Card | None]:
    yield _funnel(run)
    yield _drift(run, about)


def _funnel(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        document = run.metrics(line, "generate")
        for kind in KINDS:
            funnel: Mapping[str, int] = document.get(kind) or {}
            parts = {"kept": funnel.get("kept", 0), **funnel}
            parts.pop("asked", None)
            values += [
                {"row": f"{line.iteration} {kind}", "part": part, "amount": count, "rank": rank}
                for rank, (part, count) in enumerate(parts.items())
                if count
            ]
    if not values:
        return None
    note = "what became of each candidate: kept, or dropped and why"
    return _card("Generation", note, plot=plots.amounts(values, "candidates"))


def _drift(run: Run, about: str) -> Card | None:
    """Return what the new rows of each iteration are about."""
    known = run.rows.drop_nulls("about")
    if known.is_empty():
        return None
    counted = known.get_column("about").value_counts(sort=True)
    largest = counted.get_column("about").head(_PARTS).to_list()
    order = [one_line(name, 40) for name in largest]
    order += [OTHERS] if counted.height > _PARTS else []
    part = pl.when(pl.col("about").is_in(largest)).then("about").otherwise(pl.lit(OTHERS))
    counts = {
        (iteration, one_line(name, 40)): count
        for iteration, name, count in known.with_columns(part=part)
        .group_by("iteration", "part")
        .len()
        .iter_rows()
    }
    values = [
        {"iteration": line.iteration, "part": name, "rows": counts.get((line.iteration, name), 0)}
        | {"rank": rank}
        for line in run.lineage
        for rank, name in enumerate(order)
    ]
    seeds = " of the seed" if about == _ABOUT["category"] else ""
    note = f"{about.lower()}{seeds}, of the rows that each iteration brought"
    return _card("Drift of the pool", note, plot=plots.shares(values, order))


def _exam(run: Run) -> Iterator[Card | None]:
    documents = {line.iteration: run.metrics(line, "evaluate") for line in run.lineage}
    published: Mapping[str, float] = next(
        (one["paper"] for one in documents.values() if isinstance(one.get("paper"), dict)), {}
    )
    values = [
        {"category": one_line(category, 40), "iteration": name, "accuracy": accuracy}
        for name, figures in [
            *((name, one.get("categories") or {}) for name, one in documents.items()),
            ("paper", published),
        ]
        for category, accuracy in figures.items()
        if accuracy is not None
    ]
    if values:
        note = "the student's accuracy by category and iteration"
        yield _card("Categories", note, plot=plots.scores(values))


def _cost(run: Run) -> Iterator[Card | None]:
    tokens: list[Row] = []
    for line in run.lineage:
        totals: dict[str, int] = {}
        for stage, role in _ROLES.items():
            used = run.metrics(line, stage).get(role) or {}
            totals[role] = totals.get(role, 0) + _tokens(used)
        tokens += [
            {"row": line.iteration, "part": role, "amount": amount, "rank": rank}
            for rank, (role, amount) in enumerate(totals.items())
        ]
    if any(one["amount"] for one in tokens):
        note = "tokens of the replies used, prompt and completion, whoever paid for them"
        yield _card("Tokens by role", note, plot=plots.amounts(tokens, "tokens"))
    if any(line.calls is not None for line in run.lines):
        rows = [
            [line.iteration, _count(line.calls), tables.cost(line), _count(_whole(line.seconds))]
            for line in run.lines
        ]
        table = {"columns": ["iteration", "calls", "cost", "seconds"], "rows": rows}
        yield _card("What this machine did", "calls made and paid here, and time", table=table)


def _tokens(used: Row) -> int:
    return int(used.get("prompt_tokens", 0)) + int(used.get("completion_tokens", 0))


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"


def _count(number: int | None) -> str:
    return DASH if number is None else f"{number:,}"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:,.3g}"


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1_000_000 else f"{number:,}"
