"""Prints what README.md quotes from stored results, cell by cell; nothing is run.

    python bench/readme.py

The results, and what makes each again: bench/default.json by `bench/pipeline.py --claims before`,
bench/narrow.json by `bench/narrow.py`, bench/pocket.json and bench/pocket_likelihood.json by
`bench/pocket.py`, bench/proof.jsonl by `bench/proof.py`, and the table of
docs/concepts/certificate.md by `bench/certified_students.py`. The closing table in README.md is
that of `make run`. A test compares README.md with these words. The last line is one JSON object: of
the quotations, those that README.md has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from narrow_task import report as narrow_report
from proving import differences, registered, results, summary
from proving.arms import Arm, Comparison
from trials.differences import shown

BENCH = Path(__file__).parent
ROOT = BENCH.parent
CERTIFICATE = ROOT / "docs" / "concepts" / "certificate.md"
PROMISE = "95 %"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def main() -> None:
    """Print each quotation, and how many of them README.md has; end with 1 where one is not."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    text = words((ROOT / "README.md").read_text(encoding="utf-8"))
    found, count = 0, 0
    for count, quoted in enumerate(quotations(), start=1):  # noqa: B007 - counted
        held = words(quoted) in text
        found += held
        print(f"{'' if held else 'NOT THERE: '}{quoted}")
    figures = {"ours": found, "others": count, "ratio": round(found / count, 3)}
    print(json.dumps({"name": "readme", **figures, "unit": "quotations"}))
    sys.exit(found < count)


def words(text: str) -> str:
    """Return a text with single spaces, however its lines are broken."""
    return " ".join(text.split())


def quotations() -> Iterator[str]:
    """Yield every quotation, in the order of README.md."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    yield demonstration(page, document("default.json"))
    narrow, pocket = document("narrow.json"), document("pocket.json")
    yield narrow_shares(narrow)
    yield certified(CERTIFICATE.read_text(encoding="utf-8"))
    yield pocket_shares(pocket)
    yield narrow_row(narrow)
    yield pocket_row()
    proof = results.ResultFile(BENCH / "proof.jsonl").results()
    yield toy_row(proof, "some kinds rare", 1.3)
    yield toy_row(proof, "no kind rare", 0.0)
    yield toy_sentence(proof)


def document(name: str) -> Any:
    """Return a stored result."""
    return json.loads((BENCH / name).read_text(encoding="utf-8"))


def demonstration(page: str, result: Mapping[str, Any]) -> str:
    """Say what the closing table of README.md shows, and the last accuracies of other runs.

    The table is that of `make run`.
    """
    students = [line.split("%") for line in page.splitlines() if re.match(r" [0-9] .* free ", line)]
    first, last = (float(parts[-3].split()[-1]) for parts in (students[0], students[-1]))
    guessing = re.search(r", guessing ([0-9.]+) %", page)
    assert guessing is not None, "README.md shows no closing table"
    others = [seed["now"]["accuracy_percent"][-1] for seed in result["seeds"]]
    return (
        f"score {first:.0f} % after the first training, {last:.0f} % after "
        f"{NUMBERS[len(students) - 1]} rounds ({NUMBERS[len(others)]} more runs: {span(others)}; "
        f"guessing: {float(guessing[1]):.0f}; teacher: 100)"
    )


def narrow_shares(result: Mapping[str, Any]) -> str:
    """Say the last accuracies of the narrow task, by the loop and by given rows alone."""
    ours, given = (
        [100 * seed["students"][name]["accuracy_share"] for seed in result["seeds"]]
        for name in (narrow_report.LOOP, narrow_report.GIVEN)
    )
    teacher = 100 * fmean(seed["teacher"]["accuracy_share"] for seed in result["seeds"])
    return (
        f"{fmean(ours):.0f} % of records right by the loop ({NUMBERS[len(ours)]} runs: "
        f"{span(ours)}), {fmean(given):.0f} % by fine-tuning alone ({span(given)}; teacher: "
        f"{teacher:.0f})"
    )


def certified(page: str) -> str:
    """Say the coverages of the narrow students at one promise, from the table of the page."""
    student, runs, coverages = "", 0, list[float]()
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        student = cells[0] or student
        if len(cells) == 5 and cells[1] == PROMISE and student.startswith(("`narrow`", "the same")):
            runs += 1
            coverages += [float(value) for value in re.findall(r"[0-9.]+", cells[3])]
    told = f"certificate ({NUMBERS[runs]} runs)"
    return f"{told}: {span(coverages)} % of requests, at {PROMISE} agreement"


def pocket_shares(result: Mapping[str, Any]) -> str:
    """Say the mean accuracies of the pretrained student, by the profile's own judge."""
    given, ours = (
        100 * fmean(fmean(seed["marks"][name].values()) for seed in result["seeds"])
        for name in ("given-2", "2")
    )
    return f"{given:.0f} % by fine-tuning alone, {ours:.0f} % by the loop"


def narrow_row(result: Mapping[str, Any]) -> str:
    """Return the row of the narrow task."""
    given, one_way = (
        shown(narrow_report.difference(result, other))
        for other in (narrow_report.GIVEN, narrow_report.ONE_WAY)
    )
    spend = f"{100 * narrow_report.spend(result['seeds']):.0f} % of the money"
    return f"| `narrow`, {NUMBERS[len(result['seeds'])]} runs | {given} | {one_way} | at {spend} |"


def pocket_row() -> str:
    """Return the row of the pretrained student, which the likelihood judged."""
    given, one_way = summary.pocket_differences()
    head = f"`pocket` judged by likelihood, some kinds rare, {NUMBERS[given.seeds]} runs"
    return f"| {head} | {shown(given)} | {shown(one_way)} | the same |"


def toy_row(proof: results.Results, kinds: str, skew: float) -> str:
    """Return a row of the mechanism test."""
    steps = toy(proof, registered.ONE_WAY, skew)
    spend = toy(proof, registered.ONE_WAY.at_spend(registered.PRIMARY), skew)
    runs = NUMBERS[len(registered.SEEDS)]
    return f"| toy size, {kinds}, {runs} runs | - | {steps} | {spend} |"


def toy_sentence(proof: results.Results) -> str:
    """Say how the primary arm stands to balance and to a paid referee."""
    balanced, paid = (
        f"({toy(proof, others, 1.3).replace(' (', ', ')}"
        for others in (registered.BALANCED.at_spend(registered.PRIMARY), registered.FRUGAL)
    )
    return f"adding all kinds alike {balanced} and, for equal steps, of a paid referee {paid}."


def toy(proof: results.Results, others: Arm, skew: float) -> str:
    """Return the primary arm less another one, base trained. All seeds have run, or it is none."""
    compared = Comparison(registered.PRIMARY, others)
    found = differences.difference(proof, compared, "trained", skew)
    if found is None or found.seeds != len(registered.SEEDS):
        return "not run"
    return shown(found)


def span(values: Sequence[float]) -> str:
    """Return the smallest and the largest value, in whole per cent."""
    return f"{min(values):.0f} to {max(values):.0f}"


if __name__ == "__main__":
    main()
