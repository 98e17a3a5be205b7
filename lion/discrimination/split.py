"""The phase `split`: hard or easy by the gap, and whether the loop goes on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from lion.config.settings import Split as Rules
from lion.discrimination import judge_reliability
from lion.discrimination import verdicts as discrimination
from lion.discrimination.verdicts import Audit
from lion.metrics.judging import Contradictions
from lion.records.rows import Review, Selection, Verdict


@dataclass(frozen=True, slots=True)
class Divided:
    """An iteration's verdicts, and what they rest on.

    `stop_reason` says why the loop stops (None: it goes on). `noise` is the standard deviation of a
    gap that the referee's noise makes, `tau` the gap from which on an instruction is hard, both in
    points of score. `contradictions` counts rows whose two orders prefer different sides.
    """

    verdicts: list[Verdict]
    stop_reason: str | None
    audit: Audit
    noise: float | None
    tau: float
    contradictions: Contradictions


def split(
    selections: Sequence[Selection],
    reviews: Sequence[Review],
    before: Sequence[Verdict],
    noise: float | None,
    rules: Rules,
) -> Divided:
    """Return the verdicts of `selections`; `before` are those of the iteration before."""
    averaged = discrimination.pooled(reviews)
    tau = judge_reliability.tau(rules, noise)
    verdicts = discrimination.selected(selections, averaged, tau, rules.half_judged)
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
