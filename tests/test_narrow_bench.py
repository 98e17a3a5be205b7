"""The measurement of the narrow profile: its intervals, its table, and the page that has it."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fixtures import ROOT

PAGE = ROOT / "docs" / "tutorials" / "narrow-task.md"
RESULT = ROOT / "bench" / "narrow.json"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    """Return the module, whose folder is in no test's path."""
    sys.path.insert(0, str(ROOT / "bench"))
    path = ROOT / "bench" / "narrow_task" / "report.py"
    spec = importlib.util.spec_from_file_location("narrow_report", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def student(marks: np.ndarray, **more: float) -> dict[str, Any]:
    text = "".join(str(int(mark)) for mark in marks)
    share = float(marks.mean())
    return {"accuracy_share": share, "fields": {"label": share}, "marks": text, **more}


def result(seeds: int, shares: dict[str, float], rows: int = 400) -> dict[str, Any]:
    """Return a result of students that answer the same rows, more of them right or fewer."""
    rng = np.random.default_rng(1)
    documents = []
    for seed in range(seeds):
        level = rng.random(rows)
        students = {name: student(level < share) for name, share in shares.items()}
        for name in ("one-way-1", "one-way-2"):
            students[name] |= {"weighted_tokens": 90.0, "like_weighted_tokens": 100.0}
        teacher = {"accuracy_share": 1.0, "fields": {"label": 1.0}}
        documents.append(
            {"seed": seed, "commit": "c0ffee", "students": students, "teacher": teacher}
            | {"seconds": 300.0}
        )
    return {"machine": "a machine", "load": "alone", "seeds": documents}


SHARES = {"0": 0.4, "1": 0.6, "2": 0.8, "given-2": 0.5, "one-way-1": 0.6, "one-way-2": 0.75}


def test_a_difference_is_over_seeds_and_of_one_seed_over_rows(report: ModuleType) -> None:
    """By hand: gaps of 4, 6 and 11 points have the mean 7 and Student's interval 7 +- 8.96."""
    seeds = []
    for gap in (4, 6, 11):
        [seed] = result(1, SHARES, rows=100)["seeds"]
        marks = np.arange(100)
        seed["students"] |= {"2": student(marks < 50 + gap), "one-way-2": student(marks < 50)}
        seeds.append(seed)
    found = report.difference({"seeds": seeds}, "one-way-2")
    assert [found.mean, found.low, found.high] == pytest.approx([0.07, -0.0196, 0.1596], abs=1e-4)
    one = report.difference(result(1, SHARES), "one-way-2")
    unpaired = 1.96 * np.sqrt(0.8 * 0.2 / 400 + 0.75 * 0.25 / 400)
    assert one.high - one.low < unpaired  # half as wide: rows that both get right do not count


def test_a_loss_is_shown_as_one(report: ModuleType) -> None:
    worse = result(2, {**SHARES, "2": 0.6})
    assert report.difference(worse, "one-way-2").mean < 0
    assert "The loop less one-way: -1" in " ".join(report.as_markdown(worse).split())


def test_the_block_and_the_line_for_machines(report: ModuleType) -> None:
    three = result(3, SHARES)
    assert report.as_markdown(three).splitlines()[0] == "| | whole answers | label |"
    text = " ".join(report.as_markdown(three).split())
    assert "Mean of seeds 0, 1, 2; 360 held-out tickets" in text
    assert "one-way took 90 % of the loop's spend" in text
    assert "with commit c0ffee on a machine, 5 minutes a seed, alone." in text
    assert "| Seed 0; 360" in " ".join(report.as_markdown(result(1, SHARES)).split())
    claim = report.claim(three)
    assert set(claim) == {"name", "ours", "others", "ratio", "unit"}
    assert claim["ratio"] == pytest.approx(claim["ours"] / claim["others"], abs=1e-3)


def test_the_page_has_the_block_of_the_result(report: ModuleType, tmp_path: Path) -> None:
    """Written again it stays as it is; before the first result the page only has its place."""
    page = tmp_path / "page.md"
    page.write_bytes(PAGE.read_bytes())
    measured = json.loads(RESULT.read_text()) if RESULT.exists() else result(2, SHARES)
    report.write(measured, page)
    assert report.as_markdown(measured) in page.read_text()
    assert RESULT.exists() == (page.read_bytes() == PAGE.read_bytes())
