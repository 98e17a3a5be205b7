"""What is judged of the responses: strata, weights, orders, audits. Laws and worked examples."""

from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fixtures import Configure
from hypothesis import given
from hypothesis import strategies as st

from lion.config import project
from lion.config.settings import ReviewSettings as Rules
from lion.discrimination import review
from lion.discrimination.verdicts import measures, selection_verdicts, verdicts
from lion.prompting import judge, templates
from lion.prompting.protocol import Reply
from lion.records.rows import ORDERS, Review, Selection, Verdict

SCORE = st.integers(1, 10)
TEMPLATES = templates.load(Path(__file__).parents[1] / project.PROMPTS / "referee", "referee")


@pytest.fixture(scope="session")
def rules(configure: Configure) -> Any:
    """Return a maker of the section `review` with changes."""

    def made(**changes: Any) -> Rules:
        return configure({f"review.{name}": value for name, value in changes.items()}).review

    return made


def drawn(
    responses: list[review.Response],
    rules: Rules,
    seed: int = 0,
    before: tuple[Verdict, ...] = (),
) -> list[Selection]:
    return review.select(responses, before, 1.0, rules, random_seed=seed, depth=1)


def rows(count: int, same: int = 0) -> list[review.Response]:
    """Return responses, the first `same` of which are the teacher's own answers."""
    return [(f"{number:04}", number < same) for number in range(count)]


def test_by_default_everything_is_judged_in_both_orders(rules: Any) -> None:
    """The paper's rule; so is a scorer's, for whom nothing is saved."""
    found = drawn(rows(20, 5), rules())
    assert [row.id for row in found] == [identity for identity, _ in rows(20)]
    assert {(row.basis, row.weight, row.audited) for row in found} == {("both_orders", 1.0, False)}
    assert {review.orders(row) for row in found} == {ORDERS}
    assert {review.orders(row) for row in review.everything(rows(20, 5))} == {ORDERS}


@given(SCORE, SCORE, st.text(min_size=1).filter(str.strip))
def test_of_the_same_answer_full_judging_says_the_same(one: int, other: int, text: str) -> None:
    """Both orders are one request, hence one reply: the gap is 0 whatever the judge says."""
    first, second = (judge.review_request("q", text, text, order, TEMPLATES) for order in ORDERS)
    assert first == second
    reply = Reply(f"Score of Assistant 1: {one}\nScore of Assistant 2: {other}", "stop", "m", None)
    full = verdicts([judge.parse_review("a", order, reply) for order in ORDERS], 1.0)
    unasked = selection_verdicts([Selection("a", "same_answer", ORDERS[0])], [], 1.0)
    assert (full[0].gap, full[0].difficulty) == (unasked[0].gap, unasked[0].difficulty)
    assert (unasked[0].teacher_mean, unasked[0].basis) == (None, "same_answer")


def test_the_same_answer_is_the_same_but_for_outer_white_space() -> None:
    assert review.same("b f a\r\nc", "b f a\nc\n")
    assert not review.same("b f a", "B f a")


def test_a_same_answer_costs_nothing_and_takes_no_place_in_the_sample(rules: Any) -> None:
    found = drawn(rows(50, 30), rules(same_answer="skip", limit=10))
    assert Counter(row.basis for row in found) == {"same_answer": 30, "both_orders": 10}
    assert [review.orders(row) for row in found if row.basis == "same_answer"] == [()] * 30
    assert {row.weight for row in found} == {1.0, 2.0}  # ten stand for the twenty that differ


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 80), st.floats(1, 20))
def test_the_weights_add_up_to_all_responses(
    rules: Any, differing: int, same: int, limit: int, favour: float
) -> None:
    """Each stratum is represented where the limit allows it, and the limit is used up."""
    found = drawn(rows(differing + same, same), rules(limit=limit, uncertain_weight=favour))
    assert len(found) == min(limit, differing + same)
    if limit >= 2:
        assert sum(row.weight for row in found) == pytest.approx(differing + same)


def test_the_uncertain_are_drawn_more_often(rules: Any) -> None:
    """Never judged, undecided or near tau: uncertain. Far from tau: settled, three times rarer."""
    known = {0: 9.0, 1: -3.0, 2: 2.5, 3: -0.5, 4: None}
    before = tuple(
        Verdict(identity, None, None, gap, "hard", None)
        for number, (identity, _) in enumerate(rows(600))
        if number % 6 in known
        for gap in (known[number % 6],)
    )
    found = drawn(
        rows(600), rules(limit=210, uncertain_weight=3.0, second_order_margin=1.5), before=before
    )
    counts = Counter(int(row.id) % 6 for row in found)
    settled, uncertain = counts[0] + counts[1], sum(counts[number] for number in (2, 3, 4, 5))
    assert (settled, uncertain) == (30, 180)  # 200 of the ones, 400 of the others, 1 : 3
    assert {row.weight for row in found if int(row.id) % 6 < 2} == {200 / 30}


def test_a_sample_tells_the_hard_share_of_all(rules: Any) -> None:
    """Weighted, the favoured stratum does not shift it; unweighted it would, by a third."""
    hard = {identity for identity, same in rows(300, 150) if not same}
    weighted, plain = [], []
    for seed in range(200):
        found = [
            Verdict(row.id, 9, 1, 8.0, "hard", None, weight=row.weight)
            if row.id in hard
            else Verdict(row.id, 9, 9, 0.0, "easy", None, weight=row.weight)
            for row in drawn(rows(300, 150), rules(limit=60, uncertain_weight=5.0), seed)
        ]
        weighted.append(measures(found).hard_share)
        plain.append(fmean(row.difficulty == "hard" for row in found))
    assert weighted == pytest.approx([0.5] * 200)
    assert fmean(plain) > 0.8


def test_the_first_order_is_drawn_by_lot_once_for_all_iterations(rules: Any) -> None:
    """By lot, lest a judge's favour for a place shift all gaps; once, for the ledger's sake."""
    first, later = (
        review.select(
            rows(400), (), 1.0, rules(second_order_margin=1.0), random_seed=0, depth=depth
        )
        for depth in (1, 2)
    )
    assert first == later
    assert 150 < Counter(row.first for row in first)["teacher_first"] < 250


def settled(rules: Rules, gap: float | None, identity: str = "a") -> Selection:
    reason, teacher = (None, 5.0 + gap) if gap is not None else ("no_scores", None)
    student = None if gap is None else 5.0
    reviewed = Review(identity, ORDERS[0], teacher, student, reason, "")
    one = Selection(identity, "one_order", ORDERS[0])
    return review.settle(one, reviewed, 1.0, rules, random_seed=0, depth=1)


@pytest.mark.parametrize(
    ("gap", "orders"),
    [(1.0, 2), (3.0, 2), (-1.0, 2), (3.5, 1), (-2.0, 1), (None, 1)],
)
def test_the_second_order_is_asked_within_the_margin(
    rules: Any, gap: float | None, orders: int
) -> None:
    """Two points around tau 1; a first review without scores calls for no second."""
    assert len(review.orders(settled(rules(second_order_margin=2.0), gap))) == orders


def test_an_audit_asks_its_share_of_what_is_left_out(rules: Any) -> None:
    found = [
        settled(rules(second_order_margin=2.0, audit_rate=0.2), 8.0, f"{number}")
        for number in range(1000)
    ]
    audited = [row for row in found if row.audited]
    assert 150 < len(audited) < 250
    assert {review.orders(row) for row in audited} == {ORDERS}
    assert {row.basis for row in found} == {"one_order"}
    assert not settled(
        rules(second_order_margin=2.0, audit_rate=1.0), 1.0
    ).audited  # in both orders anyway
    assert not settled(rules(second_order_margin=2.0, audit_rate=1.0), None).audited
