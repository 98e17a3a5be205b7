"""What reviews tell of their referee, against the law of planted errors and worked examples."""

from math import sqrt
from statistics import correlation

import judges
import pytest
from fixtures import Configure
from msgspec.structs import asdict, replace

from lion import statistics
from lion.discrimination import judge_reliability, verdicts
from lion.records.rows import ORDERS, Review, Verdict
from lion.simulator.simulated_llm import MODELS, Temper

NOISY, BIASED = MODELS["oracle-1-noisy"], Temper(noise=1.0, position_bias=2.0)
TAU = 1.0


def pair(identity: str, first: float, second: float, sample: int = 0) -> list[Review]:
    """Return reviews whose gaps are `first` with the teacher first, and `second`."""
    return [
        Review(identity, order, 5 + gap, 5, None, "", sample)
        for order, gap in zip(ORDERS, (first, second), strict=True)
    ]


def verdict(identity: str, gap: float, weight: float = 1.0) -> Verdict:
    return Verdict(
        identity, 5 + gap, 5.0, gap, "hard" if gap >= TAU else "easy", None, weight=weight
    )


@pytest.mark.parametrize("temper", [NOISY, BIASED, MODELS["oracle-1-rough"]])
def test_planted_errors_are_found(temper: Temper) -> None:
    """Flips within Wilson's interval, recovery at least the law's, bias and noise as planted."""
    found = judges.measured(judges.answers(300, 5), temper, 11, TAU)
    law = found.expected
    for count, expected in ((found.flips, law.flip), (found.recovered, law.recovered)):
        share = statistics.accuracy([n < count for n in range(found.rows)], 0.99)
        assert share is not None and share.low is not None and share.high is not None
        assert share.low <= expected <= share.high
    error = judges.planted_noise(found) / sqrt(found.rows)
    assert found.bias == pytest.approx(law.bias, abs=3 * error)
    assert found.noise == pytest.approx(judges.planted_noise(found), rel=0.1)


def test_the_law_is_that_of_the_embedded_referee() -> None:
    """A referee that hardly errs flips nothing but what its half points decide."""
    assert judges.law(10, 1, Temper(noise=1e-3), TAU).flip == pytest.approx(0, abs=1e-9)
    assert judges.law(10, 1, Temper(noise=1e-3), TAU).recovered == pytest.approx(1)
    half = judges.law(5, 5, Temper(noise=1e-6, position_bias=0.5), TAU)
    assert half.bias == pytest.approx(0.5, abs=1e-3)
    assert half.flip == pytest.approx(0.75, abs=1e-3)  # equal only where neither half rounds up


def test_a_worked_example() -> None:
    """Gaps 3|1, -1|1, 0|0: halves 1, -1, 0; one of three flips, two of three mean gaps are 0."""
    rows = [*pair("a", 3, 1), *pair("b", -1, 1), *pair("c", 0, 0)]
    found = judge_reliability.figures(rows, {"a": 10, "b": 0, "c": 5})
    assert found.rows == 3
    assert (found.flip_share, found.tie_share) == (1 / 3, 2 / 3)
    assert (found.position_bias_points, found.noise_points) == (0.0, 1.0)
    assert found.length_correlation == correlation([2, 0, 0], [10, 0, 5])
    assert found.repeated is None


def test_what_says_nothing_of_the_referee_does_not_count() -> None:
    """Same answers are one request in both orders; half judged rows have no second order."""
    unread = replace(pair("c", 0, 0)[0], teacher_score=None, student_score=None, reason="no_scores")
    rows = [*pair("a", 9, -9), *pair("b", 1, 1)[:1], unread, *pair("c", 0, 2)[1:]]
    found = judge_reliability.figures(rows, {"a": 0, "b": 0, "c": 0}, alike={"a"})
    assert asdict(found) == {**dict.fromkeys(found.__struct_fields__), "rows": 0}


def test_repeated_judgements_are_averaged_and_their_agreement_is_told() -> None:
    """Of teacher first, gaps 2, 1 and -1: one of three pairs agrees; of student first all do."""
    rows = [row for sample, first in enumerate((2, 1, -1)) for row in pair("a", first, 4, sample)]
    pooled = verdicts.pooled(rows)
    assert [row.gap for row in pooled] == [pytest.approx(2 / 3), 4]
    found = judge_reliability.figures(rows, {"a": 0}).repeated
    assert found is not None
    assert (found.samples, found.agreement_share) == (3, 4 / 6)
    assert found.deviation_points == pytest.approx(sqrt((7 / 3 + 0) / 2))


def test_a_sample_without_scores_leaves_the_others() -> None:
    good, bad = pair("a", 2, 2, 0), pair("a", 0, 0, 1)
    unread = [
        replace(row, teacher_score=None, student_score=None, reason="no_scores") for row in bad
    ]
    assert verdicts.pooled([*unread, *good]) == good
    assert [row.reason for row in verdicts.pooled(unread)] == ["no_scores"] * 2


def test_more_samples_are_less_noise() -> None:
    """Four judgements of an order halve the noise of its mean."""
    rows = judges.answers(150, 3)
    known = dict.fromkeys((row.id for row in rows), 0)
    one, four = (
        judge_reliability.figures(judges.reviews(rows, Temper(noise=1.0), 2, samples), known)
        for samples in (1, 4)
    )
    assert one.noise_points is not None and four.repeated is not None
    assert four.noise_points == pytest.approx(one.noise_points / 2, rel=0.15)
    # a score's deviation is 1, cut at 10: between the noise of a mean gap and that of a free score
    assert one.noise_points < four.repeated.deviation_points < sqrt(2) * 1.1


def test_tau_can_be_a_multiple_of_the_noise(configure: Configure) -> None:
    split = configure({"split.tau_noise": 2.0}).split
    assert [judge_reliability.tau(split, noise) for noise in (None, 0.0, 0.4, 1.5)] == [1, 1, 1, 3]
    assert judge_reliability.tau(configure({}).split, 9.0) == 1


def test_the_share_within_the_noise_is_of_what_verdicts_stand_for() -> None:
    rows = [verdict("a", 1.5), verdict("b", 0.0, weight=3.0), verdict("c", 2.0)]
    assert judge_reliability.within(rows, TAU, 1.0) == 0.2  # 1 away is not within 1
    assert judge_reliability.within(rows, TAU, 0.0) == 0
    assert judge_reliability.within(rows, TAU, None) is None
    assert judge_reliability.within([], TAU, 1.0) is None


def rows(hard: int, easy: int, gap: float = 0.0) -> list[Verdict]:
    return [verdict(str(n), 3.0) for n in range(hard)] + [
        verdict(str(n), gap) for n in range(hard, hard + easy)
    ]


@pytest.mark.parametrize(
    ("hard", "noise", "stops"),
    [(20, 1.0, True), (30, 1.0, False), (30, 2.0, True), (1, None, False), (1, 0.0, False)],
)
def test_a_hard_share_that_noise_makes_alone_stops(
    hard: int, noise: float | None, stops: bool
) -> None:
    """At tau 1 and noise 1, 15.9 % of equal answers are hard; noise 2 makes 30.9 %."""
    reason = judge_reliability.noise_stop_reason(rows(hard, 100 - hard), [], TAU, noise)
    assert (reason is not None) == stops
    assert reason is None or "is within the referee's noise" in reason


@pytest.mark.parametrize(("before", "stops"), [(0.1, True), (0.5, False), (-0.5, True)])
def test_a_gain_within_the_noise_stops(before: float, stops: bool) -> None:
    """100 rows at noise 1: 1.645 x sqrt(2 / 100) = 0.23 is what noise may make of the gain."""
    now = rows(100, 0)
    then = [verdict(row.id, 3.0 + before) for row in now]
    reason = judge_reliability.noise_stop_reason(now, then, TAU, 1.0)
    assert (reason is not None) == stops
    assert reason is None or f"fell by {before:.2f} on the 100 instructions" in reason


def test_a_gain_on_few_rows_or_of_a_first_iteration_stops_nothing() -> None:
    now = rows(100, 0)
    few = [verdict(row.id, 3.0) for row in now[:20]]
    assert judge_reliability.noise_stop_reason(now, few, TAU, 1.0) is None
    assert judge_reliability.noise_stop_reason(now, [], TAU, 1.0) is None


def test_answers_that_stayed_the_same_bring_no_noise_into_the_gain() -> None:
    """Ten of 100 changed, by 1 each: 0.10 is more than 1.645 x sqrt(20) / 100 = 0.07."""
    now = rows(100, 0)
    then = [verdict(row.id, 4.0 if number < 10 else 3.0) for number, row in enumerate(now)]
    assert judge_reliability.noise_stop_reason(now, then, TAU, 1.0) is None
