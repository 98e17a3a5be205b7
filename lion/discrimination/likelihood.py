"""Hard or easy by the student's own likelihood of the teacher's answers: no call. Pure.

Let l(x) be the student's mean negative log-likelihood per token of the teacher's answer, l0(x) that
behind an empty instruction. Answers are ranked by l(x), or by l(x) - (l0(x) - mean l0), which takes
off what an answer costs by itself (the idea of IFD: Li et al., NAACL 2024, arXiv 2308.12032). The
student's loss as the signal of a closed loop: Kessler et al., arXiv 2512.00884.
"""

import random
from collections.abc import Iterable, Sequence
from statistics import fmean

import msgspec
from msgspec.structs import replace

from lion import pools
from lion.config.settings import ReviewSettings, Split
from lion.discrimination.verdicts import pooled, verdicts
from lion.metrics.judging import LikelihoodMetrics
from lion.metrics.units import ShareEstimate
from lion.records.rows import (
    ORDERS,
    Answer,
    Difficulty,
    Dropped,
    Likelihood,
    Review,
    Selection,
    Signal,
    Verdict,
)
from lion.statistics import Bootstrap, auc_of_groups

_DIGITS = 6  # of nats, as the likelihoods have
_BOOTSTRAP = Bootstrap(confidence=0.95, resamples=1000, seed=0)


def ranked_answers(rows: Sequence[Likelihood], settings: ReviewSettings) -> list[Selection]:
    """Return a selection per row, in order, with the signal that ranks it.

    With `review.same_answer: skip` an answer that the student itself would write is none to rank.
    """
    bare = [row.unprompted_nats for row in rows if row.unprompted_nats is not None]
    mean = fmean(bare) if bare else 0.0
    return [
        Selection(
            row.id,
            "same_answer" if row.same_answer and settings.same_answer == "skip" else "likelihood",
            ORDERS[0],
            audited=row.response is not None,
            signal=Signal(row.nll_nats, _score(row, mean), reason=row.reason),
        )
        for row in rows
    ]


def _score(row: Likelihood, mean: float) -> float | None:
    if row.nll_nats is None or row.unprompted_nats is None:
        return row.nll_nats
    return round(row.nll_nats - (row.unprompted_nats - mean), _DIGITS)


def audited_answers(rows: Iterable[Likelihood]) -> list[Answer]:
    """Return the student's answers to the rows that the referee judges, too."""
    return [
        Answer(row.id, row.response.text, row.response.finish_reason, row.response.model)
        for row in rows
        if row.response is not None
    ]


def without_number(rows: Iterable[Likelihood]) -> list[Dropped]:
    """Return the rows that have no likelihood, with the reason, as the stage `review` drops."""
    return [Dropped("review", row.reason, id=row.id) for row in rows if row.reason is not None]


def likelihood_metrics(rows: Sequence[Likelihood]) -> LikelihoodMetrics:
    """Return what the likelihoods of an iteration are; None where no row has one."""
    numbers = [row.nll_nats for row in rows if row.nll_nats is not None]
    same = [row.same_answer for row in rows if row.nll_nats is not None]
    return LikelihoodMetrics(
        rows=len(numbers),
        mean_nats=fmean(numbers) if numbers else None,
        same_answer_share=fmean(same) if same else None,
        audited=sum(row.response is not None for row in rows),
    )


def verdicts_by_rank(
    selections: Sequence[Selection], before: Iterable[Verdict], rules: Split, rng: random.Random
) -> list[Verdict]:
    """Return a verdict per selection, in order.

    Hard are `split.hard_share` of the rows with a number: the highest scores, and of the other ones
    the share `split.uniform_share` by lot, so that no kind of row is left out for good. A row
    without a number is undecided. `before` are the verdicts of the iteration before.
    """
    lowest = {row.id: _lowest(row) for row in before}
    scores = {row.id: score for row in selections if (score := _ranked_score(row)) is not None}
    count = round(rules.hard_share * sum(_signal(row).score_nats is not None for row in selections))
    by_lot = round(rules.uniform_share * count)
    order = sorted(scores, key=lambda id: (-scores[id], id))
    top, others = order[: count - by_lot], sorted(order[count - by_lot :])
    lots = set(pools.sample(others, by_lot, rng))
    hard = {*top, *lots}
    return [_verdict(row, row.id in hard, row.id in lots, lowest.get(row.id)) for row in selections]


def _signal(row: Selection | Verdict) -> Signal:
    return Signal(None, None) if row.signal is msgspec.UNSET else row.signal


def _ranked_score(row: Selection) -> float | None:
    return None if row.basis == "same_answer" else _signal(row).score_nats


def _lowest(row: Verdict) -> float | None:
    return _signal(row).lowest_nats


def _verdict(row: Selection, hard: bool, by_lot: bool, lowest: float | None) -> Verdict:
    signal = _signal(row)
    if signal.nll_nats is None:
        kept = replace(signal, lowest_nats=lowest)
        reason = signal.reason or "no likelihood"
        return Verdict(row.id, None, None, None, "undecided", reason, "likelihood", signal=kept)
    least = signal.nll_nats if lowest is None else min(lowest, signal.nll_nats)
    side: Difficulty = "hard" if hard else "easy"
    return Verdict(
        row.id,
        None,
        None,
        None,
        side,
        None,
        "uniform" if by_lot else row.basis,
        signal=replace(signal, lowest_nats=least),
    )


def area_under_curve(
    selections: Iterable[Selection], reviews: Sequence[Review], tau: float
) -> ShareEstimate | None:
    """Return the chance that a row that the referee calls hard ranks above one that it calls easy.

    With its bootstrap interval at 95 %. None unless audited rows are of both kinds.
    """
    scores = {row.id: _signal(row).score_nats for row in selections}
    ranks: dict[Difficulty, list[float]] = {"hard": [], "easy": [], "undecided": []}
    for verdict in verdicts(pooled(reviews), tau):
        score = scores.get(verdict.id)
        if score is not None:
            ranks[verdict.difficulty].append(score)
    if not ranks["hard"] or not ranks["easy"]:
        return None
    return ShareEstimate.of(auc_of_groups(ranks["hard"], ranks["easy"], _BOOTSTRAP))
