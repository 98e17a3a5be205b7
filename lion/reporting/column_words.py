"""What the columns of the closing table mean, and where a change lies.

That is read from the run's files, and said only where these show it.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lion import statistics
from lion.config import project
from lion.discrimination.verdicts import hard_share
from lion.iterations import IterationMetrics
from lion.metrics.judging import AgreementMetrics
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Funnel
from lion.records import jsonl
from lion.records.rows import Instruction, Verdict
from lion.reporting.numbers import count, percent, share
from lion.reporting.worth import MarkedRun

_HARD = "of the previous student's answers, those clearly below the teacher's"
_UNLIKELY = "of the teacher's answers, those least likely for the previous student"
_RIGHT = "right on the exam, mean over categories"
_GUESS = "; guessing: the commonest answer"
_WORDS = {  # column: the field that it shows, and its meaning
    "train": ("train_pool", "new instructions of the iteration; in row 0 the first pool"),
    "cache": ("cache_pool", "all instructions so far"),
    "hard": ("hard_share", _HARD),
    "kept": ("kept", "of the instructions that the generator wrote, those that were used"),
    "student": ("accuracy_share", _RIGHT),
    "quality": ("quality_percent", "points by {grader}, in % of the teacher's"),
    "calls": ("calls", "requests sent from here; a reply in the ledger needs none"),
    "tokens": ("tokens", "of the replies used; `lion costs` counts a reply of two stages once"),
    "cost": ("calls", "paid from here; `unknown` where a price is missing"),
    "sec": ("seconds", "seconds that the stages took here"),
}
_LEAST_CHANGE = 0.01  # of a share: one point
_LEAST_RISE = 0.25  # of tokens, in parts of those before
_LEAST_ROWS = 30  # of either part of the compared answers, and of those before
_LEAST_PART = 1 / 3  # of a change, from which a part of the rows is named


def legend(lines: Sequence[IterationMetrics], grader: str) -> Table:
    """Return a line for each column of the table that has figures.

    `grader` is who graded the quality (`Settings.grader`).
    """
    table = Table.grid(padding=(0, 1))
    for name, (field, meaning) in _words(lines).items():
        if any(getattr(line, field) is not None for line in lines):
            table.add_row(name, Text(meaning.replace("{grader}", grader)), style="dim")
    return table


def _words(lines: Sequence[IterationMetrics]) -> Mapping[str, tuple[str, str]]:
    ranked = any(line.likelihood is not None for line in lines)
    guessed = any(line.guess_accuracy_share is not None for line in lines)
    hard = ("hard_share", _UNLIKELY if ranked else _HARD)
    student = ("accuracy_share", _RIGHT + _GUESS if guessed else _RIGHT)
    return {**_WORDS, "hard": hard, "student": student}


def page_note(lines: Sequence[IterationMetrics]) -> str:
    """Return what the page's columns "hard" and "kept" mean."""
    words = _words(lines)
    return "; ".join(f"{name}: {words[name][1]}" for name in ("hard", "kept"))


def page_cells(lines: Sequence[IterationMetrics]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for the report page: what a narrow screen shows comes first."""
    columns = ["iteration", "right on the exam", "quality", "hard", "kept", "new rows", "all rows"]
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
    """Return where figures of an iteration differ from those of the one before, a sentence each.

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
    """Return on which instructions the change lies: on new ones, older ones or both."""
    if before.hard_share is None or line.hard_share is None:
        return None
    change = line.hard_share - before.hard_share
    if abs(change) < _LEAST_CHANGE or not _judged_alike(before, line, run):
        return None
    earlier, parts = _compared(before.iteration, run), _compared_parts(before, line, run)
    if min(map(len, (earlier, *parts.values()))) < _LEAST_ROWS:
        return None
    names = _parts_of_change(change, parts, earlier, run.settings.evaluate.confidence)
    if not names:
        return None
    new, older = parts.values()
    return (
        f"hard {_moved(before.hard_share, line.hard_share)} in iteration {line.iteration}, "
        f"{'mostly ' if len(names) == 1 else ''}on {' and '.join(names)} instructions: "
        f"{share(hard_share(new))} of the {len(new):,} compared instructions that iteration "
        f"{before.iteration} wrote are hard, {share(hard_share(older))} of the {len(older):,} "
        "older ones."
    )


def _judged_alike(before: IterationMetrics, line: IterationMetrics, run: MarkedRun) -> bool:
    """Return whether "hard" meant the same: by gaps from one tau on, in both iterations."""
    paths = [
        project.metrics(name, AgreementMetrics.FILE) for name in (before.iteration, line.iteration)
    ]
    agreements = [run.read(path, AgreementMetrics) for path in paths]
    taus = {None if metrics is None else metrics.noise.tau_points for metrics in agreements}
    return len(taus) == 1 and before.likelihood is None and line.likelihood is None


def _parts_of_change(
    change: float,
    parts: Mapping[str, Sequence[Verdict]],
    earlier: Sequence[Verdict],
    confidence: float,
) -> list[str]:
    """Return the parts that bring a third of the change or more.

    Empty where one of them differs from the `earlier` verdicts by no more than chance may do.
    """
    total = sum(row.weight for part in parts.values() for row in part)
    names = []
    for name, part in parts.items():
        difference = statistics.group_difference(_marks(part), _marks(earlier), confidence)
        assert difference is not None and difference.low is not None and difference.high is not None
        weight = sum(row.weight for row in part) / total
        if weight * difference.value / change < _LEAST_PART:
            continue
        if difference.low <= 0 <= difference.high:
            return []
        names.append(name)
    return names


def _marks(verdicts: Sequence[Verdict]) -> list[tuple[bool, float]]:
    return [(row.difficulty == "hard", row.weight) for row in verdicts]


def _compared_parts(
    before: IterationMetrics, line: IterationMetrics, run: MarkedRun
) -> dict[str, list[Verdict]]:
    """Return the decided verdicts of rows that the iteration before wrote, and of older ones.

    Both are empty where the rows are not on this machine, or stale.
    """
    written = project.data(before.iteration, "train_pool.jsonl")
    if not run.has(written):
        return {"new": [], "older": []}
    new = {row.id for row in jsonl.read(written, Instruction)}
    verdicts = _compared(line.iteration, run)
    return {
        "new": [row for row in verdicts if row.id in new],
        "older": [row for row in verdicts if row.id not in new],
    }


def _compared(name: str, run: MarkedRun) -> list[Verdict]:
    """Return the decided verdicts of an iteration; none where they are not here, or stale."""
    path = project.data(name, "verdicts.jsonl")
    rows = jsonl.read(path, Verdict) if run.has(path) else []
    return [row for row in rows if row.difficulty != "undecided"]


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
        f"kept {_moved(before.kept_share, line.kept_share)} in iteration {line.iteration}: most of "
        f"all by the reason `{reason}` (docs/concepts/pools.md), which dropped "
        f"{share(earlier.get(reason, 0.0))} of the candidates, then "
        f"{share(later.get(reason, 0.0))}."
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
    change = f"{word} from {before.tokens:,} to {line.tokens:,}"
    return f"tokens {change} in iteration {line.iteration}: {parts}."


def _calls(lines: Sequence[IterationMetrics]) -> Iterator[str]:
    hits = sum(line.hits or 0 for line in lines)
    if hits:
        yield f"calls: {hits:,} replies came from the ledger, without a call."
