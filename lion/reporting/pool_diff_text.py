"""A comparison of pools as text: for a terminal, as Markdown, or as JSON.

The figures come from `pool_diff`: JSON has them by label, text by the label's domain. Texts that
models wrote are escaped: control characters for a terminal, and a fence that they cannot close in
Markdown.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lion.escape import DASH, clipped, inert, line
from lion.metrics.certificates import CertifiedMetrics
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Funnel
from lion.records.rows import KINDS
from lion.reporting.domains import domain_name
from lion.reporting.numbers import count, percent, share
from lion.reporting.pool_diff import Comparison, Distribution, Moves, Sample, Spread
from lion.reporting.pool_diff import Group as Counted

_BARS = " ▁▂▃▄▅▆▇█"
_NAME = 40  # characters of a name
_TEXT = 600  # characters of a sample
_GROUPS = 15  # rows of a table before the rest are counted together


@dataclass(frozen=True, slots=True)
class _Section:
    """A table: its columns, of which the first is the row's label, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def comparison_as_json(comparison: Comparison) -> str:
    """Return the comparison as one JSON object, for scripts."""
    return json.dumps(msgspec.to_builtins(comparison), indent=2, ensure_ascii=False)


def comparison_as_text(comparison: Comparison) -> RenderableType:
    """Return the comparison for a terminal of any width."""
    parts: list[RenderableType] = [
        Text(f"{comparison.before} → {comparison.after}", style="bold"),
        *(Text(sentence) for sentence in _headline(comparison)),
    ]
    for section in sections(comparison):
        parts.append(_table(section))
    for kind, samples in _by_kind(comparison.samples):
        parts += [Text(), Text(kind.capitalize(), style="bold")]
        parts += [_sample(sample) for sample in samples]
    return Group(*parts)


def comparison_as_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown for a pull request."""
    parts = [f"### {_code(comparison.before)} → {_code(comparison.after)}", ""]
    parts += [f"* {sentence}" for sentence in _headline(comparison)]
    for section in sections(comparison):
        parts += ["", _pipe(section.columns)]
        parts.append(_pipe(["---", *["---:"] * (len(section.columns) - 1)]))
        parts += [_pipe([_code(row[0]), *row[1:]]) for row in section.rows]
    for kind, samples in _by_kind(comparison.samples):
        parts += ["", f"<details><summary>{kind.capitalize()}</summary>", ""]
        parts += [_fenced("\n".join(_sample_lines(sample))) for sample in samples]
        parts += ["", "</details>"]
    return "\n".join(parts)


def _headline(comparison: Comparison) -> list[str]:
    """Return the summary, one sentence a line."""
    before, after = comparison.rows
    sentences = [
        f"{before:,} rows, then {after:,}: {comparison.added:,} added, "
        f"{comparison.removed:,} removed, {comparison.kept:,} kept; "
        f"the teacher's answer changed in {comparison.answers_changed:,}"
    ]
    if comparison.moves is not None:
        sentences.append(_moves(comparison.moves))
    if comparison.responses_compared:
        sentences.append(
            f"the student answers {comparison.responses_changed:,} of "
            f"{comparison.responses_compared:,} instructions otherwise"
        )
    last = (_exam(*comparison.exam), _certified(*comparison.certified))
    return sentences + [sentence for sentence in last if sentence]


def _moves(moves: Moves) -> str:
    if not moves.judged_by_both:
        return "no instruction was judged on both sides"
    change = "" if moves.gap_change is None else f"; mean gap {moves.gap_change:+.2f}"
    if moves.nats_change is not None:
        change += f"; mean nats per token {moves.nats_change:+.2f}"
    undecided = f", {moves.undecided:,} undecided on a side" if moves.undecided else ""
    return (
        f"{moves.judged_by_both:,} judged on both sides: {moves.easy_to_hard:,} easy to hard, "
        f"{moves.hard_to_easy:,} hard to easy, {moves.stayed_hard:,} still hard, "
        f"{moves.stayed_easy:,} still easy{undecided}{change}"
    )


def _exam(*sides: EvaluateMetrics | None) -> str:
    figures = {
        "accuracy": [
            share(None if metrics is None else metrics.accuracy_share) for metrics in sides
        ],
        "quality": [
            percent(None if metrics is None else metrics.quality_percent) for metrics in sides
        ],
    }
    parts = [
        f"{name} {before}, then {after}"
        for name, (before, after) in figures.items()
        if {before, after} != {DASH}
    ]
    return f"exam: {'; '.join(parts)}" if parts else ""


def _certified(*sides: CertifiedMetrics | None) -> str:
    """Return what each side's student may answer alone."""
    if sides == (None, None):
        return ""
    before, after = map(_coverage, sides)
    return f"certificate: {before}, then {after}"


def _coverage(metrics: CertifiedMetrics | None) -> str:
    if metrics is None:
        return "none"
    promise = f"at {share(metrics.agreement_share)} agreement"
    if metrics.coverage_share is None:
        return f"no threshold {promise}"
    return f"{share(metrics.coverage_share)} of the requests {promise}"


def sections(comparison: Comparison) -> Iterator[_Section]:
    """Yield the tables that have rows."""
    for by in dict.fromkeys(group.by for group in comparison.groups):
        groups = [group for group in comparison.groups if group.by == by]
        rows = tuple(_counted(_by_domain(groups) if by == "domain" else groups))
        yield _Section((by, "before", "after", "added", "removed"), rows)
    if comparison.parents:
        parents = tuple(
            (line(parent.text or parent.id, _NAME), parent.id, f"{parent.added:,}")
            for parent in comparison.parents
        )
        yield _Section(("parent", "id", "children added"), parents)
    funnel = tuple(_funnel(*comparison.funnel))
    if funnel:
        yield _Section(("generation", "before", "after"), funnel)
    spreads = (row for distribution in comparison.distributions for row in _spreads(distribution))
    columns = ("distribution", "rows", "mean", "p10", "median", "p90", "shape")
    yield _Section(columns, tuple(spreads))


def _by_domain(groups: Sequence[Counted]) -> list[Counted]:
    """Return the sums of groups of labels by the domain that these belong to, the largest first."""
    sums: dict[str | None, Counted] = {}
    for group in groups:
        name = domain_name(group.name) if group.name else group.name
        so_far = sums.get(name)
        sums[name] = replace(group, name=name) if so_far is None else _sum(so_far, group)
    return sorted(sums.values(), key=lambda group: (-group.after, -group.before, str(group.name)))


def _sum(first: Counted, second: Counted) -> Counted:
    counts = ("before", "after", "added", "removed")
    return replace(first, **{name: getattr(first, name) + getattr(second, name) for name in counts})


def _counted(groups: Sequence[Counted]) -> Iterator[tuple[str, ...]]:
    """Yield the largest groups, and the sum of the others."""
    shown = len(groups) if len(groups) <= _GROUPS else _GROUPS - 1
    for group in groups[:shown]:
        yield line(group.name or DASH, _NAME), *_counts([group])
    if groups[shown:]:
        yield f"{len(groups) - shown} others", *_counts(groups[shown:])


def _counts(groups: Sequence[Counted]) -> Iterator[str]:
    for name in ("before", "after", "added", "removed"):
        yield f"{sum(getattr(group, name) for group in groups):,}"


def _funnel(*generated: GenerateMetrics | None) -> Iterator[tuple[str, ...]]:
    for kind in KINDS:
        sides = [metrics.funnels[kind] if metrics else Funnel() for metrics in generated]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            if any(funnel.get(name) for funnel in sides):  # most reasons drop nothing
                yield f"{kind}: {name}", *(count(funnel.get(name)) for funnel in sides)


def _spreads(distribution: Distribution) -> Iterator[tuple[str, ...]]:
    for name, spread in ((distribution.name, distribution.before), ("  after", distribution.after)):
        yield (name, *[DASH] * 6) if spread is None else (name, *_figures(spread))


def _figures(spread: Spread) -> tuple[str, ...]:
    numbers = (spread.mean, spread.p10, spread.median, spread.p90)
    most = max(spread.shares)
    bars = "".join(_BARS[math.ceil(8 * share / most)] for share in spread.shares)
    return f"{spread.count:,}", *(f"{number:,.2f}" for number in numbers), bars


def _by_kind(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    for kind in dict.fromkeys(sample.kind for sample in samples):
        yield kind, [sample for sample in samples if sample.kind == kind]


def _sample_lines(sample: Sample) -> list[str]:
    """Return a sample's lines: its id and what changed, then its text."""
    text = inert(clipped(sample.text, _TEXT))
    if sample.kind in ("added", "removed"):
        origin, parent = sample.before, sample.after  # of a row that one side alone has
        return [f"{sample.id} {origin}{f', from {parent}' if parent else ''}", text]
    if sample.kind == "answer changed":
        old, new = (inert(clipped(str(answer), _TEXT)) for answer in (sample.before, sample.after))
        return [sample.id, text, f"before: {old}", f"after: {new}"]
    return [f"{sample.id} {sample.unit} {sample.before}, then {sample.after}", text]


def _sample(sample: Sample) -> RenderableType:
    first, *rest = _sample_lines(sample)
    return Group(Text(first, style="dim"), *(Padding(Text(text), (0, 0, 0, 2)) for text in rest))


def _table(section: _Section) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for number, name in enumerate(section.columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _pipe(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Return a name as a code span that its own characters cannot close, also in a table."""
    if not text:
        return ""
    return f"`{text.replace('`', chr(39)).replace('|', chr(0x00A6))}`"


def _fenced(text: str) -> str:
    """Return `text` in a code block whose fence is longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
