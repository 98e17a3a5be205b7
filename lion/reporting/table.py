"""The table of iterations that `lion run` and `lion table` print.

The figures come from `lion.iterations`.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import TypeVar

from msgspec.structs import asdict
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lion.discrimination import verdicts
from lion.escape import DASH
from lion.iterations import IterationMetrics, Judge, Likelihoods
from lion.llm.prices import NANO
from lion.reporting import numbers
from lion.reporting.numbers import count, percent, share
from lion.statistics import Estimate

_SWAMPED = 0.5  # share of verdicts within the noise
_COIN = 0.5  # share of verdicts that change with the order, as a coin's would
_POOR = 0.5  # accuracy of a teacher that is hardly one
_COLUMNS = (
    "iter",
    "train",
    "cache",
    "hard",
    "kept",
    "student",
    "quality",
    "calls",
    "tokens",
    "cost",
    "sec",
)
N = TypeVar("N", int, float)


def closing(
    lines: Sequence[IterationMetrics],
    certificates: Iterable[str] = (),
    worth: Sequence[str] = (),
    explained: Sequence[RenderableType] = (),
) -> RenderableType:
    """Return the headline, the sentences of certificates, the table, and what was dropped.

    `explained` says what its columns mean, and why figures rose or fell. `worth` says what the loop
    was worth; its last sentence, the advice, ends the text.
    """
    parts: list[RenderableType] = [headline(lines)]
    parts += [Text(text, style="bold") for text in certificates]
    parts += [_table(lines), *explained]
    parts += [_dropped(line) for line in lines if line.dropped]
    parts += [
        Text(text, style="dim")
        for text in (
            *fields(lines),
            *prompts(lines),
            *wasted(lines),
            *judging(lines),
            *ranked(lines),
            *trusted(lines),
        )
    ]
    parts += [_note(text) for text in run_warnings(lines)]
    parts += [Text(text) for text in worth[:-1]] + [Text(text, "bold") for text in worth[-1:]]
    return Group(*parts)


def headline(lines: Sequence[IterationMetrics]) -> Text:
    """Return student against teacher on the exam, and the money spent so far."""
    text = result(lines)
    has_figures = any(_is_examined(line) for line in lines)
    return text.append(f" Spent: {spent(lines)}.") if has_figures else text


def _is_examined(line: IterationMetrics) -> bool:
    return line.accuracy_share is not None or line.quality_percent is not None


def result(lines: Sequence[IterationMetrics]) -> Text:
    """Return the last student against its teacher on the exam."""
    examined = [line for line in lines if _is_examined(line)]
    if not examined:
        return Text("No student has taken the exam yet.", style="bold")
    last = examined[-1]
    text = Text(f"Student {last.iteration} on the exam: ", style="bold")
    if last.accuracy_share is not None:
        text.append(share(last.accuracy_share), style="bold green")
        text.append(f"{_between(last.accuracy_share_interval, 100)}, teacher ")
        text.append(share(last.teacher_accuracy_share))
        if last.guess_accuracy_share is not None:
            text.append(f", guessing {share(last.guess_accuracy_share)}")
    if last.quality_percent is not None:
        text.append(".\nIts quality: " if last.accuracy_share is not None else "quality ")
        text.append_text(_quality(last))
    return text.append(".")


def is_coin(line: IterationMetrics) -> bool:
    """Return whether half of the quality's verdicts change with the order, as a coin's would."""
    return (line.quality_flip_share or 0) >= _COIN


def _quality(line: IterationMetrics) -> Text:
    """Return the quality with its interval, or why it says nothing."""
    if is_coin(line):
        return Text(
            f"not known, since {share(line.quality_flip_share)} of the referee's verdicts change "
            "with the order of the two answers"
        )
    text = Text(percent(line.quality_percent), style="bold green")
    return text.append(f"{_between(line.quality_percent_interval, 1)} of the teacher's", style="")


def _between(interval: tuple[float, float] | None, scale: float) -> str:
    """Return an interval in brackets, in per cent, or an empty text."""
    return "" if interval is None else f" ({numbers.interval(interval, scale)})"


def run_warnings(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return the warnings below the table, a sentence each.

    A weak teacher, too few exam rows, noisy verdicts, stopped iterations, quality that did not
    rise.
    """
    by_name = {line.iteration: line for line in lines}
    sentences = [*_poor_teacher(lines), *_too_few_rows(lines)]
    for line in lines:
        sentences += _swamped(line)
        if line.stopped is not None:
            sentences.append(f"Iteration {line.iteration} stopped: {line.stopped}.")
            continue
        before = by_name.get(line.previous or "")
        if before is None or before.quality_percent is None or line.quality_percent is None:
            continue
        if line.quality_percent <= before.quality_percent:
            sentences.append(
                f"Quality did not rise in iteration {line.iteration}: "
                f"{before.quality_percent:.1f} to {line.quality_percent:.1f}."
            )
    return sentences


def _poor_teacher(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a warning where the teacher itself fails the exam."""
    for line in reversed(lines):
        accuracy = line.teacher_accuracy_share
        if accuracy is not None and accuracy < _POOR:
            return [
                f"The teacher itself is right in {share(accuracy)} of the exam. Compare its "
                "answers with `expected`: `lion show --exam --wrong`."
            ]
    return []


def _too_few_rows(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a warning where the last exam cannot tell its student from the teacher."""
    examined = [line for line in lines if line.accuracy_share_difference is not None]
    if not examined:
        return []
    last = examined[-1]
    gap, interval, rows = (
        last.accuracy_share_difference,
        last.accuracy_share_difference_interval,
        last.accuracy_rows,
    )
    if not gap or not rows or interval is None or not interval[0] < 0 < interval[1]:
        return []
    half = (interval[1] - interval[0]) / 2
    return [
        f"An exam of {rows:,} rows does not tell student {last.iteration} from its teacher: "
        f"{100 * gap:+.1f} points{_between(interval, 100)}. For a difference of that size about "
        f"{ceil(rows * (half / gap) ** 2):,} rows are needed."
    ]


def _swamped(line: IterationMetrics) -> list[str]:
    judge = line.judge
    if judge is None or judge.within_share is None or judge.within_share < _SWAMPED:
        return []
    return [
        f"The referee's noise swamps the verdicts of iteration {line.iteration}: "
        f"{share(judge.within_share)} of the gaps lie within {judge.noise_points:.2f} of tau. "
        "Raise review.samples or split.tau_noise, or name a better referee."
    ]


def ranked(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a line per iteration whose answers were ranked by the student's likelihood."""
    return [_ranked(line.iteration, line.likelihood) for line in lines if line.likelihood]


def _ranked(iteration: str, scored: Likelihoods) -> str:
    nats = DASH if scored.mean_nats is None else f"{scored.mean_nats:.2f}"
    parts = [
        f"likelihood in {iteration}: {scored.rows:,} answers, {nats} nats a token, "
        f"{share(scored.same_answer_share)} are the student's own"
    ]
    if scored.auc_share is not None:
        between = _between(scored.auc_share_interval, 100)
        against = f"against {scored.judged:,} rows that the referee judged"
        parts.append(f"AUC {share(scored.auc_share)}{between} {against}")
    return ", ".join(parts)


def trusted(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a line per judged iteration: how reliable its referee was."""
    return [_trusted(line.iteration, line.judge) for line in lines if line.judge is not None]


def _trusted(iteration: str, judge: Judge) -> str:
    length = DASH if judge.length_correlation is None else f"{judge.length_correlation:+.2f}"
    return (
        f"referee in {iteration}: {share(judge.flip_share)} flip with the order, first place "
        f"{judge.position_bias_points:+.2f} points, ties {share(judge.tie_share)}, "
        f"length {length}, noise {judge.noise_points:.2f} points, "
        f"{share(judge.within_share)} of the verdicts within it"
    )


def fields(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a line per iteration whose exam has JSON answers: the accuracy of each field."""
    return [
        f"fields in {line.iteration}: "
        + "".join(f"{name} {share(value)}, " for name, value in line.field_accuracy_share.items())
        + f"valid JSON {share(line.valid_share)}"
        for line in lines
        if line.field_accuracy_share is not None
    ]


def prompts(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return a line per student with a shorter prompt: its tokens, and the accuracy without."""
    return [_shorter(line, lines) for line in lines if line.student_prompt_tokens is not None]


def _shorter(line: IterationMetrics, lines: Sequence[IterationMetrics]) -> str:
    """Return what a student's shorter prompt saves, beside its siblings with the teacher's."""
    accuracies = [f"student {line.iteration} {share(line.accuracy_share)}"]
    accuracies += [
        f"student {other.iteration}, with the whole prompt, {share(other.accuracy_share)}"
        for other in lines
        if other.previous == line.previous
        and other.student_prompt_tokens is None
        and other.accuracy_share is not None
    ]
    return (
        f"prompt in {line.iteration}: {line.student_prompt_tokens:,.0f} tokens a request, with the "
        f"teacher's prompt {line.teacher_prompt_tokens:,.0f}; accuracy: {', '.join(accuracies)}"
    )


def wasted(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return the share of calls without a usable reply, or an empty list."""
    calls, lost, throttled, billed = (
        sum(getattr(line, name) or 0 for line in lines)
        for name in ("calls", "wasted", "throttled", "billed")
    )
    if not lost:
        return []
    return [
        f"wasted calls: {lost:,} of {calls:,} ({share(lost / calls)}), {throttled:,} of them "
        f"refused (429), {billed:,} of them perhaps billed"
    ]


def judging(lines: Sequence[IterationMetrics]) -> list[str]:
    """Return the total cost of the reviews, and the agreement with full judging."""
    reviews = [line.reviews for line in lines if line.reviews is not None]
    hard = sum(review.hard for review in reviews)
    if not hard:
        return []
    requests, tokens = (
        sum(getattr(review, name) for review in reviews) for name in ("requests", "tokens")
    )
    nanodollars = _total([review.nanodollars for review in reviews])
    unpriced = _total([review.unpriced for review in reviews])
    each = DASH if nanodollars is None else dollars(nanodollars // hard, unpriced)
    audits = [verdicts.Audit(**asdict(review.audit)) for review in reviews]
    agreement = verdicts.agreement(sum(audits[1:], start=audits[0]))
    agree = "is not known (review.audit_rate: 0)" if agreement is None else share(agreement.value)
    if agreement is not None:
        agree = f"{agree}{_between(_bounds(agreement), 100)}"
    return [
        f"judging: {requests:,} reviews, {tokens:,} tokens; each of the {hard:,} accepted hard "
        f"instructions took {requests / hard:.2f} reviews, {tokens / hard:,.0f} tokens, {each}; "
        f"agreement with judging all in both orders {agree}"
    ]


def _bounds(estimate: Estimate) -> tuple[float, float] | None:
    """Return an estimate's interval, or None where it is missing or has no width."""
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return None
    return estimate.low, estimate.high


def dollars(nanodollars: int | None, unpriced: int | None = 0) -> str:
    """Return money as text; an unknown price is shown as unknown, not as 0."""
    if nanodollars is None or (unpriced and not nanodollars):
        return "unknown"
    if nanodollars == 0:
        return "free"
    digits = 4 if nanodollars < NANO // 10 else 2 if nanodollars < 1000 * NANO else 0
    return f"${nanodollars / NANO:,.{digits}f}{' +?' if unpriced else ''}"


def spent(lines: Sequence[IterationMetrics]) -> str:
    """Return the cost of all iterations on this machine; a dash without calls."""
    here = [line for line in lines if line.calls is not None]
    if not here:
        return DASH
    unpriced = sum(line.unpriced or 0 for line in here)
    return dollars(sum(line.nanodollars or 0 for line in here), unpriced)


def cost(line: IterationMetrics) -> str:
    """Return the cost of an iteration's calls on this machine; a dash without calls."""
    return DASH if line.calls is None else dollars(line.nanodollars, line.unpriced)


def _table(lines: Sequence[IterationMetrics]) -> Table:
    """Return the table; its eleven columns fit a terminal of 80 characters."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, collapse_padding=True)
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line))
    table.add_section()
    table.add_row(
        "all",
        *[""] * 6,
        count(_total([line.calls for line in lines])),
        _millions(_total([line.tokens for line in lines])),
        spent(lines),
        count(_total([line.seconds for line in lines])),
    )
    return table


def _cells(line: IterationMetrics) -> list[str]:
    return [
        line.iteration,
        count(line.train_pool),
        count(line.cache_pool),
        share(line.hard_share),
        share(line.kept_share),
        share(line.accuracy_share),
        percent(line.quality_percent),
        count(line.calls),
        _millions(line.tokens),
        cost(line),
        count(line.seconds),
    ]


def _total(figures: Sequence[N | None]) -> N | None:
    """Return the sum, or None where any figure is unknown."""
    terms = [figure for figure in figures if figure is not None]
    return sum(terms[1:], start=terms[0]) if terms and len(terms) == len(figures) else None


def _dropped(line: IterationMetrics) -> Text:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in line.dropped.items())
    return Text(f"dropped in {line.iteration}: {reasons}", style="dim")


def _note(text: str) -> Text:
    return Text(text, style="yellow")


def _millions(number: int | None) -> str:
    """Return a count, in millions from ten million on, which keeps the table narrow."""
    if number is None or number < 10_000_000:
        return count(number)
    return f"{number / 1e6:,.0f} M"
