"""The report page's cards, by section: a title, a note, and a plot or a table.

A section yields None for a card that has nothing to show. Metrics are read, never computed here.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from lion.config import project
from lion.escape import DASH
from lion.escape import line as one_line
from lion.iterations import IterationMetrics
from lion.metrics.exams import EvaluateMetrics, ExamAccuracy, ExamineMetrics
from lion.metrics.judging import AgreementMetrics, CalibrateMetrics, CalibrationMetrics
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import EstimateMetrics
from lion.records.rows import Row
from lion.reporting import column_words, numbers, paper_figures, plots, snapshot
from lion.reporting import table as tables
from lion.reporting.snapshot import Run

Card = dict[str, Any]
Figures = Mapping[str, str | None]  # by label, as text

_BANDS = ("0 or less", "to 1", "to 3", "to 6", "above 6")  # of gaps, by their upper edge
_EDGES = (0.0, 1.0, 3.0, 6.0)
_QUALITY_NOTE = "the referee's points for the student, in per cent of those for its teacher"
_NAME = 40  # characters


def card(title: str, note: str, **content: Any) -> Card:
    """Return a card; `content` is a plot or a table, `wide` makes it span the page."""
    return {"title": title, "note": note, **content}


def point(
    line: IterationMetrics, value: float, interval: tuple[float, float] | None, **more: str
) -> Row:
    """Return a point of a plot; without an interval, low and high equal the value."""
    low, high = interval or (value, value)
    return {"iteration": line.iteration, "value": value, "low": low, "high": high, **more}


def progress_cards(run: Run) -> Iterator[Card | None]:
    """Yield accuracy, quality, training loss, and the table of iterations."""
    yield _accuracy(run)
    yield _quality(run)
    yield _loss(run)
    columns, rows = column_words.page_cells(run.lines)
    yield card(
        "The iterations",
        column_words.page_note(run.lines),
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
    note = "right answers, each category counting the same; upright lines are intervals"
    return card("Student against teacher on the exam", note, plot=plots.against_teacher(values))


def _quality(run: Run) -> Card | None:
    values = [
        point(line, line.quality_percent, line.quality_percent_interval)
        for line in run.lineage
        if line.quality_percent is not None
    ]
    if not values:
        return None
    spec = plots.by_iteration(values, "of the teacher's points", plots.PERCENT)
    return card("Quality", _QUALITY_NOTE, plot=spec)


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
    """Yield the categories of the run's own exam, then the tasks of each standard exam."""
    values = [
        {"category": one_line(category, 40), "iteration": line.iteration, "accuracy": share}
        for line in run.lineage
        for category, share in _categories(run, line.iteration).items()
    ]
    if values:
        note = "the student's accuracy by category and iteration"
        yield card("Categories", note, plot=plots.scores(values))
    yield from _confusions(run)
    by_iteration = {line.iteration: _exams(run, line.iteration) for line in run.lineage}
    for name in dict.fromkeys(name for exams in by_iteration.values() for name in exams):
        yield _tasks(
            name, {key: exams[name] for key, exams in by_iteration.items() if name in exams}
        )


def _confusions(run: Run) -> Iterator[Card]:
    """Yield the confusion matrix of each label of the last student with JSON answers."""
    examined = [
        (line.iteration, run.metrics(line.iteration, EvaluateMetrics)) for line in run.lineage
    ]
    fields = {name: found.fields for name, found in examined if found is not None and found.fields}
    for name, last in list(fields.items())[-1:]:
        for field, accuracy in last.by_name.items():
            if accuracy.confusion_rows:
                title = one_line(f"Confusion of {field}, student {name}", 80)
                note = "exam rows by the expected label and the student's"
                yield card(title, note, plot=_confusion(accuracy.confusion_rows))


def _confusion(counts: Mapping[str, Mapping[str, int]]) -> plots.Spec:
    """Return the matrix, without columns of rare kinds that no answer is of."""
    short = {label: one_line(label, _NAME) for row in counts.values() for label in row}
    given = [
        label for label in short if label in counts or any(row[label] for row in counts.values())
    ]
    values: list[Row] = [
        {
            "expected": one_line(right, _NAME),
            "given": short[label],
            "rows": row[label],
            "share": row[label] / max(1, sum(row.values())),
        }
        for right, row in counts.items()
        for label in given
    ]
    return plots.confusion(
        values, [one_line(right, _NAME) for right in counts], [short[label] for label in given]
    )


def _categories(run: Run, iteration: str) -> Mapping[str, float]:
    metrics = run.metrics(iteration, EvaluateMetrics)
    return {} if metrics is None else metrics.category_accuracy_share


def _exams(run: Run, iteration: str) -> Mapping[str, ExamAccuracy]:
    metrics = run.metrics(iteration, ExamineMetrics)
    return {} if metrics is None else metrics.exams


def _tasks(name: str, exams: Mapping[str, ExamAccuracy]) -> Card:
    """Return an exam's tasks: one column per student, then chance, then the paper's models."""
    last = list(exams.values())[-1]
    models = last.paper_percent
    averages = (exam.average_percent for exam in exams.values())
    rows = [["average", *map(numbers.decimal, averages), numbers.decimal(last.chance_percent)]]
    rows[0] += [numbers.decimal(average) for average in models.values()]
    for task, latest in last.tasks.items():
        results = (exam.tasks.get(task) for exam in exams.values())
        scores = (None if result is None else result.accuracy_percent for result in results)
        rows.append(
            [
                one_line(task, 40),
                *map(numbers.decimal, scores),
                numbers.decimal(latest.chance_percent),
            ]
        )
        reported = paper_figures.of_task(name, task)
        rows[-1] += [numbers.decimal(reported.get(model)) for model in models]
    columns = ["task", *(f"student {key}" for key in exams), "chance"]
    part = "a subset of its items, " if last.subset else ""
    note = f"accuracy in per cent, {part}beside what the paper reports of the whole exam"
    table = {"columns": [*columns, *(f"{model} (paper)" for model in models)], "rows": rows}
    return card(one_line(name, _NAME), note, table=table, wide=True)


def cost_cards(run: Run) -> Iterator[Card | None]:
    """Yield tokens by role, and the calls, cost and time of this machine."""
    tokens: list[Row] = []
    for line in run.lineage:
        tokens += [
            {"row": line.iteration, "part": role, "amount": amount, "rank": rank}
            for rank, (role, amount) in enumerate(line.tokens_by_role.items())
        ]
    if any(row["amount"] for row in tokens):
        parts = {row["part"] for row in tokens}
        roles = {role: colour for role, colour in plots.OF_ROLES.items() if role in parts}
        note = (
            "tokens of the replies used, prompt and completion, whoever paid for them; the ledger "
            "counts a reply once that several stages used"
        )
        yield card("Tokens by role", note, plot=plots.amounts(tokens, "tokens", roles))
    if any(line.calls is not None for line in run.lines):
        rows = [
            [
                line.iteration,
                numbers.count(line.calls),
                tables.cost(line),
                numbers.count(line.seconds),
            ]
            for line in run.lines
        ]
        table = {"columns": ["iteration", "calls", "cost", "seconds"], "rows": rows}
        yield card("What this machine did", "calls made and paid here, and time", table=table)


def difficulty_cards(run: Run) -> Iterator[Card | None]:
    """Yield the hard share and the distribution of gaps."""
    hard = [
        point(line, line.hard_share, None) for line in run.lineage if line.hard_share is not None
    ]
    if hard:
        note = "of the verdicts on the previous student: gaps that reach tau, or the least likely"
        yield card("Hard share", note, plot=plots.by_iteration(hard, "hard, of the verdicts"))
    yield _gaps(run)


def _gaps(run: Run) -> Card | None:
    values: list[Row] = []
    for line in run.lineage:
        path = run.tree.local(project.data(line.iteration, "verdicts.jsonl"))
        if path is None:
            continue
        gaps = snapshot.verdicts_frame(path).get_column("gap").drop_nulls()
        if gaps.is_empty():  # the base has no verdicts
            continue
        counts = Counter(bisect_left(_EDGES, gap) for gap in gaps)
        values += [
            {"iteration": line.iteration, "part": band, "rows": counts[rank], "rank": rank}
            for rank, band in enumerate(_BANDS)
        ]
    if not values:
        return None
    note = "teacher's score less the previous student's, both orders averaged"
    return card("Gaps", note, plot=plots.shares(values, _BANDS, "of the verdicts", graded=True))


def pool_cards(run: Run) -> Iterator[Card | None]:
    """Yield the funnel of generation."""
    yield _funnel(run)


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
    return card("Generation", note, plot=plots.amounts(values, "candidates"), wide=True)


def referee_cards(run: Run) -> Iterator[Card | None]:
    """Yield what the reviews say of the referee, the likelihoods, anchors and a second referee."""
    yield _figures_card(
        run,
        "Calibration of the referee",
        "of the rows judged in both orders; points of the scale from 1 to 10",
        _of_reviews,
    )
    yield _figures_card(
        run,
        "The student's likelihood of the teacher's answers",
        "nats per token, end of turn included; the area under the curve is against the referee",
        _of_likelihoods,
    )
    yield _figures_card(
        run,
        "The referee against truth",
        "anchors are pairs of a right and a wrong answer; intervals are those of the exam",
        _against_truth,
    )


def _figures_card(
    run: Run, title: str, note: str, read: Callable[[Run, str], Figures]
) -> Card | None:
    """Return one column per iteration that has figures, one row per figure that any of them has."""
    every = {line.iteration: read(run, line.iteration) for line in run.lineage}
    columns = {name: figures for name, figures in every.items() if figures}
    labels = dict.fromkeys(label for figures in columns.values() for label in figures)
    rows = [
        [label, *(figures[label] or DASH for figures in columns.values())]
        for label in labels
        if any(figures[label] is not None for figures in columns.values())
    ]
    if not columns:
        return None
    return card(title, note, table={"columns": ["iteration", *columns], "rows": rows})


def _of_reviews(run: Run, iteration: str) -> Figures:
    metrics = run.metrics(iteration, CalibrationMetrics)
    if metrics is None or not metrics.rows:  # nothing was judged in both orders
        return {}
    agreement = run.metrics(iteration, AgreementMetrics)
    within = None if agreement is None else agreement.noise.within_share
    repeated = None if metrics.repeated is None else metrics.repeated.agreement_share
    return {
        "judged in both orders": f"{metrics.rows:,}",
        "the better side depends on the order": _share(metrics.flip_share),
        "ties": _share(metrics.tie_share),
        "points for standing first": _shown(metrics.position_bias_points, "{:+.2f}"),
        "correlation of gap and length": _shown(metrics.length_correlation, "{:+.2f}"),
        "noise of a gap, points": _shown(metrics.noise_points, "{:.2f}"),
        "verdicts within the noise": _share(within),
        "repeated judgements agree": _share(repeated),
    }


def _of_likelihoods(run: Run, iteration: str) -> Figures:
    scored = next((line.likelihood for line in run.lines if line.iteration == iteration), None)
    if scored is None:
        return {}
    agreement = run.metrics(iteration, AgreementMetrics)
    auc = None if agreement is None else agreement.likelihood_auc
    return {
        "answers": f"{scored.rows:,}",
        "mean nats per token": _shown(scored.mean_nats, "{:.3f}"),
        "the student's own answer": _share(scored.same_answer_share),
        "rows that the referee judged": _shown(scored.judged or None, "{:,}"),
        "area under the curve (AUC)": _estimate(auc, "{:.3f}".format),
    }


def _against_truth(run: Run, iteration: str) -> Figures:
    metrics = run.metrics(iteration, CalibrateMetrics)
    if metrics is None or not (metrics.anchors.rows or metrics.against_second.rows):
        return {}
    anchors, second = metrics.anchors, metrics.against_second
    return {
        "anchors": _shown(anchors.rows or None, "{:,}"),
        "right answer ahead": _estimate(anchors.accuracy, numbers.share),
        "its gap reaches tau": _estimate(anchors.hard, numbers.share),
        "area under the curve (AUC)": _estimate(anchors.auc, "{:.3f}".format),
        "judged by a second referee, too": _shown(second.rows or None, "{:,}"),
        "it agrees on hard and easy": _estimate(second.agreement, numbers.share),
        "points for the teacher's own answers": _estimate(second.self_preference, "{:+.2f}".format),
    }


def _shown(number: float | None, form: str) -> str | None:
    return None if number is None else form.format(number)


def _share(number: float | None) -> str | None:
    return None if number is None else numbers.share(number)


def _estimate(estimate: EstimateMetrics | None, text: Callable[[float], str]) -> str | None:
    """Return an estimate with its interval."""
    if estimate is None:
        return None
    value, low, high = (None if part is None else text(part) for part in estimate.figures)
    return value if low is None or high is None else f"{value} ({low} to {high})"
