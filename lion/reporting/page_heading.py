"""The top of the report page: what the run is, and its figures, with interval and verdict."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lion.config.settings import EMBEDDED, Endpoint, Settings
from lion.errors import LionError
from lion.escape import DASH, inert
from lion.iterations import IterationMetrics
from lion.pipeline import revisions
from lion.pipeline.commits import Commit, commit_of
from lion.records.rows import Row
from lion.reporting import numbers, table
from lion.reporting.exam_page import settings_of
from lion.reporting.snapshot import Run
from lion.reporting.worth import MarkedRun, PairedDifference, paired_difference, worth_sentences

Bounds = tuple[float, float]
_NAME = 80  # characters


def heading(run: Run) -> Row:
    """Return title, facts, headline, advice, and the tiles in two ranks."""
    settings = _settings(run)
    advice, gain = _worth(run.lineage, _marked(run, settings))
    return {
        "title": f"{inert(Path.cwd().name)}: student {run.iteration}",
        "facts": list(_facts(run, settings)),
        "headline": table.result(run.lineage).plain.replace("\n", " "),
        "advice": advice,
        "leading": list(_leading_tiles(run.lineage[-1], gain, settings)),
        "tiles": list(_further_tiles(run)),
    }


def _settings(run: Run) -> Settings | None:
    """Return the params; None where this version cannot use them: the figures need none."""
    try:
        return settings_of(run.tree)
    except LionError:
        return None


def _worth(
    lineage: Sequence[IterationMetrics], marked: MarkedRun | None
) -> tuple[str | None, PairedDifference | None]:
    """Return the advice, and the last student less the one before."""
    last = lineage[-1]
    if marked is None or last.previous is None or last.accuracy_share is None:
        return None, None
    try:
        sentences = worth_sentences(lineage, marked)
        gain = paired_difference(marked, last.iteration, last.previous)
    except LionError:  # answers that cannot be marked: the section of the exam's rows says why
        return None, None
    return (sentences[-1] if sentences else None), gain


def _marked(run: Run, settings: Settings | None) -> MarkedRun | None:
    """Return the rows to compare students by; of the working folder alone."""
    if settings is None or not isinstance(run.tree, revisions.CurrentWorkspace):
        return None
    return MarkedRun(settings, run.tree.stale.read_current, run.tree.stale.has_current)


def _facts(run: Run, settings: Settings | None) -> Iterator[Row]:
    commit = commit_of(run.tree.name)
    if commit is not None:
        yield _fact("Commit", _commit_text(commit))
    if settings is not None:
        yield _fact("Teacher", _endpoint_text(settings.teacher))
        yield _fact("Student", _student_text(settings.student.model))
        yield _fact("Intervals", f"{100 * settings.evaluate.confidence:g} % confidence")
    yield _fact("Iterations", f"{len(run.lineage) - 1:,} after the base student")


def _fact(label: str, value: str) -> Row:
    return {"label": label, "value": inert(value)[:_NAME]}


def _commit_text(commit: Commit) -> str:
    text = f"{commit.digits} of {commit.date}"
    return f"{text}, and changes since" if commit.is_changed else text


def _endpoint_text(endpoint: Endpoint) -> str:
    """Return the model; the address stays out, since a page is passed on."""
    simulated = endpoint.base_url == EMBEDDED
    return f"{endpoint.model} (part of Lion, simulated)" if simulated else endpoint.model


def _student_text(model: str) -> str:
    """Return the model; of a folder its name, since a page is passed on."""
    if model == EMBEDDED:
        return "embedded (part of Lion, very small)"
    return Path(model).name if Path(model).is_absolute() else model


def _leading_tiles(
    last: IterationMetrics, gain: PairedDifference | None, settings: Settings | None
) -> Iterator[Row]:
    """Yield the figures that a run is for: accuracy, quality and the last iteration's gain."""
    beside = f"teacher: {numbers.share(last.teacher_accuracy_share)}"
    if last.guess_accuracy_share is not None:
        beside += f", guessing: {numbers.share(last.guess_accuracy_share)}"
    yield _tile(
        "Right on the exam",
        numbers.share(last.accuracy_share),
        _range(last.accuracy_share_interval, 100, beside),
        _teacher_verdict(last),
    )
    if last.quality_percent is not None:
        yield _quality_tile(last, "the referee" if settings is None else settings.grader)
    if gain is not None:
        yield _gain_tile(gain)


def _teacher_verdict(last: IterationMetrics) -> str:
    """Return the verdict, which is over rows, in words.

    Empty where the accuracies, which are over categories, point to the other side.
    """
    verdict = verdict_words(
        last.accuracy_share_difference_interval,
        (
            "Worse than its teacher",
            "Better than its teacher",
            "No clear difference from its teacher",
        ),
    )
    difference = last.category_difference
    if difference is None or last.accuracy_share_difference is None or not verdict:
        return verdict
    return f"{verdict}, row by row" if difference * last.accuracy_share_difference >= 0 else ""


def _gain_tile(gain: PairedDifference) -> Row:
    words = (f"Worse than student {gain.other}", f"Better than student {gain.other}")
    between = numbers.interval(gain.bounds, 100, "+")
    rows = f"{gain.difference.count:,} exam rows of both, each counting the same"
    return _tile(
        f"Gain over student {gain.other}",
        f"{100 * gain.difference.value:+.1f} points",
        f"{between}; {rows}" if between else rows,
        verdict_words(gain.bounds, (*words, "May be chance")),
    )


def _quality_tile(last: IterationMetrics, grader: str) -> Row:
    if table.is_coin(last):
        flips = f"{numbers.share(last.quality_flip_share)} of its verdicts change with the order"
        return _tile("Quality", "not known", flips, "The referee cannot tell the answers apart")
    relative = last.quality_percent_interval
    return _tile(
        "Quality",
        numbers.percent(last.quality_percent),
        _range(relative, 1, f"of the teacher's points, by {inert(grader)[:_NAME]}"),
        verdict_words(
            None if relative is None else (relative[0] - 100, relative[1] - 100),
            ("Below its teacher", "Above its teacher", "No clear difference from its teacher"),
        ),
    )


def verdict_words(difference: Bounds | None, words: tuple[str, str, str]) -> str:
    """Return the word for an interval below 0, above 0, or around it; empty without interval."""
    if difference is None:
        return ""
    low, high = difference
    return words[0] if high < 0 else words[1] if low > 0 else words[2]


def _range(interval: Bounds | None, scale: float, note: str) -> str:
    return note if interval is None else f"{numbers.interval(interval, scale)} %; {note}"


def _further_tiles(run: Run) -> Iterator[Row]:
    last = run.lineage[-1]
    new = f"{numbers.count(last.train_pool)} of them new"
    yield _tile("Instructions", f"{run.rows.height:,}", new)
    if last.previous is not None:
        hard = numbers.share(last.hard_share)
        yield _tile(f"Hard for student {last.previous}", hard, _mean_measure(last))
    tokens = [line.tokens for line in run.lines if line.tokens is not None]
    yield _tile(
        "Tokens", _short(sum(tokens)) if tokens else DASH, "of prompts and replies, all roles"
    )
    yield _tile("Spent", table.spent(run.lines), "by this machine")


def _mean_measure(line: IterationMetrics) -> str:
    """Return the mean of what the verdicts rest on."""
    if line.mean_gap_points is not None:
        return f"mean gap {line.mean_gap_points:.2f}"
    if line.likelihood is None or line.likelihood.mean_nats is None:
        return DASH
    return f"the least likely; mean {line.likelihood.mean_nats:.2f} nats a token"


def _tile(label: str, value: str, note: str, verdict: str = "") -> Row:
    return {"label": label, "value": value, "note": note, "verdict": verdict}


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1_000_000 else f"{number:,}"
