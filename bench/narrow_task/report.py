"""What the seeds say together: the table of docs/, and the loop less each baseline."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from proving.differences import Difference
from trials.differences import of_runs, shown

BEGIN, END = "<!-- bench/narrow.py -->\n\n", "\n<!-- end -->\n"
"""Where the page has the block."""
LABELS = {
    "0": "base, 3,000 tickets",
    "1": "iteration 1",
    "2": "iteration 2",
    "given-2": "given rows, the same steps",
    "one-way-2": "one-way, the same steps and spend",
}
LOOP, ONE_WAY, GIVEN = "2", "one-way-2", "given-2"

Result = Mapping[str, Any]


def difference(result: Result, other: str) -> Difference:
    """Return the loop's last student less another, over seeds; over rows where there is one."""
    return of_runs([(_marks(seed, LOOP), _marks(seed, other)) for seed in result["seeds"]])


def _marks(seed: Mapping[str, Any], name: str) -> dict[str, bool]:
    marks = seed["students"][name]["marks"]
    return {str(row): mark == "1" for row, mark in enumerate(marks)}


def as_markdown(result: Result) -> str:
    """Return the block of docs/: a table of the students, and the differences."""
    seeds = result["seeds"]
    fields = list(seeds[0]["teacher"]["fields"])
    rows = [[label, *_cells(seeds, name, fields)] for name, label in LABELS.items()]
    teachers = [seed["teacher"] for seed in seeds]
    rows.append(["teacher", *_shares(teachers, fields)])
    lines = [
        "| | " + " | ".join(["whole answers", *fields]) + " |",
        "|---|" + "---|" * (1 + len(fields)),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join([*lines, "", *_sentences(result)]) + "\n"


def _cells(seeds: Sequence[Mapping[str, Any]], name: str, fields: Sequence[str]) -> list[str]:
    return _shares([seed["students"][name] for seed in seeds], fields)


def _shares(parts: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> list[str]:
    whole = fmean(part["accuracy_share"] for part in parts)
    each = [fmean(part["fields"][field] for part in parts) for field in fields]
    return [f"{100 * value:.1f} %" for value in (whole, *each)]


def _sentences(result: Result) -> list[str]:
    seeds = result["seeds"]
    names = ", ".join(str(seed["seed"]) for seed in seeds)
    several = len(seeds) > 1
    commits = ", ".join(sorted({seed["commit"] for seed in seeds}))
    minutes = fmean(seed["seconds"] for seed in seeds) / 60
    text = (
        f"{'Mean of seeds' if several else 'Seed'} {names}; 360 held-out tickets of 18 kinds each; "
        "the teacher errs on purpose on the hardest level. The loop less one-way: "
        f"{_points(result, ONE_WAY)}, where one-way took {100 * spend(seeds):.0f} % of the loop's "
        "spend. "
        f"The loop less given rows: {_points(result, GIVEN)}. {_by_seed(seeds)}95 % intervals over "
        f"{'seeds' if several else 'rows'}. Measured with commit {commits} on "
        f"{result['machine']}, {minutes:.0f} minutes a seed, {result['load']}."
    )
    return textwrap.wrap(text, 128, break_on_hyphens=False)


def _by_seed(seeds: Sequence[Mapping[str, Any]]) -> str:
    """Return the last student's accuracy of each seed, as a sentence, where there are several."""
    shares = [f"{100 * seed['students'][LOOP]['accuracy_share']:.1f}" for seed in seeds]
    return f"Iteration {LOOP} by seed: {', '.join(shares)} %. " if len(seeds) > 1 else ""


def _points(result: Result, other: str) -> str:
    return f"{shown(difference(result, other))} points"


def spend(seeds: Sequence[Mapping[str, Any]]) -> float:
    """Return what one-way spent over what the loop did, in weighted tokens."""
    parts = [
        student
        for seed in seeds
        for name, student in seed["students"].items()
        if name.startswith("one-way")
    ]
    own = sum(part["weighted_tokens"] for part in parts)
    return float(own / sum(part["like_weighted_tokens"] for part in parts))


def as_text(result: Result) -> str:
    """Return what the terminal shows."""
    return as_markdown(result)


def write(result: Result, page: Path) -> None:
    """Put the block in its place on the page. Raises ValueError where the page has none."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(head + BEGIN + as_markdown(result) + END + tail, encoding="utf-8")


def claim(result: Result) -> dict[str, Any]:
    """Return the line for machines."""
    ours, others = (
        fmean(seed["students"][name]["accuracy_share"] for seed in result["seeds"])
        for name in (LOOP, ONE_WAY)
    )
    return {
        "name": "narrow: the loop against one-way at equal steps and spend",
        "ours": round(ours, 4),
        "others": round(others, 4),
        "ratio": round(ours / others, 4) if others else None,
        "unit": "share of whole answers",
    }
