"""Hard or easy: what the two orders' reviews of an instruction come to. Pure.

gap = mean over the two orders of (teacher score - student score); gap >= tau is hard (Lion,
section 3.2). An instruction without both reviews is undecided, with the reason: no number.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from lion.records import ORDERS, Review, Verdict
from lion.settings import Split


def verdicts(reviews: Sequence[Review], tau: float) -> list[Verdict]:
    """Return one verdict per instruction, in the order of their first reviews."""
    by_id: dict[str, dict[str, Review]] = {}
    for review in reviews:
        by_id.setdefault(review.id, {})[review.order] = review
    return [_verdict(identity, orders, tau) for identity, orders in by_id.items()]


def _verdict(identity: str, orders: dict[str, Review], tau: float) -> Verdict:
    missing = [order for order in ORDERS if order not in orders]
    reasons = [review.reason for review in orders.values() if review.reason is not None]
    if missing or reasons:
        reason = f"no review with {missing[0].replace('_', ' ')}" if missing else reasons[0]
        half = "half judged: " if len(reasons) + len(missing) < len(ORDERS) else ""
        return Verdict(identity, None, None, None, "undecided", f"{half}{reason}")
    teacher = fmean(_number(orders[order].teacher_score) for order in ORDERS)
    student = fmean(_number(orders[order].student_score) for order in ORDERS)
    gap = teacher - student
    return Verdict(identity, teacher, student, gap, "hard" if gap >= tau else "easy", None)


def _number(score: float | None) -> float:
    if score is None:  # a review without a reason has both scores: read_scores makes no other
        raise ValueError("a review without a reason must have scores")
    return score


def shares(found: Iterable[Verdict]) -> Counter[str]:
    """Return how many verdicts are hard, easy and undecided."""
    return Counter(verdict.difficulty for verdict in found)


def measures(found: Sequence[Verdict]) -> dict[str, float | None]:
    """Return what is counted of the verdicts; shares and means are of the decided ones."""
    counts = shares(found)
    gaps = [verdict.gap for verdict in found if verdict.gap is not None]
    return {
        "hard": counts["hard"],
        "easy": counts["easy"],
        "undecided": counts["undecided"],
        "hard_share": counts["hard"] / len(gaps) if gaps else None,
        "mean_gap": fmean(gaps) if gaps else None,
    }


def stop_reason(found: Sequence[Verdict], settings: Split) -> str | None:
    """Return why the loop stops after these verdicts, or None where it goes on."""
    counts = shares(found)
    decided = counts["hard"] + counts["easy"]
    if decided == 0:
        return "no instruction was judged"
    if counts["hard"] == 0:
        return f"nothing is hard: no gap reaches tau = {settings.tau:g}"
    share = counts["hard"] / decided
    if share < settings.min_hard:
        return f"hard share {share:.3f} is below split.min_hard = {settings.min_hard:g}"
    return None
