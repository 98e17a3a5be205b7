"""Figures of the README are those of the results in bench/."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fixtures import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from proving import differences, registered, results
from proving.arms import Arm, Comparison

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAME = "the same: free reviews"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"readme_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def document(name: str) -> Any:
    return json.loads((ROOT / "bench" / name).read_text(encoding="utf-8"))


def told(value: float, low: float, high: float) -> str:
    return f"{value:+.1f} ({low:.1f} to {high:.1f})"


def toy(others: Arm, skew: float, ours: Arm = registered.PRIMARY) -> str:
    """Return what the mechanism test found, as the README writes it."""
    done = results.ResultFile(ROOT / "bench" / "proof.jsonl").results()
    found = differences.difference(done, Comparison(ours, others), "trained", skew)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.seeds == 10
    return told(100 * found.mean, 100 * found.low, 100 * found.high)


def test_the_row_of_the_narrow_task() -> None:
    report = module(ROOT / "bench" / "narrow_task" / "report.py")
    narrow = document("narrow.json")
    given, one_way = (
        told(*report.difference(narrow, other)) for other in (report.GIVEN, report.ONE_WAY)
    )
    assert f"| `narrow`, three runs | {given} | {one_way} | {SAME} |" in README


@pytest.mark.parametrize(("student", "words"), [("2", "by the loop"), ("given-2", "fine-tuning")])
def test_the_shares_of_the_narrow_task(student: str, words: str) -> None:
    shares = [
        100 * seed["students"][student]["accuracy_share"]
        for seed in document("narrow.json")["seeds"]
    ]
    cell = README[README.index("| gives |") :].splitlines()[0].split("|")[3]
    part = next(part for part in cell.split(", ") if words in part)
    assert f"{sum(shares) / len(shares):.0f} %" in part
    assert f"{min(shares):.0f} to {max(shares):.0f}" in part


def test_the_row_of_the_pretrained_student() -> None:
    pocket = module(ROOT / "bench" / "pocket.py")
    seeds = document("pocket.json")["seeds"]
    given, one_way = (pocket.points(seeds, "2", f"{name}-2") for name in ("given", "one-way"))
    row = f"| `pocket`, some kinds rare, three runs | {given} | {one_way} | {SAME} |"
    assert row in README


@pytest.mark.parametrize(("kinds", "skew"), [("some kinds rare", 1.3), ("no kind rare", 0.0)])
def test_the_rows_of_the_toy(kinds: str, skew: float) -> None:
    steps = toy(registered.ONE_WAY, skew)
    spend = toy(registered.ONE_WAY.at_spend(registered.PRIMARY), skew)
    assert f"| toy size, {kinds}, ten runs, free | - | {steps} | {spend} |" in README


def test_the_sentence_below_the_rows() -> None:
    balanced, paid = (
        f"({toy(others, 1.3).replace(' (', ', ')}"
        for others in (registered.BALANCED.at_spend(registered.PRIMARY), registered.FRUGAL)
    )
    sentence = f"adding as many of each kind {balanced} and of a paid referee {paid}."
    assert sentence in " ".join(README.split())
