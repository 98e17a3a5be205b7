"""Claims about lion.statistics: worked numbers, known coverage, None for nothing."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lion.errors import DataError
from lion.statistics import (
    Bootstrap,
    Estimate,
    accuracy,
    accuracy_by_category,
    difference,
    macro_accuracy,
    quality,
)

REVIEWS = Path(__file__).parents[2] / "shared" / "data" / "vicuna80" / "reviews"
DRAW = Bootstrap(confidence=0.95, resamples=500, seed=0)

categories = st.sampled_from(["a", "b", None])
marks = st.sampled_from([True, False, None])


def test_nothing_to_measure_is_none() -> None:
    """Never 0, never 100."""
    assert accuracy([], 0.95) is None
    assert accuracy([None, None], 0.95) is None
    assert macro_accuracy([], DRAW) is None
    assert macro_accuracy([(None, True), ("a", None)], DRAW) is None
    assert accuracy_by_category([(None, True), ("a", None)], 0.95) == {}
    assert difference([], DRAW) is None
    assert difference([(True, None), (None, True)], DRAW) is None
    assert quality([], DRAW) is None


def test_wilson_s_interval_of_a_worked_example() -> None:
    """8 of 10 at 95 %: 0.4902 to 0.9433 (by Wilson's formula, z = 1.959964)."""
    z, n, p = 1.959963984540054, 10, 0.8
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = accuracy([True] * 8 + [False] * 2, 0.95)
    assert found is not None
    assert found.value == 0.8
    assert found.low == pytest.approx(centre - half) == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(centre + half) == pytest.approx(0.9433, abs=1e-4)


def test_rows_that_could_not_be_marked_do_not_count() -> None:
    """Neither as wrong nor as right."""
    assert accuracy([True, None, False, None], 0.95) == accuracy([True, False], 0.95)
    assert macro_accuracy([("a", True), ("a", None), ("a", False)], DRAW) == macro_accuracy(
        [("a", True), ("a", False)], DRAW
    )
    assert difference([(True, True), (True, None), (False, True)], DRAW) == difference(
        [(True, True), (False, True)], DRAW
    )


@given(st.lists(marks, min_size=1).filter(lambda marks: set(marks) != {None}))
def test_accuracy_lies_in_its_interval(given_marks: list[bool | None]) -> None:
    """And all of it in [0, 1]; a higher confidence is a wider interval."""
    narrow, wide = (accuracy(given_marks, confidence) for confidence in (0.8, 0.99))
    assert narrow is not None
    assert wide is not None
    bounds = [0, wide.low, narrow.low, narrow.value, narrow.high, wide.high, 1]
    assert [bound for bound in bounds if bound is not None] == pytest.approx(
        sorted(bound for bound in bounds if bound is not None)
    )


def test_a_category_counts_as_one_whatever_its_size() -> None:
    """Macro is (1 + 0.5) / 2, micro 9 of 10."""
    rows: list[tuple[str | None, bool | None]] = [("big", True)] * 8
    rows += [("small", True), ("small", False)]
    macro = macro_accuracy(rows, DRAW)
    micro = accuracy([mark for _, mark in rows], 0.95)
    assert macro is not None
    assert micro is not None
    assert (macro.value, micro.value, macro.count) == (0.75, 0.9, 10)
    # Only `small` varies: 0, 1/2 or 1 of it, a quarter of the resamples at either end.
    assert (macro.low, macro.high) == (0.5, 1.0)
    by_category = accuracy_by_category(rows, 0.95)
    assert {name: found.value for name, found in by_category.items()} == {"big": 1.0, "small": 0.5}


@settings(max_examples=50)
@given(st.lists(st.tuples(categories, marks), max_size=20))
def test_macro_is_the_mean_of_the_categories(
    rows: list[tuple[str | None, bool | None]],
) -> None:
    """As accuracy_by_category tells them."""
    found = macro_accuracy(rows, Bootstrap(0.95, 20, 0))
    parts = accuracy_by_category(rows, 0.95)
    if found is None:
        assert parts == {}
        return
    assert found.value == pytest.approx(sum(p.value for p in parts.values()) / len(parts))
    assert found.count == sum(part.count for part in parts.values())
    assert (found.low is None) == (min(part.count for part in parts.values()) < 2)


def test_one_row_has_no_interval() -> None:
    """Resampled, it would always be itself, and look certain."""
    assert quality([(8.0, 9.0)], DRAW) == Estimate(800 / 9, None, None, 1)
    assert difference([(True, False)], DRAW) == Estimate(1.0, None, None, 1)
    assert macro_accuracy([("a", True), ("b", True), ("b", False)], DRAW) == Estimate(
        0.75, None, None, 3
    )


def test_rows_that_all_agree_have_an_interval_of_one_point() -> None:
    """Where scipy's default method gives no number at all."""
    assert difference([(True, True)] * 5, DRAW) == Estimate(0.0, 0.0, 0.0, 5)
    assert quality([(9.0, 9.0)] * 5, DRAW) == Estimate(100.0, 100.0, 100.0, 5)


def test_quality_of_a_worked_example() -> None:
    """100 * (7 + 8) / (10 + 9): the ratio of the sums, not the mean of the ratios."""
    found = quality([(7, 10), (8, 9)], DRAW)
    assert found is not None
    assert found.value == pytest.approx(1500 / 19)
    assert found.low == pytest.approx(70.0)
    assert found.high == pytest.approx(800 / 9)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=15),
    st.integers(1, 5),
)
def test_quality_does_not_depend_on_the_scale(pairs: list[tuple[int, int]], factor: int) -> None:
    """Scores of 1 to 10 or of 5 to 50 say the same; interval included, and around the value."""
    plain, scaled = (quality([(k * s, k * t) for s, t in pairs], DRAW) for k in (1, factor))
    assert plain is not None
    assert scaled is not None
    assert scaled.value == pytest.approx(plain.value)
    assert scaled.low == pytest.approx(plain.low)
    assert plain.low is not None
    assert plain.high is not None
    ratios = [100 * student / teacher for student, teacher in pairs]
    slack = 1e-9
    assert min(ratios) - slack <= plain.low <= plain.high <= max(ratios) + slack


@pytest.mark.parametrize("score", [-1.0, 0.0, math.nan, math.inf])
def test_what_is_no_score_is_refused(score: float) -> None:
    """The authors' -1 for a failed review would be averaged as a score."""
    for pair in ((score, 9.0), (9.0, score)):
        with pytest.raises(DataError, match="score above 0"):
            quality([(8.0, 9.0), pair], DRAW)


def test_the_difference_is_paired() -> None:
    """Student and teacher right on the same rows: no doubt, however few rows are right."""
    same = difference([(True, True), (False, False)] * 50, DRAW)
    crossed = difference([(True, False), (False, True)] * 50, DRAW)
    assert same == Estimate(0.0, 0.0, 0.0, 100)
    assert crossed is not None
    assert crossed.low is not None
    assert crossed.high is not None
    assert crossed.value == 0.0
    # By hand: the standard error is sqrt(1 / 100).
    assert crossed.low == pytest.approx(-0.196, abs=0.05)
    assert crossed.high == pytest.approx(0.196, abs=0.05)


def test_the_same_seed_draws_the_same_interval() -> None:
    """And another seed another one, of the same value."""
    draw = random.Random(1)
    pairs = [(draw.uniform(1, 10), draw.uniform(1, 10)) for _ in range(60)]
    one, again, other = (quality(pairs, Bootstrap(0.95, 200, seed)) for seed in (0, 0, 1))
    assert one == again
    assert one is not None
    assert other is not None
    assert one.value == other.value
    assert one.low != other.low


def test_macro_agrees_with_the_normal_interval_where_there_are_many_rows() -> None:
    """Two categories of 400: the standard error by hand is sqrt(sum p(1-p)/n) / 2."""
    rows: list[tuple[str | None, bool | None]] = [("a", n < 300) for n in range(400)]
    rows += [("b", n < 100) for n in range(400)]
    found = macro_accuracy(rows, Bootstrap(0.95, 4000, 0))
    half = 1.96 * math.sqrt(2 * 0.75 * 0.25 / 400) / 2
    assert found is not None
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - half, abs=0.003)
    assert found.high == pytest.approx(0.5 + half, abs=0.003)


def test_the_whole_exam_takes_less_than_a_second_per_interval() -> None:
    """1,500 rows, 30 categories, 2,000 resamples: vectorised, not a loop in Python."""
    draw = random.Random(0)
    whole = Bootstrap(0.95, 2000, 0)
    pairs = [(draw.random() < 0.6, draw.random() < 0.9) for _ in range(1500)]
    rows = [(str(n % 30), mark) for n, (mark, _) in enumerate(pairs)]
    scores = [(draw.uniform(1, 10), draw.uniform(1, 10)) for _ in range(1500)]
    accuracy([True], 0.95)  # the import of scipy is not what is measured
    start = thread_time()
    assert difference(pairs, whole) is not None
    assert macro_accuracy(rows, whole) is not None
    assert quality(scores, whole) is not None
    assert thread_time() - start < 3


def test_importing_the_module_imports_no_scipy() -> None:
    """A command that only prints a table must not pay for it."""
    code = "import sys, lion.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_quality_of_the_published_review_file() -> None:
    """Published for the real GPT-4 reviews of the 80 Vicuna questions: 583.0 against 704.0."""
    if not REVIEWS.is_dir():
        pytest.skip(f"{REVIEWS} is absent: the real reviews are not part of the project")
    (path,) = REVIEWS.iterdir()
    scores = [json.loads(line)["score"] for line in path.read_text("utf-8").splitlines()]
    found = quality([(one, other) for one, other in scores], DRAW)
    assert found is not None
    assert found.value == pytest.approx(100 * 583 / 704)
    assert found.count == 80
