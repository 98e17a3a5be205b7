"""What another size takes: proportions that arithmetic demands, and a page that the code wrote."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import ROOT

from lion import project
from lion.asking.pricing import Prices
from lion.views import scaling


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where no run was measured."""
    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    monkeypatch.chdir(tmp_path)


def reach(rows: int, weights: int) -> scaling.Reach:
    settings = project.load_settings(ROOT / "profiles" / "paper.yaml")
    return scaling.reach(settings, rows, weights, Prices({}))


def test_calls_are_those_of_the_papers_arithmetic() -> None:
    """52k + 3 x 6k answers; 2 reviews of 52k, 58k and 64k (method: four fifths of the calls)."""
    found = reach(52_000, 10**9)
    answers, reviews = 52_000 + 3 * 6_000, 2 * (52_000 + 58_000 + 64_000)
    generated = round(6_000 / 0.9)
    assert found.calls - answers - reviews == pytest.approx(3 * generated, rel=0.02)


def test_calls_grow_with_rows_and_gpu_hours_with_weights() -> None:
    small, more, larger = reach(52_000, 10**9), reach(520_000, 10**9), reach(52_000, 8 * 10**9)
    assert more.calls == pytest.approx(10 * small.calls, rel=1e-3)
    assert more.novelty == pytest.approx(100 * small.novelty, rel=1e-3)
    assert (larger.calls, larger.nanodollars) == (small.calls, small.nanodollars)
    assert larger.tuning == pytest.approx(8 * small.tuning)
    assert larger.answering == pytest.approx(8 * small.answering)


def test_an_hour_of_gpu_is_its_definition() -> None:
    """A billion weights see three epochs of all rows: 6 FLOPs a weight and token."""
    found = reach(52_000, 10**9)
    examples = 52_000 + 3 * 6_000
    tokens = found.tuning * scaling.PEAK * scaling.TUNING / (6 * 10**9)
    assert 200 < tokens / (3 * examples) < 1024


def test_the_page_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "scaling.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
