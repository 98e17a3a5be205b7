"""The phase `split`: hard or easy by the gap, and whether the loop goes on. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from lion import pools
from lion.config.settings import Split as Rules
from lion.discrimination import judge_reliability, likelihood
from lion.discrimination import verdicts as discrimination
from lion.discrimination.verdicts import Audit
from lion.metrics.judging import Contradictions
from lion.metrics.units import ShareEstimate
from lion.records.rows import Review, Selection, Verdict


@dataclass(frozen=True, slots=True)
class Divided:
    """An iteration's verdicts, and what they rest on.

    `stop_reason` says why the loop stops (None: it goes on). `noise` is the standard deviation of a
    gap that the referee's noise makes, `tau` the gap from which on an instruction is hard, both in
    points of score. `contradictions` counts rows whose two orders prefer different sides.
    `likelihood_auc` compares the likelihood with the referee, where that judged rows of both kinds.
    """

    verdicts: list[Verdict]
    stop_reason: str | None
    audit: Audit
    noise: float | None
    tau: float
    contradictions: Contradictions
    likelihood_auc: ShareEstimate | None = None


def split(
    selections: Sequence[Selection],
    reviews: Sequence[Review],
    before: Sequence[Verdict],
    noise: float | None,
    rules: Rules,
    *,
    random_seed: int,
    depth: int,
) -> Divided:
    """Return the verdicts of `selections`; `before` are those of the iteration before.

    Selections with a signal are ranked by it; the gap decides the others.
    """
    tau = judge_reliability.tau(rules, noise)
    if any(row.signal is not msgspec.UNSET for row in selections):
        rng = pools.rng_for(random_seed=random_seed, purpose="hard by lot", depth=depth)
        return _by_likelihood(selections, reviews, before, noise, tau, rules, rng)
    averaged = discrimination.pooled(reviews)
    verdicts = discrimination.selection_verdicts(selections, averaged, tau, rules.half_judged)
    stop_reason = discrimination.stop_reason(verdicts, rules, tau)
    if stop_reason is None and rules.stop_in_noise:
        stop_reason = judge_reliability.noise_stop_reason(verdicts, before, tau, noise)
    return Divided(
        verdicts=verdicts,
        stop_reason=stop_reason,
        audit=discrimination.audit(selections, averaged, verdicts, tau),
        noise=noise,
        tau=tau,
        contradictions=discrimination.contradictions(averaged),
    )


def _by_likelihood(
    selections: Sequence[Selection],
    reviews: Sequence[Review],
    before: Sequence[Verdict],
    noise: float | None,
    tau: float,
    rules: Rules,
    rng: random.Random,
) -> Divided:
    verdicts = likelihood.verdicts_by_rank(selections, before, rules, rng)
    return Divided(
        verdicts=verdicts,
        stop_reason=discrimination.stop_reason(verdicts, rules, tau),
        audit=discrimination.audit(selections, [], [], tau),
        noise=noise,
        tau=tau,
        contradictions=discrimination.contradictions(discrimination.pooled(reviews)),
        likelihood_auc=likelihood.area_under_curve(selections, reviews, tau),
    )
