"""Tables of calls, tokens and money: `lion plan`, `lion ledger` and `lion costs`.

The figures come from `pipeline.plan`, `llm.ledger_maintenance` and the ledger.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lion.config import project
from lion.config.settings import EMBEDDED, Budget
from lion.escape import DASH
from lion.llm import ledger_maintenance
from lion.llm.caps import Amount
from lion.metrics.pools import GenerateMetrics
from lion.pipeline.checks.student import DiskNeed
from lion.pipeline.endpoint_pace import ASSUMED_SECONDS, PaceBasis
from lion.pipeline.plan import Need
from lion.pipeline.stale_outputs import StaleOutputs
from lion.reporting.numbers import share
from lion.reporting.table import dollars

_SIGNS = {"exactly": "", "about": "~", "at_most": "<="}
_SMALL_STUDENTS = "Disk: the embedded students need little room."
_UNKNOWN_SIZE = (
    "Disk: not known, since the size of {} is not known on this machine. `lion check` reads it "
    "from the model hub and compares the run's need with the free disk."
)


def disk_sentence(need: DiskNeed, model: str) -> str:
    """Return the disk that students of `student.model` need, as a sentence for `lion plan`."""
    if not need.students and not need.states:
        return _SMALL_STUDENTS if model == EMBEDDED else _UNKNOWN_SIZE.format(model)
    return (
        f"Disk: {need.students / 1e9:,.1f} GB of full students (workspace and DVC's cache), and "
        f"{need.states / 1e9:,.1f} GB while one is tuned, for the states it could go on from. "
        f"{need.staying / 1e9:,.1f} GB stay after the run (hardware.keep_students)."
    )


def plan_table(
    needs: Sequence[Need], spent: Amount, reserved: Amount, budget: Budget
) -> RenderableType:
    """Return the plan as a table, with its totals and the budget below."""
    if not needs:
        return Text("no API calls left")
    table = grid("stage", "asks", "calls", "in ledger", "tokens", "cost", "min", "known by")
    for need in needs:
        tokens = need.prompt_tokens + need.completion_tokens
        table.add_row(
            need.stage,
            need.role if need.mode == "live" else f"{need.role}, batch",
            f"{_SIGNS[need.precision]}{need.calls:,}",
            f"{need.in_ledger:,}" if need.in_ledger else DASH,
            f"{tokens:,}",
            dollars(need.nanodollars),
            f"{need.seconds / 60:,.1f}",
            need.basis,
        )
    table.add_section()
    unknown = sum(need.nanodollars is None for need in needs)
    table.add_row(
        "all",
        "",
        f"{sum(need.calls for need in needs):,}",
        f"{sum(need.in_ledger for need in needs):,}",
        f"{sum(need.prompt_tokens + need.completion_tokens for need in needs):,}",
        dollars(sum(need.nanodollars or 0 for need in needs), unknown),
        f"{sum(need.seconds for need in needs) / 60:,.1f}",
        "",
    )
    spending = Text(
        f"Spent so far: {spent.calls:,} calls, {spent.tokens:,} tokens, "
        f"{dollars(spent.nanodollars, spent.unpriced)}; "
        f"{reserved.calls:,} calls in flight or interrupted. {_budget(budget)}"
    )
    advice = Text(
        "estimated: from the prompts' length (4 bytes a token) and half of each token cap. "
        "measured: from the tokens of earlier stages. ~: about. <=: at most, since a second order "
        "is asked only where the first gap is near tau. Replies in the ledger are free; behind a "
        "student that is tuned again they are counted as unpaid, though it may be the same. min: "
        "minutes of the calls (of batches the longest wait), without the student's own minutes. "
        f"{_pace_sentence(needs)}",
        style="dim",
    )
    return Group(table, spending, advice)


_PACES: Mapping[PaceBasis, str] = {
    "runs": "as in earlier runs",
    "check": "as `lion check` measured it",
    "assumed": f"assumed to be {ASSUMED_SECONDS:g} s (`lion check` measures a server's)",
}


def _pace_sentence(needs: Sequence[Need]) -> str:
    """Return where the seconds of a call come from, by role."""
    roles: dict[PaceBasis, list[str]] = {}
    for need in needs:
        if need.mode == "live" and need.role not in roles.setdefault(need.pace, []):
            roles[need.pace].append(need.role)
    parts = [
        f"{words} for {', '.join(roles[pace])}" for pace, words in _PACES.items() if roles.get(pace)
    ]
    return f"A call's time: {'; '.join(parts)}." if parts else ""


def plan_as_json(needs: Sequence[Need]) -> str:
    """Return the plan as a JSON array, one object per stage and role."""
    return json.dumps([asdict(need) for need in needs], indent=2)


def _budget(budget: Budget) -> str:
    caps = {name: cap for name, cap in budget.model_dump().items() if cap is not None}
    if not caps:
        return "No budget is set."
    return "Budget: " + ", ".join(f"{name} {cap:,}" for name, cap in caps.items()) + "."


def ledger_table(
    path: Path,
    counts: tuple[int, Amount, Amount],
    groups: Sequence[ledger_maintenance.CallStatistics],
    failures: Mapping[str, int],
    hits: float | None,
) -> RenderableType:
    """Return what `lion ledger` prints."""
    replies, spent, reserved = counts
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    head = Text(
        f"{path}: {replies:,} replies, {size / 1e6:,.1f} MB; {spent.calls:,} calls, "
        f"{spent.tokens:,} tokens, {dollars(spent.nanodollars, spent.unpriced)}; "
        f"hit rate {share(hits)}"
    )
    table = grid("endpoint", "model", "calls", "failed", "tokens", "cost")
    for group in groups:
        table.add_row(
            *(name or DASH for name in group.names),
            f"{group.calls:,}",
            f"{group.failed:,}",
            f"{group.tokens:,}",
            dollars(group.nanodollars, group.unpriced),
        )
    parts: list[RenderableType] = [head, table]
    if failures:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failures.items())
        parts.append(Text(f"failed calls: {reasons}", style="dim"))
    if reserved.calls:
        parts.append(Text(f"{reserved.calls:,} calls in flight or interrupted", style="dim"))
    return Group(*parts)


def costs(
    stages: Sequence[ledger_maintenance.CallStatistics], iterations: Sequence[str]
) -> RenderableType:
    """Return the cost of every stage, and the money per accepted hard instruction."""
    table = grid("stage", "calls", "wasted", "tokens", "cost", "p50 s", "p99 s")
    for stage in stages:
        table.add_row(
            stage.names[0] or DASH,
            f"{stage.calls:,}",
            share(stage.wasted) if stage.failed else DASH,
            f"{stage.tokens:,}",
            dollars(stage.nanodollars, stage.unpriced),
            *(DASH if seconds is None else f"{seconds:,.2f}" for seconds in (stage.p50, stage.p99)),
        )
    accepted, each = _each_hard(stages, iterations)
    _, judged = _each_hard(_reviews(stages), iterations)
    per_hard, for_reviews = (DASH if money is None else dollars(*money) for money in (each, judged))
    return Group(
        table,
        Text(
            f"{accepted:,} hard instructions accepted. Cost of each: {per_hard}, of which the "
            f"referee's reviews: {for_reviews}"
        ),
    )


def costs_as_json(
    stages: Sequence[ledger_maintenance.CallStatistics], iterations: Sequence[str]
) -> str:
    """Return the figures of `costs` as a JSON object."""
    accepted, each = _each_hard(stages, iterations)
    rows = [{**asdict(stage), "stage": stage.names[0], "wasted": stage.wasted} for stage in stages]
    for row in rows:
        del row["names"]
    _, judged = _each_hard(_reviews(stages), iterations)
    document = {
        "stages": rows,
        "accepted_hard": accepted,
        "nanodollars_per_hard": _if_known(each),
        "review_nanodollars_per_hard": _if_known(judged),
    }
    return json.dumps(document, indent=2)


def _if_known(each: tuple[int, int] | None) -> int | None:
    """Return the nanodollars, or None where some calls have no price."""
    return None if each is None or each[1] else each[0]


def _reviews(
    stages: Sequence[ledger_maintenance.CallStatistics],
) -> list[ledger_maintenance.CallStatistics]:
    return [stage for stage in stages if (stage.names[0] or "").startswith("review@")]


def _each_hard(
    stages: Sequence[ledger_maintenance.CallStatistics], iterations: Sequence[str]
) -> tuple[int, tuple[int, int] | None]:
    """Return the accepted hard instructions, and (nanodollars, unpriced calls) for each."""
    accepted = sum(_accepted_hard(name) for name in iterations)
    if not accepted:
        return 0, None
    unpriced = sum(stage.unpriced for stage in stages)
    return accepted, (sum(stage.nanodollars for stage in stages) // accepted, unpriced)


def _accepted_hard(name: str) -> int:
    path = project.metrics(name, GenerateMetrics.FILE)
    metrics = StaleOutputs.of_workspace().read_current(path, GenerateMetrics)
    return 0 if metrics is None else metrics.hard.kept


def grid(*columns: str) -> Table:
    """Return an empty table; the first two columns are text, the others are right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < 2 else "right")
    return table
