"""What the columns of the closing table mean, and why a figure rose or fell.

A reason is read from the run's files, and given only where these show it.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from rich.table import Table

from lion.config import project
from lion.iterations import IterationMetrics
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Funnel
from lion.records import jsonl
from lion.records.rows import Instruction, Verdict
from lion.reporting.numbers import count, percent, share
from lion.reporting.worth import MarkedRun

_HARD = "of the answers compared with the teacher's, those that are clearly worse"
_UNLIKELY = "of the teacher's answers, those that the student finds least likely"
_WORDS = {  # column: the field that it shows, and its meaning
    "train": ("train_pool", "new instructions of the iteration; in row 0 the first pool"),
    "cache": ("cache_pool", "all instructions so far"),
    "hard": ("hard_share", _HARD),
    "kept": ("kept", "of the instructions that the generator wrote, those that were used"),
    "student": ("accuracy_share", "right answers on the exam; each category counts the same"),
    "quality": ("quality_percent", "the referee's points for the student, in % of its teacher's"),
    "calls": ("calls", "requests sent from here; what the ledger holds needs none"),
    "tokens": ("tokens", "of the replies used; `lion costs` counts a reply of two stages once"),
    "cost": ("calls", "paid from here; `unknown` where a price is missing"),
    "sec": ("seconds", "seconds that the stages took here"),
}
_LEAST_CHANGE = 0.01  # of a share: one point
_LEAST_RISE = 0.25  # of tokens, in parts of those before
_LEAST_ROWS = 30  # of either part of the compared answers


def legend(lines: Sequence[IterationMetrics]) -> Table:
    """Return a line for each column of the table that has figures."""
    ranked = any(line.likelihood is not None for line in lines)
    words = {**_WORDS, "hard": ("hard_share", _UNLIKELY)} if ranked else _WORDS
    table = Table.grid(padding=(0, 1))
    for name, (field, meaning) in words.items():
        if any(getattr(line, field) is not None for line in lines):
            table.add_row(name, meaning, style="dim")
    return table


def page_cells(lines: Sequence[IterationMetrics]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for the report page: what a narrow screen shows comes first."""
    columns = ["student", "right on the exam", "quality", "hard", "kept", "new rows", "all rows"]
    rows = [
        [
            line.iteration,
            share(line.accuracy_share),
            percent(line.quality_percent),
            share(line.hard_share),
            share(line.kept_share),
            count(line.train_pool),
            count(line.cache_pool),
        ]
        for line in lines
    ]
    return columns, rows


def change_reasons(lines: Sequence[IterationMetrics], run: MarkedRun) -> list[str]:
    """Return why figures of an iteration differ from those of the one before, a sentence each.

    Raises DataError where rows of the run cannot be read.
    """
    by_name = {line.iteration: line for line in lines}
    pairs = [
        (by_name[line.previous], line)
        for line in lines
        if line.previous and line.previous in by_name
    ]
    hard = [sentence for pair in pairs if (sentence := _hard(*pair, run))]
    kept = [sentence for pair in pairs if (sentence := _kept(*pair, run))]
    tokens = [sentence for pair in pairs if (sentence := _tokens(*pair))]
    return [*hard[-1:], *kept[-1:], *tokens[-1:], *_calls(lines)]


def _hard(before: IterationMetrics, line: IterationMetrics, run: MarkedRun) -> str | None:
    """Return whether the new instructions or the older ones made the difference."""
    if before.hard_share is None or line.hard_share is None or line.likelihood is not None:
        return None
    if abs(line.hard_share - before.hard_share) < _LEAST_CHANGE:
        return None
    parts = _compared(before.iteration, line.iteration, run)
    if min(map(len, parts)) < _LEAST_ROWS:
        return None
    new, older = (_hard_share(part) for part in parts)
    return (
        f"hard {_moved(before.hard_share, line.hard_share)} in {line.iteration}, since "
        f"{_hard_reason(before, line, new, older)}: {share(new)} of the {len(parts[0]):,} compared "
        f"that iteration {before.iteration} wrote are hard, and {share(older)} of the "
        f"{len(parts[1]):,} older ones."
    )


def _hard_reason(before: IterationMetrics, line: IterationMetrics, new: float, older: float) -> str:
    """Return what moved: older instructions are those of which `before.hard_share` were hard."""
    assert before.hard_share is not None and line.hard_share is not None
    if line.hard_share > before.hard_share:
        if older <= before.hard_share:
            return "new instructions are harder than older ones"
        return "the student does worse on older instructions" + (
            ", and new ones are harder" if new > older else ""
        )
    if older < before.hard_share:
        return "the student does better on older instructions"
    return "new instructions are easier than older ones"


def _compared(before: str, name: str, run: MarkedRun) -> tuple[list[Verdict], list[Verdict]]:
    """Return the decided verdicts of an iteration: of rows that `before` wrote, and of older ones.

    Both are empty where the rows are not on this machine, or stale.
    """
    verdicts, written = (
        project.data(name, "verdicts.jsonl"),
        project.data(before, "train_pool.jsonl"),
    )
    if not run.has(verdicts) or not run.has(written):
        return [], []
    new = {row.id for row in jsonl.read(written, Instruction)}
    decided = [row for row in jsonl.read(verdicts, Verdict) if row.difficulty != "undecided"]
    return [row for row in decided if row.id in new], [row for row in decided if row.id not in new]


def _hard_share(verdicts: Sequence[Verdict]) -> float:
    return fmean([row.difficulty == "hard" for row in verdicts], [row.weight for row in verdicts])


def _moved(before: float, after: float) -> str:
    return f"{'rose' if after > before else 'fell'} from {share(before)} to {share(after)}"


def _kept(before: IterationMetrics, line: IterationMetrics, run: MarkedRun) -> str | None:
    """Return for which reason more candidates were dropped, or fewer."""
    if before.kept_share is None or line.kept_share is None:
        return None
    change = line.kept_share - before.kept_share
    parts = [
        run.read(project.metrics(name, GenerateMetrics.FILE), GenerateMetrics)
        for name in (before.iteration, line.iteration)
    ]
    if abs(change) < _LEAST_CHANGE or parts[0] is None or parts[1] is None:
        return None
    earlier, later = (_dropped_shares(part.funnels) for part in parts if part is not None)
    moved = {
        reason: later.get(reason, 0.0) - earlier.get(reason, 0.0) for reason in {**later, **earlier}
    }
    if not moved:
        return None
    reason = min(moved, key=lambda name: moved[name] * (1 if change > 0 else -1))
    return (
        f"kept {_moved(before.kept_share, line.kept_share)} in {line.iteration}: dropped as "
        f"{reason} were {share(earlier.get(reason, 0.0))}, then {share(later.get(reason, 0.0))}."
    )


def _dropped_shares(funnels: Mapping[str, Funnel]) -> dict[str, float]:
    """Return the candidates that were not kept, by reason, as shares of all."""
    asked = max(1, sum(funnel.asked for funnel in funnels.values()))
    shares: dict[str, float] = {}
    for funnel in funnels.values():
        for reason, number in funnel.dropped.items():
            shares[reason] = shares.get(reason, 0.0) + number / asked
    return shares


def _tokens(before: IterationMetrics, line: IterationMetrics) -> str | None:
    """Return whose tokens made the difference."""
    if not before.tokens or line.tokens is None:
        return None
    if abs(line.tokens - before.tokens) < _LEAST_RISE * before.tokens:
        return None
    roles = dict.fromkeys([*line.tokens_by_role, *before.tokens_by_role])
    changes = {
        role: line.tokens_by_role.get(role, 0) - before.tokens_by_role.get(role, 0)
        for role in roles
    }
    parts = ", ".join(f"{role} {change:+,}" for role, change in changes.items() if change)
    word = "rose" if line.tokens > before.tokens else "fell"
    return f"tokens {word} from {before.tokens:,} to {line.tokens:,} in {line.iteration}: {parts}."


def _calls(lines: Sequence[IterationMetrics]) -> Iterator[str]:
    saved = sum(
        max(0, line.requests - line.calls)
        for line in lines
        if line.requests is not None and line.calls is not None
    )
    if saved:
        yield f"calls: {saved:,} more requests needed none, since the ledger held their replies."
