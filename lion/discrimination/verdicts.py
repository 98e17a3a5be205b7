"""Hard or easy: what the reviews of an instruction come to. Pure.

gap = mean over the two orders of (teacher score - student score); gap >= tau is hard (Lion,
section 3.2). An instruction without the reviews that it needs is undecided, with the reason: no
number. Which reviews it needs, `review` says: by default both orders.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import msgspec
from msgspec.structs import replace

from lion import statistics as estimates
from lion.config.settings import HalfJudged, Split
from lion.metrics.judging import Contradictions, Counted
from lion.records.rows import ORDERS, Basis, Difficulty, Order, Review, Selection, Verdict

_CONFIDENCE = 0.95  # of the agreement's interval
_Orders = Mapping[Order, Review]


def pooled(reviews: Sequence[Review]) -> list[Review]:
    """Return one review per id and order: the mean scores of those of its samples that have some.

    Multiple evidence (Wang et al., ACL 2024). Where no sample has scores, the first one.
    """
    cells: dict[tuple[str, Order], list[Review]] = {}
    for review in reviews:
        cells.setdefault((review.id, review.order), []).append(review)
    return [_mean(samples) for samples in cells.values()]


def _mean(samples: Sequence[Review]) -> Review:
    usable = [row for row in samples if row.reason is None]
    if len(usable) < 2:
        return (usable or samples)[0]
    teacher = fmean(_number(row.teacher_score) for row in usable)
    student = fmean(_number(row.student_score) for row in usable)
    return replace(usable[0], teacher_score=teacher, student_score=student)


def verdicts(reviews: Sequence[Review], tau: float) -> list[Verdict]:
    """Return one verdict in both orders per instruction, in the order of their first reviews."""
    return [_verdict(identity, orders, tau) for identity, orders in _by_id(reviews).items()]


def selection_verdicts(
    selections: Sequence[Selection],
    reviews: Sequence[Review],
    tau: float,
    half_judged: HalfJudged = "undecided",
) -> list[Verdict]:
    """Return the verdict of each selected response, in order, on the basis of its selection.

    The basis says which orders were reviewed. An audited response has reviews of both orders and is
    judged by both. If one of the two has no scores, `half_judged` says whether the other decides.
    `tau` is the gap, in points, from which an instruction is hard.
    """
    orders_by_id = _by_id(reviews)
    verdicts = [
        _of_selection(selection, orders_by_id.get(selection.id, {}), tau)
        for selection in selections
    ]
    if half_judged == "undecided":
        return verdicts
    return [_by_half(verdict, orders_by_id.get(verdict.id, {}), tau) for verdict in verdicts]


def _by_half(verdict: Verdict, orders: _Orders, tau: float) -> Verdict:
    """Decide a half judged instruction by the order that has scores."""
    usable = [order for order in ORDERS if order in orders and orders[order].reason is None]
    if verdict.difficulty != "undecided" or len(usable) != 1:
        return verdict
    return _verdict(verdict.id, orders, tau, (usable[0],), verdict.weight)


def means(reviews: Sequence[Review], orders: int) -> dict[str, tuple[float, float]]:
    """Return teacher's and student's mean scores by id, of what has scores in all its `orders`."""
    return {
        identity: (
            fmean(_number(row.teacher_score) for row in by_order.values()),
            fmean(_number(row.student_score) for row in by_order.values()),
        )
        for identity, by_order in _by_id(reviews).items()
        if len(by_order) == orders and all(row.reason is None for row in by_order.values())
    }


def contradictions(reviews: Sequence[Review]) -> Contradictions:
    """Return how many instructions were judged in both orders, and in how many the sides differ.

    A contradiction: one order prefers the teacher's answer, the other one the student's.
    """
    gaps = [
        [_number(row.teacher_score) - _number(row.student_score) for row in orders.values()]
        for orders in _by_id(reviews).values()
        if len(orders) == len(ORDERS) and all(row.reason is None for row in orders.values())
    ]
    return Contradictions(
        both_orders=len(gaps), contradictory=sum(min(gap) < 0 < max(gap) for gap in gaps)
    )


def _by_id(reviews: Sequence[Review]) -> dict[str, dict[Order, Review]]:
    by_id: dict[str, dict[Order, Review]] = {}
    for review in reviews:
        by_id.setdefault(review.id, {})[review.order] = review
    return by_id


def _of_selection(selection: Selection, orders: _Orders, tau: float) -> Verdict:
    if selection.basis == "same_answer":
        gap = 0.0
        return Verdict(
            selection.id, None, None, gap, _side(gap, tau), None, selection.basis, selection.weight
        )
    if selection.basis == "one_order" and not selection.audited:
        return _verdict(selection.id, orders, tau, (selection.first,), selection.weight)
    return _verdict(selection.id, orders, tau, ORDERS, selection.weight)


def _verdict(
    identity: str,
    orders: _Orders,
    tau: float,
    needed: tuple[Order, ...] = ORDERS,
    weight: float = 1.0,
) -> Verdict:
    basis: Basis = "both_orders" if needed == ORDERS else "one_order"
    missing = [order for order in needed if order not in orders]
    reasons = [row.reason for order, row in orders.items() if order in needed and row.reason]
    if missing or reasons:
        reason = f"no review with {missing[0].replace('_', ' ')}" if missing else reasons[0]
        half = "half judged: " if len(reasons) + len(missing) < len(needed) else ""
        reason = f"{half}{reason}"
        return Verdict(identity, None, None, None, "undecided", reason, basis, weight)
    teacher = fmean(_number(orders[order].teacher_score) for order in needed)
    student = fmean(_number(orders[order].student_score) for order in needed)
    gap = teacher - student
    return Verdict(identity, teacher, student, gap, _side(gap, tau), None, basis, weight)


def _side(gap: float, tau: float) -> Difficulty:
    return "hard" if gap >= tau else "easy"


def _number(score: float | None) -> float:
    if score is None:  # a review without a reason has both scores: `judge_parser` makes no other
        raise ValueError("a review without a reason must have scores")
    return score


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of verdicts that rest on one order, in numbers of decided verdicts.

    Of `decided`, `unchecked` rest on one order alone. `audited` would have, but were asked in both;
    in `agreeing` of them the first order alone says the same as the two.
    """

    decided: int
    unchecked: int
    audited: int
    agreeing: int

    def __add__(self, other: "Audit") -> "Audit":
        """Return both together."""
        return Audit(
            self.decided + other.decided,
            self.unchecked + other.unchecked,
            self.audited + other.audited,
            self.agreeing + other.agreeing,
        )


def audit(
    selections: Sequence[Selection],
    reviews: Sequence[Review],
    verdicts: Sequence[Verdict],
    tau: float,
) -> Audit:
    """Return what the audited rows tell; `found` are the verdicts of `selections`."""
    by_id = _by_id(reviews)
    decided = [row for row in verdicts if row.gap is not None]
    difficulty = {row.id: row.difficulty for row in decided}
    first = {row.id: row.first for row in selections if row.audited and row.id in difficulty}
    agreeing = [
        _verdict(identity, by_id[identity], tau, (order,)).difficulty == difficulty[identity]
        for identity, order in first.items()
    ]
    unchecked = sum(row.basis == "one_order" for row in decided)
    return Audit(len(decided), unchecked, len(first), sum(agreeing))


def agreement(counts: Audit) -> estimates.Estimate | None:
    """Return the share of verdicts that judging all in both orders would give, too, estimated.

    Same answers and rows seen in both orders agree by construction; of the others as many as of the
    audited ones (Wilson's interval at 95 %). None where that is not known.
    """
    if not counts.decided:
        return None
    if not counts.unchecked:
        return estimates.Estimate(1.0, 1.0, 1.0, counts.decided)
    marks = [number < counts.agreeing for number in range(counts.audited)]
    share = estimates.accuracy(marks, _CONFIDENCE)
    if share is None or share.low is None or share.high is None:
        return None
    part = counts.unchecked / counts.decided
    value, low, high = (1 - part * (1 - figure) for figure in (share.value, share.low, share.high))
    return estimates.Estimate(value, low, high, counts.audited)


def difficulty_counts(verdicts: Iterable[Verdict]) -> Counter[str]:
    """Return how many verdicts are hard, easy and undecided."""
    return Counter(verdict.difficulty for verdict in verdicts)


def measures(verdicts: Sequence[Verdict]) -> Counted:
    """Return what is counted of the verdicts; shares and means are of the decided ones.

    Means over the responses that the verdicts stand for: each counts by its weight.
    """
    counts = difficulty_counts(verdicts)
    decided = [(row.gap, row.weight) for row in verdicts if row.gap is not None]
    gaps, weights = [gap for gap, _ in decided], [weight for _, weight in decided]
    return Counted(
        hard=counts["hard"],
        easy=counts["easy"],
        undecided=counts["undecided"],
        hard_share=hard_share(verdicts),
        mean_gap_points=fmean(gaps, weights) if gaps else None,
    )


def hard_share(verdicts: Sequence[Verdict]) -> float | None:
    """Return the hard ones of the decided verdicts, 0 to 1, by weight; None where there is none."""
    decided = [row for row in verdicts if row.difficulty != "undecided"]
    if not decided:
        return None
    return fmean([row.difficulty == "hard" for row in decided], [row.weight for row in decided])


def stop_reason(
    verdicts: Sequence[Verdict], settings: Split, tau: float | None = None
) -> str | None:
    """Return why the loop stops after these verdicts, or None where it goes on.

    `tau` is the one that they were found with, where it is not that of `settings`.
    """
    share = hard_share(verdicts)
    if share is None:
        return "no instruction was judged"
    if share == 0 and verdicts[0].signal is not msgspec.UNSET:
        return "nothing is hard: the student would write each of the teacher's answers itself"
    if share == 0:
        return f"nothing is hard: no gap reaches tau = {settings.tau if tau is None else tau:g}"
    if share < settings.min_hard:
        return f"hard share {share:.3f} is below split.min_hard = {settings.min_hard:g}"
    return None
