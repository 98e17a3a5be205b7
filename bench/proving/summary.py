"""The first screen of docs/evidence/results.md: when an adversary pays, which, and by how much."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials.differences import of_runs

from proving.differences import Difference, difference
from proving.registered import BALANCED, COMPARISONS, FRUGAL, PRIMARY, PRIMARY_COMPARISONS, SKEWS
from proving.results import Results

POCKET = Path(__file__).parents[1] / "pocket_likelihood.json"
"""The result of bench/pocket.py with the likelihood as judge."""


def opening(results: Results) -> str:
    """Return the heading with three sentences: where it pays, where not, and which signal."""
    rare, *others = (_verdict(results, skew) for skew in SKEWS)
    lines = [
        f"* {rare}.",
        f"* {'; '.join(others)}.",
        *_other_signals(results),
    ]
    head = (
        f"# When does an adversary pay, which, and by how much?\n\n*{PRIMARY.name.capitalize()}* "
        "finds hard rows by how unlikely the student finds the teacher's answers, without a call. "
        "Points of macro accuracy at equal spend, trained base, 95 % intervals:\n\n"
    )
    return head + "\n".join(lines) + "\n"


def _verdict(results: Results, skew: float) -> str:
    """Say how the primary arm stands to the plain ones at equal spend, base trained."""
    known = {
        compared.others.plain: found
        for compared in (*PRIMARY_COMPARISONS, *_BALANCED)
        if (found := difference(results, compared, "trained", skew)) is not None
    }
    if not known:
        return f"{_WHERE[skew]} (skew {skew:g}) the primary comparisons have not run"
    sides = {
        known[compared.others.plain].side
        for compared in PRIMARY_COMPARISONS
        if compared.others.plain in known
    }
    verdict = _VERDICTS.get(frozenset(sides), "it depends on what it is compared with")
    parts = [f"{_counted(found)} against {name}" for name, found in known.items()]
    return f"{_WHERE[skew]} (skew {skew:g}) {verdict}: {', '.join(parts)}"


def _other_signals(results: Results) -> list[str]:
    """Say how the other signals stand to the primary arm, base trained, largest skew."""
    skew = max(SKEWS)
    known = {
        compared.ours.name: found
        for compared in COMPARISONS
        if compared.others == PRIMARY
        and (found := difference(results, compared, "trained", skew)) is not None
    }
    if not known:
        return []
    told = ", ".join(
        f"{_SIGNALS[name]}{_as_frugal(results, name, skew)} {_counted(found)}"
        for name, found in known.items()
    )
    return [f"* Other signals less {PRIMARY.name}, equal steps, skew {skew:g}: {told}."]


def pretrained() -> str:
    """Say what a pretrained student gives, by bench/pocket.py."""
    given, one_way = pocket_differences()
    return (
        "Beyond toy size, a pretrained student of 135 million parameters judged by likelihood "
        f"(`pocket`, two iterations, {one_way.seeds} seeds): {one_way} points against one-way at "
        f"its spend, {given} against the given rows again ([benchmarks](benchmarks.md)).\n"
    )


def pocket_differences() -> tuple[Difference, Difference]:
    """Return the pretrained student less given rows and less one-way, judged by likelihood."""
    seeds = json.loads(POCKET.read_text(encoding="utf-8"))["seeds"]
    given, one_way = (
        of_runs([(seed["marks"]["2"], seed["marks"][other]) for seed in seeds])
        for other in ("given-2", "one-way-2")
    )
    return given, one_way


def _as_frugal(results: Results, name: str, skew: float) -> str:
    """Say where an arm has the very students of *frugal*: both call the same rows hard."""
    ours, frugal = (results.get(("trained", skew, arm), {}) for arm in (name, FRUGAL.name))
    both = ours.keys() & frugal.keys()
    same = all(_accuracies(ours[seed]) == _accuracies(frugal[seed]) for seed in both)
    return " (the very same students)" if both and same and name != FRUGAL.name else ""


def _accuracies(row: Mapping[str, Any]) -> list[float]:
    return [point["accuracy"] for point in row["iterations"]]


def _counted(found: Difference) -> str:
    return str(found) if found.seeds < 2 else f"{found} ({found.seeds} seeds)"


_SIGNALS = {
    "frugal": "a paid, noisy referee (*frugal*)",
    "scorer": "the exam's scorer",
    "likelihood progress": "learning progress with replay by forgetting",
}


_BALANCED = [
    compared
    for compared in COMPARISONS
    if compared.ours == PRIMARY and compared.others == BALANCED.at_spend(PRIMARY)
]
_WHERE = {
    1.3: "Where some kinds of task are rare",
    0.0: "Where all kinds are equally common",
    0.65: "between the two",
}
_VERDICTS = {
    frozenset({"ahead"}): "it pays",
    frozenset({"behind"}): "it loses",
    frozenset({"undecided"}): "it is not clearly ahead or behind",
}
