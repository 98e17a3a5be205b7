"""What the loop was worth on this task: students compared row by row on the exam, and an advice.

The advice is for a person: no stage reads it, and no decision of the pipeline rests on the exam.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from lion import pools, statistics
from lion.config import project
from lion.config.settings import Settings
from lion.discrimination import scorers
from lion.iterations import IterationMetrics, Read
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, GrowMetrics, TeachMetrics
from lion.pipeline.stale_outputs import StaleOutputs
from lion.records import jsonl
from lion.records.rows import Answer, Instruction
from lion.reporting import numbers
from lion.reporting.numbers import share
from lion.reporting.table import dollars
from lion.statistics import Estimate

Marks = Mapping[str, bool | None]
_MARGIN = 0.05  # share of the rows: less behind the teacher is shipped, less gain is not worth it


@dataclass(frozen=True, slots=True)
class MarkedRun:
    """The files of the params at hand: `read` returns metrics, `has` says whether rows exist."""

    settings: Settings
    read: Read = files.read_if
    has: Callable[[Path], bool] = Path.exists
    _marks: dict[str, Marks] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_workspace(cls) -> Self:
        """Return the working folder's files but those of other params. Raises SettingsError."""
        stale = StaleOutputs.of_workspace()
        return cls(project.load_settings(), stale.read_current, stale.has_current)

    def marks(self, name: str) -> Marks:
        """Return the marks of a student on the exam by row; empty where nothing can be marked.

        Read and marked once.
        """
        if name not in self._marks:
            self._marks[name] = self._marked(name)
        return self._marks[name]

    def _marked(self, name: str) -> Marks:
        path, scorer = project.data(name, "exam_responses.jsonl"), self.settings.exam.scorer
        if scorer.kind == "referee" or not self.has(path) or not self.has(project.EXAM):
            return {}
        texts = {row.id: row.text for row in jsonl.read(path, Answer)}
        exam, _ = pools.set_apart(jsonl.read(project.EXAM, Instruction), self.settings.exam.certify)
        return {
            row.id: scorers.score(texts[row.id], row.expected, scorer, row.id).correct
            for row in exam
            if row.id in texts
        }

    def spent(self, names: Sequence[str], *stages: str) -> str:
        """Return what `stages` of iterations or baselines cost on this machine."""
        paths = [project.run_record(f"{stage}@{name}") for name in names for stage in stages]
        records = [record for path in paths if (record := self.read(path, RunRecord))]
        if not records:
            return "unknown here"
        parts = [part for record in records for part in record.asked.values()]
        unpriced = sum(part.unpriced for part in parts)
        return dollars(sum(part.nanodollars for part in parts), unpriced)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A student less another one, on the exam rows that both have a mark for."""

    student: str
    other: str
    difference: Estimate

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval; None where there is none."""
        low, high = self.difference.low, self.difference.high
        return None if low is None or high is None else (low, high)

    @property
    def is_gain(self) -> bool:
        """Whether the interval is above 0."""
        return self.bounds is not None and self.bounds[0] > 0

    @property
    def is_loss(self) -> bool:
        """Whether the interval is below 0."""
        return self.bounds is not None and self.bounds[1] < 0

    @property
    def is_too_small(self) -> bool:
        """Whether there is no gain that is worth its price: by value, or by the whole interval.

        No significance alone is no such finding: a wide interval may hold a large gain.
        """
        high = self.difference.high
        return self.difference.value <= 0 or (high is not None and high < _MARGIN)

    @property
    def points(self) -> str:
        """The difference in points of per cent, with its interval."""
        between = "" if self.bounds is None else f" ({numbers.interval(self.bounds, 100, '+')})"
        return f"{100 * self.difference.value:+.1f} points{between}"


class StudentComparison(msgspec.Struct, frozen=True):
    """A student less `other` on `exam_rows`; of a baseline its new rows and share of the spend."""

    other: str
    is_baseline: bool
    exam_rows: int
    accuracy_share_difference: float
    accuracy_share_difference_interval: tuple[float, float] | None
    new_rows: int | None = None
    spend_share: float | None = None


def comparisons(line: IterationMetrics, run: MarkedRun) -> list[StudentComparison]:
    """Return a student less the one before, less the base, and less each baseline made like it."""
    name, baselines = line.iteration, run.settings.baselines
    if line.previous is None:
        return []
    like = [other for other, entry in baselines.items() if entry.like == name]
    others = dict.fromkeys([line.previous, project.BASE, *like])
    pairs = (paired_difference(run, name, other) for other in others)
    return [_comparison(pair, run) for pair in pairs if pair is not None]


def _comparison(pair: PairedDifference, run: MarkedRun) -> StudentComparison:
    baseline = run.settings.baselines.get(pair.other)
    grows = baseline is not None and baseline.rows != "given"
    new_rows, spend_share = _grown(pair.other, run) if grows else (None, None)
    return StudentComparison(
        other=pair.other,
        is_baseline=baseline is not None,
        exam_rows=pair.difference.count,
        accuracy_share_difference=pair.difference.value,
        accuracy_share_difference_interval=pair.bounds,
        new_rows=new_rows,
        spend_share=spend_share,
    )


def paired_difference(run: MarkedRun, student: str, other: str) -> PairedDifference | None:
    """Return a student less another, paired by row (Newcombe's interval); None without marks."""
    first, second = run.marks(student), run.marks(other)
    pairs = [(mark, second[identity]) for identity, mark in first.items() if identity in second]
    difference = statistics.difference(pairs, run.settings.evaluate.confidence)
    return None if difference is None else PairedDifference(student, other, difference)


def worth_sentences(lines: Sequence[IterationMetrics], run: MarkedRun) -> list[str]:
    """Return what the last iteration and the baselines tell, and last the advice.

    Empty where no iteration's student has been marked.
    """
    examined = [line for line in lines if line.previous and line.accuracy_share is not None]
    if not examined:
        return []
    last = examined[-1]
    gain = paired_difference(run, last.iteration, str(last.previous))
    if gain is None:
        return []
    finals = list(_finals(last.iteration, run))
    return [
        _gains(gain, paired_difference(run, last.iteration, project.BASE)),
        *(_against(comparison, run) for comparison in finals),
        *_not_run(last.iteration, finals, run),
        advice(last, gain, finals, run.settings, _loop_spend([last.iteration], run)),
    ]


def _gains(gain: PairedDifference, over_base: PairedDifference | None) -> str:
    text = f"Student {gain.student} less student {gain.other}: {gain.points}"
    if over_base is not None and gain.other != project.BASE:
        text += f"; less the base: {over_base.points}"
    return f"{text}, on {gain.difference.count:,} exam rows."


def _finals(last: str, run: MarkedRun) -> Iterator[PairedDifference]:
    """Yield the last student less each baseline that is made like it."""
    for name, baseline in run.settings.baselines.items():
        comparison = paired_difference(run, last, name) if baseline.like == last else None
        if comparison is not None:
            yield comparison


def _against(comparison: PairedDifference, run: MarkedRun) -> str:
    name, basis = comparison.other, _basis(comparison.other, run)
    return f"Student {comparison.student} less {name}: {comparison.points}; {name} has {basis}."


def _basis(name: str, run: MarkedRun) -> str:
    settings = run.settings
    if settings.baselines[name].rows == "given":
        return "the given rows alone, the same steps, no call for its rows"
    rows, spend_share = _grown(name, run)
    spend = "none" if spend_share is None else share(spend_share)
    cost = run.spent(settings.lineage(name), "grow", "evaluate")
    return (
        f"{rows:,} new rows of {settings.baselines[name].rows} parents, the same steps, {spend} of "
        f"the loop's spend (here: {cost})"
    )


def _grown(name: str, run: MarkedRun) -> tuple[int, float | None]:
    """Return the new rows of a baseline and those before it, and their share of the loop's spend.

    The share is None where the loop spent nothing.
    """
    parts = [
        run.read(project.metrics(step, GrowMetrics.FILE), GrowMetrics)
        for step in run.settings.lineage(name)
    ]
    grown = [part for part in parts if part is not None]
    total = sum(part.like_weighted_tokens for part in grown)
    spent = sum(part.weighted_tokens for part in grown)
    return sum(part.rows for part in grown), spent / total if total else None


def _not_run(last: str, finals: Sequence[PairedDifference], run: MarkedRun) -> Iterator[str]:
    """Yield which baselines are missing, and what they would cost."""
    settings = run.settings
    declared = [name for name, entry in settings.baselines.items() if entry.like == last]
    missing = [name for name in declared if name not in [row.other for row in finals]]
    if missing:
        yield f"Not run yet: {', '.join(missing)}; `lion plan` has the calls, `lion run` runs them."
    elif not declared:
        yield (
            f"No baseline was run. Given rows alone cost no call; one-way imitation about as much "
            f"as the loop: {_loop_spend(settings.lineage(last), run)}. `baselines` in params.yaml "
            "declares both (docs/tutorials/narrow-task.md); `lion plan` prices them."
        )


def _loop_spend(names: Sequence[str], run: MarkedRun) -> str:
    """Return tokens and money of iterations, without their exams."""
    kinds = (ReviewMetrics, GenerateMetrics, TeachMetrics)
    parts = [run.read(project.metrics(name, kind.FILE), kind) for name in names for kind in kinds]
    tokens = sum(usage.tokens for part in parts if part for usage in part.used.values())
    return f"{tokens:,} tokens, {run.spent(names, 'review', 'generate', 'teach')}"


def advice(
    last: IterationMetrics,
    gain: PairedDifference,
    finals: Sequence[PairedDifference],
    settings: Settings,
    price: str,
) -> str:
    """Return one sentence: ship, stop or go on, and why; `price` is that of one more iteration."""
    name, interval = last.iteration, last.accuracy_share_difference_interval
    if interval is not None and interval[0] > -_MARGIN:
        behind = f"at most {100 * max(0.0, -interval[0]):.1f} points behind"
        standing = "better than" if interval[0] > 0 else behind
        return f"Ship student {name}: it is {standing} its teacher{_by_category(last)}."
    decided = (_against_advice(comparison, settings) for comparison in finals)
    sentence = next((text for text in decided if text is not None), None)
    return sentence or _undecided(finals, settings) or _gain_advice(name, gain, price)


def _by_category(line: IterationMetrics) -> str:
    """Return the difference over categories, as the table's accuracies, where it is another one."""
    difference = line.category_difference
    return "" if difference is None else f" by row, {100 * difference:+.1f} points by category"


def _against_advice(comparison: PairedDifference, settings: Settings) -> str | None:
    """Return the advice that follows from one baseline; None where none does."""
    rows = settings.baselines[comparison.other].rows
    if rows == "given" and comparison.is_too_small:
        return (
            f"Stop: the given rows alone do as well as the loop: {comparison.points} over them, on "
            f"{comparison.difference.count:,} exam rows."
        )
    if comparison.is_loss:
        return (
            f"Stop the feedback: {comparison.other} is better at equal spend; set "
            f"generate.feedback: {rows}."
        )
    return None


def _undecided(finals: Sequence[PairedDifference], settings: Settings) -> str | None:
    """Return why a gain over the given rows is not known; None where it is, or has no baseline."""
    for comparison in finals:
        if settings.baselines[comparison.other].rows == "given" and not comparison.is_gain:
            return f"Not known: {comparison.points} over the given rows, {_by_chance(comparison)}."
    return None


def _gain_advice(name: str, gain: PairedDifference, price: str) -> str:
    gained = f"iteration {name} gained {gain.points}"
    if gain.is_too_small:
        return f"Stop: {gained}, on {gain.difference.count:,} exam rows; ship its student."
    if gain.is_gain:
        return f"Go on: {gained}; one more costs about {price}."
    return f"Not known: {gained}, {_by_chance(gain)}."


def _by_chance(difference: PairedDifference) -> str:
    rows = difference.difference.count
    return f"which {rows:,} exam rows cannot tell from chance; use a larger exam"
