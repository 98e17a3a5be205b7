"""Hard, easy or undecided: worked examples of the gap, and when the loop stops."""

import random
from typing import Any

import pytest
from fixtures import Configure
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest

from lion.discrimination.verdicts import (
    Audit,
    agreement,
    audit,
    contradictions,
    measures,
    selection_verdicts,
    stop_reason,
    verdicts,
)
from lion.metrics.judging import Contradictions, Counted
from lion.records.rows import ORDERS, Basis, Review, Selection, Verdict

SCORE = st.integers(1, 10)


def reviews(identity: str, first: tuple[float, float], second: tuple[float, float]) -> list[Review]:
    """Return both orders' reviews from (teacher, student) scores."""
    return [
        Review(identity, order, teacher, student, None, "")
        for order, (teacher, student) in zip(ORDERS, (first, second), strict=True)
    ]


def unread(identity: str, order: str, reason: str) -> Review:
    return Review(identity, order, None, None, reason, "")  # type: ignore[arg-type]


def verdict(difficulty: str, gap: float | None = None) -> Verdict:
    return Verdict("x", None, None, gap, difficulty, None)  # type: ignore[arg-type]


def test_a_worked_example() -> None:
    """Teacher 9 and 8, student 6 and 8: means 8.5 and 7, gap 1.5, hard at tau 1."""
    (found,) = verdicts(reviews("a", (9, 6), (8, 8)), tau=1.0)
    assert found == Verdict("a", 8.5, 7.0, 1.5, "hard", None)


@pytest.mark.parametrize(
    ("second", "gap", "difficulty"),
    [((8, 8), 0.5, "easy"), ((9, 8), 1.0, "hard"), ((8, 10), -0.5, "easy")],
)
def test_a_gap_of_exactly_tau_is_hard(
    second: tuple[float, float], gap: float, difficulty: str
) -> None:
    (found,) = verdicts(reviews("a", (9, 8), second), tau=1.0)
    assert (found.gap, found.difficulty) == (gap, difficulty)


@given(SCORE, SCORE, SCORE, SCORE, st.sampled_from([0.5, 1.0, 1.5, 2.0]))
def test_the_gap_is_the_mean_over_the_two_orders(
    a: int, b: int, c: int, d: int, tau: float
) -> None:
    """For whole scores exactly: no rounding moves a row across tau."""
    (found,) = verdicts(reviews("a", (a, b), (c, d)), tau)
    assert found.gap is not None
    assert 2 * found.gap == (a - b) + (c - d)
    assert (found.difficulty == "hard") == ((a - b) + (c - d) >= 2 * tau)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            [*reviews("a", (9, 1), (9, 1))[:1], unread("a", "student_first", "no_scores")],
            "no_scores",
        ),
        ([unread("a", "teacher_first", "timeout"), *reviews("a", (9, 1), (9, 1))[1:]], "timeout"),
        (reviews("a", (9, 1), (9, 1))[:1], "student first"),
        ([unread("a", "teacher_first", "x"), unread("a", "student_first", "x")], "x"),
    ],
)
def test_one_unreadable_order_is_undecided(rows: list[Review], reason: str) -> None:
    """A huge gap in the other order does not make it hard, and there is no number to average."""
    (found,) = verdicts(rows, tau=1.0)
    assert found.difficulty == "undecided"
    assert (found.teacher_mean, found.student_mean, found.gap) == (None, None, None)
    assert found.reason is not None
    assert reason in found.reason


def test_order_of_reviews_does_not_matter_but_for_the_rows_order() -> None:
    rows = [
        review
        for number in range(20)
        for review in reviews(str(number), (9, number % 10 + 1), (8, 5))
    ]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    found = {row.id: row for row in verdicts(shuffled, 1.0)}
    assert [found[str(number)] for number in range(20)] == verdicts(rows, 1.0)
    assert [row.id for row in verdicts(rows, 1.0)] == [str(number) for number in range(20)]


def test_shares_and_means_are_of_the_decided() -> None:
    rows = [verdict("hard", 3.0), verdict("easy", 0.0), verdict("easy", -1.0), verdict("undecided")]
    assert measures(rows) == Counted(
        hard=1, easy=2, undecided=1, hard_share=1 / 3, mean_gap_points=2 / 3
    )


def test_of_nothing_decided_there_is_no_share() -> None:
    for rows in ([], [verdict("undecided")]):
        assert measures(rows).hard_share is None
        assert measures(rows).mean_gap_points is None


@pytest.mark.parametrize(
    ("hard", "easy", "undecided", "min_hard", "reason"),
    [
        (0, 0, 0, 0.0, "no instruction was judged"),
        (0, 0, 5, 0.0, "no instruction was judged"),
        (0, 5, 0, 0.0, "nothing is hard"),
        (1, 99, 0, 0.0, None),
        (1, 3, 0, 0.25, None),
        (1, 4, 0, 0.25, "hard share 0.200 is below split.min_hard = 0.25"),
        (1, 3, 90, 0.25, None),  # undecided rows are no evidence of an easy pool
        (5, 0, 0, 1.0, None),
    ],
)
def test_the_loop_stops_with_its_reason(
    configure: Configure,
    hard: int,
    easy: int,
    undecided: int,
    min_hard: float,
    reason: str | None,
) -> None:
    rows = (
        [verdict("hard", 2.0)] * hard
        + [verdict("easy", 0.0)] * easy
        + [verdict("undecided")] * undecided
    )
    found = stop_reason(rows, configure({"split.min_hard": min_hard}).split)
    assert (found is None) == (reason is None)
    assert reason is None or (found is not None and reason in found)


def selection(identity: str, basis: Basis = "one_order", **changes: Any) -> Selection:
    return Selection(identity, basis, "student_first", **changes)


def test_one_order_decides_where_it_alone_was_asked() -> None:
    """Its gap is that order's; the weight is passed on, and what is missing is undecided."""
    rows = [*reviews("a", (9, 9), (9, 5))[1:], unread("b", "student_first", "no_scores")]
    found = selection_verdicts(
        [selection("a", weight=3.0), selection("b"), selection("c")], rows, 1.0
    )
    assert found[0] == Verdict("a", 9.0, 5.0, 4.0, "hard", None, "one_order", 3.0)
    assert [(row.gap, row.reason) for row in found[1:]] == [
        (None, "no_scores"),
        (None, "no review with student first"),
    ]


def test_what_was_audited_is_judged_by_both_orders() -> None:
    rows = reviews("a", (9, 9), (9, 5))
    (found,) = selection_verdicts([selection("a", audited=True)], rows, 3.0)
    assert (found.gap, found.difficulty, found.basis) == (2.0, "easy", "both_orders")
    assert audit([selection("a", audited=True)], rows, [found], 3.0) == Audit(1, 0, 1, 0)


def test_the_agreement_is_that_of_the_audited_for_those_unchecked() -> None:
    """40 of 100 rest on one order, and 18 of 20 audited agree: 1 - 0.4 x 0.1; Wilson around it."""
    known = agreement(Audit(decided=100, unchecked=40, audited=20, agreeing=18))
    assert known is not None
    assert known.value == pytest.approx(0.96)
    wilson = binomtest(18, 20).proportion_ci(0.95, method="wilson")
    assert (known.low, known.high) == pytest.approx(
        (1 - 0.4 * (1 - wilson.low), 1 - 0.4 * (1 - wilson.high))
    )


def test_an_agreement_that_nobody_audited_is_not_known() -> None:
    assert agreement(Audit(100, 1, 0, 0)) is None
    assert agreement(Audit(0, 0, 0, 0)) is None
    full = agreement(Audit(100, 0, 0, 0))
    assert full is not None
    assert full.value == 1.0


def test_a_half_judged_instruction_is_treated_as_params_say() -> None:
    rows = [
        Review("a", "teacher_first", 9, 6, None, ""),
        Review("a", "student_first", None, None, "no_scores", ""),
    ]
    selections = [Selection("a", "both_orders", "teacher_first")]
    (undecided,) = selection_verdicts(selections, rows, 1.0)
    (decided,) = selection_verdicts(selections, rows, 1.0, "one_order")
    assert (undecided.difficulty, undecided.gap) == ("undecided", None)
    assert (decided.difficulty, decided.gap, decided.basis) == ("hard", 3, "one_order")
    nothing = [replace(row, teacher_score=None, student_score=None, reason="x") for row in rows]
    (still,) = selection_verdicts(selections, nothing, 1.0, "one_order")
    assert still.difficulty == "undecided"


def test_orders_that_prefer_different_sides_are_counted() -> None:
    def pair(name: str, first: float, second: float) -> list[Review]:
        return [
            Review(name, order, 5 + gap, 5, None, "")
            for order, gap in zip(ORDERS, (first, second), strict=True)
        ]

    rows = [*pair("a", 1, -1), *pair("b", 1, 2), *pair("c", 1, 0), *pair("d", -2, 3)]
    rows += [Review("e", "teacher_first", 9, 1, None, "")]
    assert contradictions(rows) == Contradictions(both_orders=4, contradictory=2)
