"""Claims about lion.statistics: worked numbers, known coverage, None for nothing."""

import functools
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from time import thread_time

import numpy as np
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
    group_difference,
    macro_accuracy,
    mean,
    quality,
)

REVIEWS = Path(__file__).parents[2] / "shared" / "data" / "vicuna80" / "reviews"

categories = st.sampled_from(["a", "b", None])
marks = st.sampled_from([True, False, None])


def test_nothing_to_measure_is_none() -> None:
    """Never 0, never 100."""
    assert accuracy([], 0.95) is None
    assert accuracy([None, None], 0.95) is None
    assert macro_accuracy([], 0.95) is None
    assert macro_accuracy([(None, True), ("a", None)], 0.95) is None
    assert accuracy_by_category([(None, True), ("a", None)], 0.95) == {}
    assert difference([], 0.95) is None
    assert difference([(True, None), (None, True)], 0.95) is None
    assert quality([], 0.95) is None


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


def test_wilson_s_interval_is_scipy_s() -> None:
    from scipy.stats import binomtest

    for rows in (1, 2, 7, 20, 800):
        for right in {0, 1, rows // 3, rows - 1, rows}:
            known = binomtest(right, rows).proportion_ci(0.95, method="wilson")
            found = accuracy([number < right for number in range(rows)], 0.95)
            assert found is not None
            assert (found.low, found.high) == (known.low, known.high)


def test_rows_that_could_not_be_marked_do_not_count() -> None:
    """Neither as wrong nor as right."""
    assert accuracy([True, None, False, None], 0.95) == accuracy([True, False], 0.95)
    assert macro_accuracy([("a", True), ("a", None), ("a", False)], 0.95) == macro_accuracy(
        [("a", True), ("a", False)], 0.95
    )
    assert difference([(True, True), (True, None), (False, True)], 0.95) == difference(
        [(True, True), (False, True)], 0.95
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
    macro = macro_accuracy(rows, 0.95)
    micro = accuracy([mark for _, mark in rows], 0.95)
    assert macro is not None
    assert micro is not None
    assert (macro.value, micro.value, macro.count) == (0.75, 0.9, 10)
    # as sure as of 3.8 rows: the two of `small` decide
    assert (macro.low, macro.high) == pytest.approx((0.2035, 0.9929), abs=0.1)
    by_category = accuracy_by_category(rows, 0.95)
    assert {name: found.value for name, found in by_category.items()} == {"big": 1.0, "small": 0.5}


@settings(max_examples=50)
@given(st.lists(st.tuples(categories, marks), max_size=20))
def test_macro_is_the_mean_of_the_categories(
    rows: list[tuple[str | None, bool | None]],
) -> None:
    """As accuracy_by_category tells them."""
    found = macro_accuracy(rows, 0.95)
    parts = accuracy_by_category(rows, 0.95)
    if found is None:
        assert parts == {}
        return
    assert found.value == pytest.approx(sum(p.value for p in parts.values()) / len(parts))
    assert found.count == sum(part.count for part in parts.values())
    assert found.low is not None and found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_rows_that_all_agree_are_not_certain() -> None:
    """0 of 20 right is 0 to 16.8 %, by Clopper and Pearson: 1 - 0.025 ** (1 / 20)."""
    for mark in (True, False):
        found = macro_accuracy([("a", mark)] * 20, 0.95)
        assert found is not None
        assert (found.low, found.high) == pytest.approx(
            (0.8316, 1.0) if mark else (0.0, 0.1684), abs=1e-4
        )
    same = difference([(True, True)] * 20, 0.95)
    assert same is not None
    assert same.low is not None and same.high is not None
    assert same.low < -0.15 and same.high > 0.15
    one = difference([(True, False)], 0.95)
    assert one is not None
    assert one.low is not None and one.low < 0.2


def test_scores_that_all_agree_have_no_interval() -> None:
    """Of a figure without bounds such rows say nothing."""
    assert quality([(9.0, 9.0)] * 5, 0.95) == Estimate(100.0, None, None, 5)
    assert quality([(4.5, 9.0)] * 5, 0.95) == Estimate(50.0, None, None, 5)
    assert quality([(8.0, 9.0)], 0.95) == Estimate(800 / 9, None, None, 1)


def test_quality_of_a_worked_example() -> None:
    """100 * (7 + 8) / (10 + 9): the ratio of the sums, not the mean of the ratios."""
    found = quality([(7, 10), (8, 9)], 0.95)
    assert found is not None
    assert found.value == pytest.approx(1500 / 19)
    assert (found.low, found.high) == pytest.approx((10.0, 78.95 + 119.7), abs=0.1)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=15),
    st.integers(1, 5),
)
def test_quality_does_not_depend_on_the_scale(pairs: list[tuple[int, int]], factor: int) -> None:
    """Scores of 1 to 10 or of 5 to 50 say the same; interval included, and around the value."""
    plain, scaled = (quality([(k * s, k * t) for s, t in pairs], 0.95) for k in (1, factor))
    assert plain is not None
    assert scaled is not None
    assert scaled.value == pytest.approx(plain.value)
    assert scaled.low == pytest.approx(plain.low)
    if plain.low is None or plain.high is None:
        assert len({round(student / teacher, 9) for student, teacher in pairs}) == 1
        return
    assert 10 <= plain.low <= plain.value <= plain.high <= 1000


@pytest.mark.parametrize("score", [-1.0, 0.0, math.nan, math.inf])
def test_what_is_no_score_is_refused(score: float) -> None:
    """The authors' -1 for a failed review would be averaged as a score."""
    for pair in ((score, 9.0), (9.0, score)):
        with pytest.raises(DataError, match="score above 0"):
            quality([(8.0, 9.0), pair], 0.95)


def test_the_difference_of_two_groups_is_agresti_and_caffos() -> None:
    """By hand for 56 of 70 and 48 of 80: 57/72 - 49/82 = 0.1941, give or take 1.96 x 0.0723."""
    first = [(number < 56, 1.0) for number in range(70)]
    second = [(number < 48, 1.0) for number in range(80)]
    estimate = group_difference(first, second, 0.95)
    assert estimate is not None
    assert estimate.value == pytest.approx(0.2)
    assert (estimate.low, estimate.high) == pytest.approx((0.0524, 0.3358), abs=1e-4)
    heavy = group_difference([(mark, 3.0) for mark, _ in first], second, 0.95)
    assert heavy is not None and heavy.low == pytest.approx(estimate.low)
    assert group_difference([], second, 0.95) is None


def test_the_difference_is_paired() -> None:
    """Student and teacher right on the same rows: little doubt, however few rows are right."""
    same = difference([(True, True), (False, False)] * 50, 0.95)
    crossed = difference([(True, False), (False, True)] * 50, 0.95)
    assert same is not None
    assert same.value == 0.0
    assert (same.low, same.high) == pytest.approx((-0.0192, 0.0192), abs=1e-3)
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
    values = [draw.uniform(1, 10) for _ in range(60)]
    one, again, other = (mean(values, Bootstrap(0.95, 200, seed)) for seed in (0, 0, 1))
    assert one == again
    assert one is not None
    assert other is not None
    assert one.value == other.value
    assert one.low != other.low


EXAMS = {
    # rows by category -> the accuracy of each
    "20 in one": ([20], [0.9]),
    "20, hardly any right": ([20], [0.02]),
    "20 in five": ([4] * 5, [0.8] * 5),
    "20 in twenty": ([1] * 20, [0.5] * 20),
    "100 in seven": ([20, 20, 15, 15, 10, 10, 10], [0.1, 0.5, 0.9, 0.95, 0.99, 0.3, 0.7]),
    "100 in thirty": ([4] * 10 + [3] * 20, [0.9] * 30),
    "1,000 in 27": ([37] * 27, [0.05 + 0.035 * number for number in range(27)]),
}


@pytest.mark.parametrize("name", EXAMS)
def test_accuracies_lie_in_their_interval_as_often_as_it_says(name: str) -> None:
    """Simulated exams; at 95 %, less two standard errors of so many draws."""
    rows, shares = EXAMS[name]
    rng, draws = np.random.default_rng(0), 1000
    right = rng.binomial(rows, shares, size=(draws, len(rows)))
    hits = 0
    for counts in right:
        found = _macro_of(tuple(zip(counts.tolist(), rows, strict=True)))
        assert found.low is not None and found.high is not None
        hits += found.low <= sum(shares) / len(shares) <= found.high
    assert hits / draws >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / draws)


@functools.cache
def _macro_of(counts: tuple[tuple[int, int], ...]) -> Estimate:
    marks = [
        (str(name), number < right)
        for name, (right, count) in enumerate(counts)
        for number in range(count)
    ]
    found = macro_accuracy(marks, 0.95)
    assert found is not None
    return found


PAIRS = {
    # rows, and the shares of rows right in both, in the student, in the teacher, in neither
    "20, close": (20, (0.7, 0.05, 0.15, 0.1)),
    "20, all alike": (20, (0.6, 0.0, 0.0, 0.4)),
    "20, nearly all right": (20, (0.95, 0.0, 0.05, 0.0)),
    "20, worlds apart": (20, (0.05, 0.05, 0.85, 0.05)),
    "100": (100, (0.6, 0.05, 0.2, 0.15)),
    "1,000": (1000, (0.6, 0.05, 0.2, 0.15)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_differences_lie_in_their_interval_as_often_as_it_says(name: str) -> None:
    count, shares = PAIRS[name]
    rng, draws = np.random.default_rng(0), 1000
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    hits = 0
    for counts in rng.multinomial(count, shares, size=draws):
        marks = [kind for kind, n in zip(kinds, counts.tolist(), strict=True) for _ in range(n)]
        found = difference(marks, 0.95)
        assert found is not None and found.low is not None and found.high is not None
        hits += found.low - 1e-9 <= shares[1] - shares[2] <= found.high + 1e-9
    assert hits / draws >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / draws)


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_quality_lies_in_its_interval_as_often_as_it_says(count: int) -> None:
    """Scores as a referee gives them: halves, the teacher's near 8, the student's mostly below."""
    rng, draws = np.random.default_rng(0), 400
    teachers = np.clip(np.round(rng.normal(8, 1.2, 50_000) * 2) / 2, 1, 10)
    behind = np.abs(rng.normal(0, 2.5, 50_000))
    students = np.clip(np.round((teachers - behind) * 2) / 2, 1, 10)
    true = 100 * students.sum() / teachers.sum()
    hits = 0
    for chosen in rng.integers(0, 50_000, size=(draws, count)):
        pairs = zip(students[chosen].tolist(), teachers[chosen].tolist(), strict=True)
        found = quality(list(pairs), 0.95)
        assert found is not None and found.low is not None and found.high is not None
        hits += found.low <= true <= found.high
    assert hits / draws >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / draws)


def test_macro_agrees_with_the_normal_interval_where_there_are_many_rows() -> None:
    """Two categories of 400: the standard error by hand is sqrt(sum p(1-p)/n) / 2."""
    rows: list[tuple[str | None, bool | None]] = [("a", n < 300) for n in range(400)]
    rows += [("b", n < 100) for n in range(400)]
    found = macro_accuracy(rows, 0.95)
    half = 1.96 * math.sqrt(2 * 0.75 * 0.25 / 400) / 2
    assert found is not None
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - half, abs=0.003)
    assert found.high == pytest.approx(0.5 + half, abs=0.003)


def test_the_whole_exam_takes_less_than_a_second_per_interval() -> None:
    """1,500 rows, 30 categories."""
    draw = random.Random(0)
    pairs = [(draw.random() < 0.6, draw.random() < 0.9) for _ in range(1500)]
    rows = [(str(n % 30), mark) for n, (mark, _) in enumerate(pairs)]
    scores = [(draw.uniform(1, 10), draw.uniform(1, 10)) for _ in range(1500)]
    accuracy([True], 0.95)  # the import of scipy is not what is measured
    start = thread_time()
    assert difference(pairs, 0.95) is not None
    assert macro_accuracy(rows, 0.95) is not None
    assert quality(scores, 0.95) is not None
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
    found = quality([(one, other) for one, other in scores], 0.95)
    assert found is not None
    assert found.value == pytest.approx(100 * 583 / 704)
    assert found.count == 80
