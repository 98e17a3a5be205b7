"""How far a referee can be trusted: what its reviews say of itself, and what follows. Pure.

Of a row judged in both orders let g1 be the gap with the teacher's answer first, g2 with the
student's. What the first place is worth turns its sign, so that (g1 - g2) / 2 is the position bias
plus noise, and the spread of (g1 - g2) / 2 over the rows is the standard deviation of the gap,
(g1 + g2) / 2, that noise alone makes. It costs nothing, and counts a bias that differs from row to
row as noise. Rows whose two answers are the same are left out: their orders are one request.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import sqrt
from statistics import NormalDist, StatisticsError, correlation, fmean, stdev, variance

from lion.config.settings import Split
from lion.discrimination.verdicts import measures, pooled
from lion.metrics.judging import CalibrationMetrics, Repeated
from lion.records.rows import ORDERS, Order, Review, Verdict

_CONFIDENCE = 0.95  # one-sided, of the stopping rule
_FEWEST = 30  # rows judged in two iterations, below which their gain is not looked at


def figures(
    reviews: Sequence[Review], longer: Mapping[str, int], alike: Collection[str] = ()
) -> CalibrationMetrics:
    """Return what the reviews say of their referee; None where there is nothing to measure.

    `longer` tells by id how many characters the teacher's answer has more than the student's;
    `alike` are the ids whose two answers are the same. Shares are of the rows. flip_share: which
    side wins, or a tie, depends on the order (1 - the consistency of Zheng et al., NeurIPS 2023).
    length_correlation: Pearson's, of the gap and `longer`.
    """
    rows = _gaps(reviews, alike)
    gaps = {identity: fmean(pair) for identity, pair in rows.items()}
    halves = [(first - second) / 2 for first, second in rows.values()]
    return CalibrationMetrics(
        rows=len(rows),
        flip_share=_flips(rows),
        position_bias_points=fmean(halves) if halves else None,
        tie_share=_share([gap == 0 for gap in gaps.values()]),
        length_correlation=_correlation(
            [gaps[identity] for identity in gaps], [longer[identity] for identity in gaps]
        ),
        noise_points=stdev(halves) if len(halves) > 1 else None,
        repeated=_repeated(reviews, alike),
    )


def flip_share(reviews: Sequence[Review], alike: Collection[str] = ()) -> float | None:
    """Return the share of rows whose better side depends on the order, as `figures` does."""
    return _flips(_gaps(reviews, alike))


def _flips(rows: Mapping[str, tuple[float, float]]) -> float | None:
    return _share([_side(first) != _side(second) for first, second in rows.values()])


def _gaps(reviews: Sequence[Review], alike: Collection[str]) -> dict[str, tuple[float, float]]:
    """Return the gaps of both orders by id, in the order of `ORDERS`."""
    by_id: dict[str, dict[Order, float]] = {}
    for row in pooled(reviews):
        if row.gap is not None and row.id not in alike:
            by_id.setdefault(row.id, {})[row.order] = row.gap
    return {
        identity: (gaps[ORDERS[0]], gaps[ORDERS[1]])
        for identity, gaps in by_id.items()
        if len(gaps) == len(ORDERS)
    }


def _repeated(reviews: Sequence[Review], alike: Collection[str]) -> Repeated | None:
    """Return how repeated judgements of the same order agree; None where none was repeated.

    agreement_share: of the pairs of judgements that prefer the same side; deviation_points: of the
    gap of one judgement.
    """
    cells: dict[tuple[str, Order], list[float]] = {}
    for row in reviews:
        if row.gap is not None and row.id not in alike:
            cells.setdefault((row.id, row.order), []).append(row.gap)
    repeated = [gaps for gaps in cells.values() if len(gaps) > 1]
    if not repeated:
        return None
    agreeing = [
        _side(first) == _side(second)
        for gaps in repeated
        for first, second in combinations(gaps, 2)
    ]
    return Repeated(
        samples=max(map(len, repeated)),
        agreement_share=_share(agreeing),
        deviation_points=sqrt(fmean(variance(gaps) for gaps in repeated)),
    )


def _side(gap: float) -> int:
    return (gap > 0) - (gap < 0)


def _share(marks: Sequence[bool]) -> float | None:
    return fmean(marks) if marks else None


def _correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Pearson's correlation; None where one side does not vary."""
    try:
        return correlation(first, second)
    except StatisticsError:
        return None


def tau(settings: Split, noise: float | None) -> float:
    """Return the gap from which on an instruction is hard: as params say, above the noise."""
    return max(settings.tau, settings.tau_noise * (noise or 0.0))


def within(verdicts: Sequence[Verdict], limit: float, noise: float | None) -> float | None:
    """Return the share of decided verdicts, 0 to 1, whose gap lies within `noise` of tau, `limit`.

    Means over the responses that the verdicts stand for. Judged again, up to half of those at the
    middle of that band would turn. None where the noise is not known, or nothing was decided.
    """
    decided = [(row.gap, row.weight) for row in verdicts if row.gap is not None]
    if noise is None or not decided:
        return None
    marks = [abs(gap - limit) < noise for gap, _ in decided]
    return fmean(marks, [weight for _, weight in decided])


def noise_stop_reason(
    verdicts: Sequence[Verdict], before: Sequence[Verdict], limit: float, noise: float | None
) -> str | None:
    """Return why the referee's noise stops the loop, or None where it does not.

    Of `found`, and of the verdicts `before` them. Where all gaps were 0, noise alone would call
    1 - Phi(tau / noise) of them hard: a share that is not larger (binomial test) says nothing.
    Likewise a gain, the mean fall of the gap on rows judged in both iterations, that is no more
    than noise would make of it. An unknown noise, or none at all, stops nothing.
    """
    if not noise:
        return None
    return _share_in_noise(verdicts, limit, noise) or _gain_in_noise(verdicts, before, noise)


def _share_in_noise(verdicts: Sequence[Verdict], limit: float, noise: float) -> str | None:
    share = measures(verdicts).hard_share
    if share is None:
        return None
    from scipy.stats import binomtest  # slow to import

    count = sum(row.gap is not None for row in verdicts)
    alone = 1 - NormalDist(0, noise).cdf(limit)
    test = binomtest(round(share * count), count, alone, alternative="greater")
    if test.pvalue < 1 - _CONFIDENCE:
        return None
    return (
        f"hard share {share:.3f} is within the referee's noise, which makes {alone:.3f} of equal "
        f"answers hard (noise of a gap {noise:.2f}, tau {limit:.2f})"
    )


def _gain_in_noise(
    verdicts: Sequence[Verdict], before: Sequence[Verdict], noise: float
) -> str | None:
    earlier = {row.id: row for row in before if row.gap is not None}
    pairs = [
        (earlier[row.id], row) for row in verdicts if row.gap is not None and row.id in earlier
    ]
    if len(pairs) < _FEWEST:
        return None
    gain = fmean((old.gap or 0.0) - (new.gap or 0.0) for old, new in pairs)
    # an answer that stayed the same has the same reviews, from the ledger: no noise between them
    changed = sum(
        (old.teacher_mean, old.student_mean) != (new.teacher_mean, new.student_mean)
        for old, new in pairs
    )
    limit = NormalDist().inv_cdf(_CONFIDENCE) * noise * sqrt(2 * changed) / len(pairs)
    if gain > limit:
        return None
    return (
        f"the gap fell by {gain:.2f} on the {len(pairs)} instructions judged again, within the "
        f"referee's noise ({limit:.2f})"
    )
