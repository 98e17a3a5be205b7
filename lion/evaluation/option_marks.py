"""Which option an answer chooses, and what a multiple-choice exam comes to. Pure.

The macro average over tasks is the paper's. A table of these exams measures format as much as
reasoning: chance, the share of answers without an option, and scores within their interval of
chance stand beside it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from types import MappingProxyType
from typing import Literal

from lion import statistics
from lion.metrics.exams import ExamAccuracy, TaskAccuracy, UnanswerableItem
from lion.readers.official_exams import OFFICIAL, Item
from lion.statistics import Bootstrap

Extraction = Literal["first_letter", "stated"]

PAPER: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "agieval": MappingProxyType(
            {
                "Lion-7B": 26.3,
                "Vicuna-7B": 22.6,
                "Lion-13B": 34.2,
                "Vicuna-13B": 29.3,
                "ChatGPT": 47.2,
            }
        ),
        "bbh": MappingProxyType(
            {
                "Lion-7B": 32.0,
                "Vicuna-7B": 21.9,
                "Lion-13B": 36.2,
                "Vicuna-13B": 23.3,
                "ChatGPT": 48.9,
            }
        ),
    }
)
"""Macro averages in percent, as the paper reports them."""

_STATED = re.compile(
    r"\(([A-Z])\)|(?:answer|option|choice)(?: is)?:?\s*\**([A-Z])\b|^\W*([A-Z])(?:[.):,]|\W*$)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer chooses; None where none can be read."""

    item: Item
    letter: str | None

    @property
    def right(self) -> bool:
        """Whether it is the right one; what cannot be read, or has no right option, is wrong."""
        return self.letter is not None and self.letter == self.item.answer


def extract(text: str, letters: str, rule: Extraction) -> str | None:
    """Return the option that `text` chooses, of `letters`, or None.

    first_letter: the first character that is one of the letters, as AGIEval's authors extract it
    zero-shot and the paper after them; the B of `Because` counts. stated: the first letter in
    brackets, behind `answer`, or alone at the beginning of a line.
    """
    if rule == "first_letter":
        return next((one for one in text if one in letters), None)
    found = (next(filter(None, match.groups())) for match in _STATED.finditer(text))
    return next((one for one in found if one in letters), None)


def letters(items: Sequence[Item]) -> dict[tuple[str, str], str]:
    """Return the letters of each (exam, task): those of its item with the most options."""
    found: dict[tuple[str, str], str] = {}
    for item in items:
        found[item.exam, item.task] = max(
            found.get((item.exam, item.task), ""), item.letters, key=len
        )
    return found


def choose(items: Sequence[Item], texts: Sequence[str], rule: Extraction) -> list[Choice]:
    """Return what each answer chooses."""
    known = letters(items)
    return [
        Choice(item, extract(text, known[item.exam, item.task], rule))
        for item, text in zip(items, texts, strict=True)
    ]


def exam_accuracies(choices: Sequence[Choice], bootstrap: Bootstrap) -> dict[str, ExamAccuracy]:
    """Return each exam's macro average and its tasks."""
    by_exam = groupby(choices, key=lambda one: one.item.exam)
    return {exam: _exam(exam, list(found), bootstrap) for exam, found in by_exam}


def _exam(exam: str, choices: Sequence[Choice], bootstrap: Bootstrap) -> ExamAccuracy:
    by_task = {task: list(found) for task, found in groupby(choices, key=lambda one: one.item.task)}
    tasks = {
        task: _task(found, OFFICIAL[exam][task], bootstrap.confidence)
        for task, found in by_task.items()
    }
    macro = statistics.macro_accuracy([(one.item.task, one.right) for one in choices], bootstrap)
    assert macro is not None  # a task is read from a file with items
    chance = fmean(one.chance_percent for one in tasks.values())
    official = sum(OFFICIAL[exam].values())
    return ExamAccuracy(
        average_percent=100 * macro.value,
        interval_percent=_percent(macro.low, macro.high),
        chance_percent=chance,
        within_chance=_within(chance, macro.low, macro.high),
        items=len(choices),
        official_items=official,
        subset=len(tasks) < len(OFFICIAL[exam]) or len(choices) != official,
        missing_tasks=tuple(task for task in OFFICIAL[exam] if task not in tasks),
        unread_percent=100 * fmean(one.letter is None for one in choices),
        without_right_option=tuple(
            UnanswerableItem(one.item.task, one.item.number, one.item.target)
            for one in choices
            if one.item.answer is None
        ),
        paper_percent=dict(PAPER[exam]),
        tasks=tasks,
    )


def _task(choices: Sequence[Choice], official: int, confidence: float) -> TaskAccuracy:
    found = statistics.accuracy([one.right for one in choices], confidence)
    assert found is not None
    chance = 100 * fmean(1 / len(one.item.options) for one in choices)
    return TaskAccuracy(
        accuracy_percent=100 * found.value,
        interval_percent=_percent(found.low, found.high),
        chance_percent=chance,
        within_chance=_within(chance, found.low, found.high),
        unread_percent=100 * fmean(one.letter is None for one in choices),
        items=len(choices),
        official_items=official,
    )


def _percent(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (100 * low, 100 * high)


def _within(chance: float, low: float | None, high: float | None) -> bool | None:
    """Tell whether chance lies within the interval: then the score says nothing above it."""
    return None if low is None or high is None else 100 * low <= chance <= 100 * high


def sentence(exam: str, found: ExamAccuracy) -> str:
    """Return an exam's outcome in one sentence."""
    part = f" (a subset: {found.items:,} of {found.official_items:,} items)"
    near = ", within its interval of chance" if found.within_chance else ""
    return (
        f"{exam} {found.average_percent:.1f} %{part if found.subset else ''}{near}; "
        f"chance {found.chance_percent:.1f} %, unread {found.unread_percent:.1f} %"
    )
