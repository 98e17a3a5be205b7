"""The report page's cards of a student: progress, exams, cost. Pure but for the run that it reads.

A card is a title, a note, and a plot or a table; None where there is no figure to show.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from lion.config import project
from lion.escape import DASH
from lion.escape import line as one_line
from lion.metrics.exams import EvaluateMetrics, ExamAccuracy, ExamineMetrics
from lion.metrics.iterations import Line
from lion.records.rows import Row
from lion.reporting import plots
from lion.reporting import table as tables
from lion.reporting.page_run import Run

Card = dict[str, Any]


def card(title: str, note: str, **content: Any) -> Card:
    """Return a card; `content` is its plot or table, and `wide` where it takes a row."""
    return {"title": title, "note": note, **content}


def point(line: Line, value: float, interval: tuple[float, float] | None, **more: str) -> Row:
    """Return a plot's point: iteration, value, low, high. Without an interval it has no width."""
    low, high = interval or (value, value)
    return {"iteration": line.iteration, "value": value, "low": low, "high": high, **more}


def progress_cards(run: Run) -> Iterator[Card | None]:
    """Yield accuracy, quality, training loss, and the table of iterations."""
    yield _accuracy(run)
    yield _quality(run)
    yield _loss(run)
    columns, rows = tables.cells(run.lines)
    yield card(
        "The iterations",
        "hard: share of verdicts; kept: share of the generator's candidates",
        table={"columns": columns, "rows": rows},
        wide=True,
    )


def _accuracy(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        if line.teacher_accuracy_share is not None:
            values.append(point(line, line.teacher_accuracy_share, None, who="teacher"))
        if line.accuracy_share is not None:
            interval = line.accuracy_share_interval
            values.append(point(line, line.accuracy_share, interval, who="student"))
    if not values:
        return None
    note = "macro accuracy, with its interval"
    return card("Student against teacher on the exam", note, plot=plots.against_teacher(values))


def _quality(run: Run) -> Card | None:
    values = [
        point(line, line.quality_percent, line.quality_percent_interval)
        for line in run.lineage
        if line.quality_percent is not None
    ]
    if not values:
        return None
    spec = plots.by_iteration(values, "per cent", ".0f")
    return card("Quality", "the referee's scores of the student over the teacher's", plot=spec)


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
    note = f"faint: each point; strong: the mean of the {plots.SMOOTH} nearest"
    return card("Training loss", note, plot=plots.loss(values), wide=True)


def exam_cards(run: Run) -> Iterator[Card | None]:
    """Yield the categories of the run's own exam, then the tasks of each exam of the field."""
    values = [
        {"category": one_line(category, 40), "iteration": line.iteration, "accuracy": share}
        for line in run.lineage
        for category, share in _categories(run, line.iteration).items()
    ]
    if values:
        note = "the student's accuracy by category and iteration"
        yield card("Categories", note, plot=plots.scores(values))
    by_iteration = {line.iteration: _exams(run, line.iteration) for line in run.lineage}
    for name in dict.fromkeys(name for exams in by_iteration.values() for name in exams):
        yield _tasks(
            name, {key: exams[name] for key, exams in by_iteration.items() if name in exams}
        )


def _categories(run: Run, iteration: str) -> Mapping[str, float]:
    metrics = run.metrics(iteration, EvaluateMetrics)
    return {} if metrics is None else metrics.category_accuracy_share


def _exams(run: Run, iteration: str) -> Mapping[str, ExamAccuracy]:
    metrics = run.metrics(iteration, ExamineMetrics)
    return {} if metrics is None else metrics.exams


def _tasks(name: str, exams: Mapping[str, ExamAccuracy]) -> Card:
    """Return an exam's tasks: a column a student, then chance, then the models of the paper."""
    last = list(exams.values())[-1]
    models = last.paper_percent
    averages = (exam.average_percent for exam in exams.values())
    rows = [["average", *map(_decimal, averages), _decimal(last.chance_percent)]]
    rows[0] += [_decimal(average) for average in models.values()]
    for task, latest in last.tasks.items():
        results = (exam.tasks.get(task) for exam in exams.values())
        scores = (None if result is None else result.accuracy_percent for result in results)
        rows.append([one_line(task, 40), *map(_decimal, scores), _decimal(latest.chance_percent)])
        rows[-1] += [DASH] * len(models)  # the paper's table has averages alone
    columns = ["task", *(f"student {key}" for key in exams), "chance"]
    part = "a subset of its items, " if last.subset else ""
    note = f"accuracy in per cent, {part}beside what the paper reports of the whole exam"
    table = {"columns": [*columns, *(f"{model} (paper)" for model in models)], "rows": rows}
    return card(one_line(name, 40), note, table=table, wide=True)


def _decimal(number: float | None) -> str:
    return DASH if number is None else f"{number:.1f}"


def cost_cards(run: Run) -> Iterator[Card | None]:
    """Yield tokens by role, and what this machine did."""
    tokens: list[Row] = []
    for line in run.lineage:
        tokens += [
            {"row": line.iteration, "part": role, "amount": amount, "rank": rank}
            for rank, (role, amount) in enumerate(line.tokens_by_role.items())
        ]
    if any(row["amount"] for row in tokens):
        note = (
            "tokens of the replies used, prompt and completion, whoever paid for them; the ledger "
            "counts a reply once that several stages used"
        )
        yield card("Tokens by role", note, plot=plots.amounts(tokens, "tokens"))
    if any(line.calls is not None for line in run.lines):
        rows = [
            [
                line.iteration,
                tables.count(line.calls),
                tables.cost(line),
                tables.count(_whole(line.seconds)),
            ]
            for line in run.lines
        ]
        table = {"columns": ["iteration", "calls", "cost", "seconds"], "rows": rows}
        yield card("What this machine did", "calls made and paid here, and time", table=table)


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
