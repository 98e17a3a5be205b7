"""Metrics of discrimination: what was judged, what the verdicts are, what the referee is worth."""

from typing import ClassVar

from lion.metrics.units import Metrics, PointsEstimate, RoleUsage, ShareEstimate
from lion.records.rows import Basis


class LikelihoodMetrics(Metrics, frozen=True):
    """The student's likelihood of the teacher's answers: of `rows` that have one.

    `mean_nats` is the mean over them of the nats per token, `same_answer_share` the share that the
    student itself would write by greedy decoding. Of `audited` the referee was asked, too.
    """

    rows: int
    mean_nats: float | None
    same_answer_share: float | None
    audited: int


class ReviewMetrics(Metrics, frozen=True):
    """review.json: of the `responses` `judged` get a verdict, from so many `reviews`.

    `referee` is None where a scorer or the likelihood judged.
    """

    FILE: ClassVar[str] = "review"
    EMPTY: ClassVar[tuple[str, ...]] = ("referee",)

    responses: int
    judged: int
    reviews: int
    dropped: dict[str, int]
    referee: RoleUsage | None
    likelihood: LikelihoodMetrics | None = None


class Repeated(Metrics, frozen=True):
    """How repeated judgements of one order agree: at most `samples` of each.

    On the preferred side, in a share of their pairs; by the deviation of the gap of one of them.
    """

    samples: int
    agreement_share: float | None
    deviation_points: float


class CalibrationMetrics(Metrics, frozen=True):
    """calibration.json: what the reviews of `rows` judged in both orders say of their referee.

    See `lion.discrimination.judge_reliability`; `noise_points` is the standard deviation of a gap
    that the referee's errors alone make. None where there is nothing to measure.
    """

    FILE: ClassVar[str] = "calibration"

    rows: int
    flip_share: float | None
    position_bias_points: float | None
    tie_share: float | None
    length_correlation: float | None
    noise_points: float | None
    repeated: Repeated | None


class Counted(Metrics, frozen=True):
    """What is counted of verdicts; share and mean are of the decided ones, by their weights."""

    hard: int
    easy: int
    undecided: int
    hard_share: float | None
    mean_gap_points: float | None


class SplitMetrics(Counted, frozen=True):
    """split.json: the verdicts, how far judging all in both orders would agree, why the loop ends.

    `stopped` is None where it goes on.
    """

    FILE: ClassVar[str] = "split"

    agreement_share: float | None
    stopped: str | None


class Audited(Metrics, frozen=True):
    """The counts of `discrimination.Audit`."""

    decided: int
    unchecked: int
    audited: int
    agreeing: int


class Contradictions(Metrics, frozen=True):
    """Rows judged in `both_orders`, and those whose orders prefer different sides."""

    both_orders: int
    contradictory: int


class Noise(Metrics, frozen=True):
    """The noise of a gap, the tau of this iteration, and the share of verdicts within it of tau."""

    deviation_points: float | None
    tau_points: float
    within_share: float | None


class AgreementMetrics(Metrics, frozen=True):
    """agreement.json: how far verdicts can be relied on. `basis`: how many verdicts rest on what.

    `agreement` is with judging all in both orders; None where it is not known. `likelihood_auc` is
    the chance that the likelihood ranks a row that the referee calls hard above an easy one.
    """

    FILE: ClassVar[str] = "agreement"

    agreement: ShareEstimate | None
    audit: Audited
    contradictions: Contradictions
    noise: Noise
    basis: dict[Basis, int]
    likelihood_auc: ShareEstimate | None = None


class AgainstTruth(Metrics, frozen=True):
    """A referee on `rows` pairs of a right and a wrong answer (see `discrimination.calibrate`)."""

    rows: int
    accuracy: ShareEstimate | None
    ties: int
    hard: ShareEstimate | None
    auc: ShareEstimate | None


class AgainstSecond(Metrics, frozen=True):
    """A referee compared with a second one on `rows` (see `discrimination.calibrate`)."""

    rows: int
    agreement: ShareEstimate | None
    self_preference: PointsEstimate | None


class CalibrateMetrics(Metrics, frozen=True):
    """calibrate.json: the referee against known answers, and against a second referee.

    A role is None where it was asked nothing.
    """

    FILE: ClassVar[str] = "calibrate"
    EMPTY: ClassVar[tuple[str, ...]] = ("referee", "second")

    anchors: AgainstTruth
    against_second: AgainstSecond
    referee: RoleUsage | None
    second: RoleUsage | None
    dropped: dict[str, int]


class Stop(Metrics, frozen=True):
    """data/k/stop.json: whether the loop has stopped, and why."""

    stop: bool
    reason: str | None
