"""Reviews that exist already: what they come to, and the same as a table for a person."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from lion import scores
from lion.evaluation import open_ended
from lion.evaluation.open_ended import Compared
from lion.evaluation.vicuna import Question, ReadReview
from lion.judgement.measures import Bootstrap
from lion.records import Row

DASH = "-"


def of_reviews(
    asked: Sequence[Question],
    found: Sequence[ReadReview],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
    bootstrap: Bootstrap,
) -> Row:
    """Return what the file's own scores come to, what ours do, and where the two differ.

    `candidate` (1 or 2) is whose quality is told; `written` are the answers of both.
    """
    document: Row = {"questions": len(asked), "candidate": candidate}
    for name in ("told", "read"):
        pairs = [getattr(one, name) for one in found]
        rows = _compared(asked, pairs, written, candidate)
        document[name] = open_ended.figures(rows, bootstrap) if rows else None
    document["differences"] = [
        {"question": one.key, "told": one.told, "read": one.read}
        for one in found
        if one.told != one.read and not (one.told is None and isinstance(one.read, str))
    ]
    document["unread"] = [one.key for one in found if isinstance(one.read, str)]
    return document


def _compared(
    asked: Sequence[Question],
    pairs: Sequence[scores.Scores | str | None],
    written: Sequence[Sequence[str]] | None,
    candidate: int,
) -> list[Compared]:
    """Return the questions that have two scores."""
    at = candidate - 1
    rows = []
    for number, (question, pair) in enumerate(zip(asked, pairs, strict=True)):
        if pair is None or isinstance(pair, str):
            continue
        lengths = None
        if written is not None:
            lengths = (len(written[at][number]), len(written[1 - at][number]))
        rows.append(Compared(question.category, pair[at], pair[1 - at], lengths))
    return rows


def reviews_table(document: Row) -> RenderableType:
    """Return both readings side by side, by category, and every difference."""
    readings = {"the file's scores": document["told"], "read in the texts": document["read"]}
    differences = [
        f"question {one['question']}: the file {one['told']}, its text {one['read']}"
        for one in document["differences"]
    ]
    return Group(_readings(readings), *(differences or ["no difference between the two"]))


def open_table(document: Row) -> RenderableType:
    """Return an exam's figures, and the reviews that have no scores."""
    without = [f"without scores: {reason} {n}" for reason, n in document["dropped"].items()]
    return Group(_readings({"the referee's scores": document["figures"]}), *without)


def _readings(readings: Mapping[str, Row | None]) -> Table:
    """Return figures side by side, by category."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in readings:
        table.add_column(name, justify="right")
    told = [one or {} for one in readings.values()]
    table.add_row("candidate's sum", *(_number(one.get("candidate_sum")) for one in told))
    table.add_row("reference's sum", *(_number(one.get("reference_sum")) for one in told))
    table.add_row("rows", *(str(one.get("rows", 0)) for one in told))
    table.add_row("win / tie / loss", *(_outcomes(one) for one in told))
    for label, name in (
        ("length-controlled win rate %", "length_controlled_win_rate"),
        ("win rate %", "win_rate"),
        ("quality %", "quality"),
    ):
        table.add_row(label, *(_estimate(one.get(name)) for one in told))
    table.add_section()
    categories = sorted({name for one in told for name in one.get("categories", {})})
    for name in categories:
        table.add_row(name, *(_estimate(one.get("categories", {}).get(name)) for one in told))
    return table


def reasoning_table(exam: str, found: Row) -> RenderableType:
    """Return an exam's tasks beside chance, and the paper's averages."""
    title = f"{exam}: {found['items']:,} of {found['official_items']:,} official items"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "items", "accuracy %", "chance %", "unread %", ""):
        table.add_column(name, justify="left" if name in ("task", "") else "right")
    for task, one in found["tasks"].items():
        table.add_row(task, str(one["items"]), *_marks(one, "accuracy"))
    table.add_section()
    table.add_row("macro average", f"{found['items']:,}", *_marks(found, "average"))
    for model, average in found["paper"].items():
        table.add_row(f"{model} in the paper", "", f"{average:.1f}", "", "", "")
    notes = [f"not here: {', '.join(found['missing_tasks'])}"] if found["missing_tasks"] else []
    notes += [
        f"{one['task']}, item {one['item']}: the target {one['target']!r} is no option; wrong"
        for one in found["without_right_option"]
    ]
    return Group(table, *notes)


def _marks(one: Row, name: str) -> list[str]:
    interval = one["interval"]
    between = "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"
    near = "at chance" if one["within_chance"] else ""
    return [f"{one[name]:.1f}{between}", f"{one['chance']:.1f}", f"{one['unread']:.1f}", near]


def _outcomes(one: Row) -> str:
    return f"{one['win']} / {one['tie']} / {one['loss']}" if one else DASH


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:,.1f}"


def _estimate(value: Row | None) -> str:
    if value is None:
        return DASH
    if value["low"] is None:
        return f"{value['value']:.1f}"
    return f"{value['value']:.1f} ({value['low']:.1f} to {value['high']:.1f})"
