"""The iterations side by side: what metrics and records of runs say, gathered. Reads, never judges.

Metrics follow from the inputs; records of runs (`.lion/runs/`) tell what really happened on this
machine, and are absent in a fresh clone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lion.config import project
from lion.metrics import files
from lion.metrics.certificates import CertificateMetrics, CertifiedMetrics
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.files import M, RunRecord
from lion.metrics.judging import (
    AgreementMetrics,
    Audited,
    CalibrateMetrics,
    CalibrationMetrics,
    ReviewMetrics,
    SplitMetrics,
)
from lion.metrics.pools import (
    BootstrapMetrics,
    GenerateMetrics,
    SeedMetrics,
    TeachMetrics,
    TuneMetrics,
)
from lion.metrics.units import IntervalMetrics, RoleUsage
from lion.stage_table import STAGES, Role

_ROUNDING = 1e-9  # of a share


class Read(Protocol):
    """What reads the file at a path as one of the structs; None where there is none."""

    def __call__(self, path: Path, kind: type[M], /) -> M | None:
        """Return the struct."""
        ...


@dataclass(frozen=True, slots=True)
class Reviews:
    """What judging an iteration's responses needed, and what it brought.

    `requests` and `tokens` follow from the inputs; money is what this machine paid (None: unknown
    here). `hard` are the hard instructions that entered the Train Pool.
    """

    requests: int
    tokens: int
    nanodollars: int | None
    unpriced: int | None
    hard: int
    audit: Audited


@dataclass(frozen=True, slots=True)
class Judge:
    """What an iteration's reviews tell of their referee: see `CalibrationMetrics` and `Noise`."""

    flip_share: float | None
    position_bias_points: float | None
    tie_share: float | None
    length_correlation: float | None
    noise_points: float
    tau_points: float
    within_share: float | None


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What the student's likelihoods of an iteration are: see `LikelihoodMetrics`.

    `auc_share` compares them with the referee on `judged` rows, with its interval where there is
    one.
    """

    rows: int
    mean_nats: float | None
    same_answer_share: float | None
    judged: int
    auc_share: float | None
    auc_share_interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class IterationMetrics:
    """One iteration's figures; None where there is none (yet).

    `hits` replies came from the ledger, without a call. `wasted` of the `calls` brought nothing:
    `throttled` were refused (429), `billed` may have been charged all the same. `tokens_by_role`
    are of the replies that this iteration's stages used, whoever paid for them and when; `tokens`
    is their sum. `field_accuracy_share` and `valid_share` are of JSON answers, None with other
    scorers. `guess_accuracy_share` is that of a category's commonest expected answer.
    `student_prompt_tokens` and `teacher_prompt_tokens` are the means of a request
    (`PromptLengths`), None where the student has the teacher's prompt.
    """

    iteration: str
    previous: str | None
    train_pool: int | None
    cache_pool: int | None
    hard_share: float | None
    mean_gap_points: float | None
    asked: int | None
    kept: int | None
    dropped: Mapping[str, int]
    accuracy_share: float | None
    accuracy_share_interval: tuple[float, float] | None
    teacher_accuracy_share: float | None
    quality_percent: float | None
    quality_percent_interval: tuple[float, float] | None
    requests: int | None
    tokens: int | None
    tokens_by_role: Mapping[Role, int]
    calls: int | None
    nanodollars: int | None
    unpriced: int | None
    seconds: float | None
    stopped: str | None
    reviews: Reviews | None = None
    judge: Judge | None = None
    likelihood: Likelihoods | None = None
    wasted: int | None = None
    throttled: int | None = None
    billed: int | None = None
    certified: CertifiedMetrics | None = None
    quality_flip_share: float | None = None
    accuracy_rows: int | None = None
    guess_accuracy_share: float | None = None
    accuracy_share_difference: float | None = None
    accuracy_share_difference_interval: tuple[float, float] | None = None
    field_accuracy_share: Mapping[str, float] | None = None
    valid_share: float | None = None
    student_prompt_tokens: float | None = None
    teacher_prompt_tokens: float | None = None
    hits: int | None = None

    @property
    def kept_share(self) -> float | None:
        """The kept candidates of all that the generator wrote."""
        return self.kept / self.asked if self.asked and self.kept is not None else None

    @property
    def category_difference(self) -> float | None:
        """The accuracy less the teacher's, over categories; None where it is that over rows."""
        by_rows = self.accuracy_share_difference
        if self.accuracy_share is None or self.teacher_accuracy_share is None or by_rows is None:
            return None
        difference = self.accuracy_share - self.teacher_accuracy_share
        return None if abs(difference - by_rows) < _ROUNDING else difference


@dataclass(frozen=True, slots=True)
class _Artifacts:
    """An iteration's metrics and records of runs."""

    bootstrap: BootstrapMetrics | None
    seed: SeedMetrics | None
    review: ReviewMetrics | None
    calibration: CalibrationMetrics | None
    split: SplitMetrics | None
    agreement: AgreementMetrics | None
    calibrate: CalibrateMetrics | None
    generate: GenerateMetrics | None
    teach: TeachMetrics | None
    tune: TuneMetrics | None
    evaluate: EvaluateMetrics | None
    certificate: CertificateMetrics | None
    records: Mapping[str, RunRecord]

    @classmethod
    def of(cls, name: str, read: Read) -> "_Artifacts":
        """Return the metrics and records of iteration `name`; None for an absent file."""

        def metrics(kind: type[M]) -> M | None:
            return read(project.metrics(name, kind.FILE), kind)

        records = {
            stage: read(project.run_record(f"{stage}@{name}"), RunRecord) for stage in STAGES
        }
        return cls(
            bootstrap=metrics(BootstrapMetrics),
            seed=metrics(SeedMetrics),
            review=metrics(ReviewMetrics),
            calibration=metrics(CalibrationMetrics),
            split=metrics(SplitMetrics),
            agreement=metrics(AgreementMetrics),
            calibrate=metrics(CalibrateMetrics),
            generate=metrics(GenerateMetrics),
            teach=metrics(TeachMetrics),
            tune=metrics(TuneMetrics),
            evaluate=metrics(EvaluateMetrics),
            certificate=metrics(CertificateMetrics),
            records={stage: record for stage, record in records.items() if record is not None},
        )

    @property
    def dropped(self) -> dict[str, int]:
        """The rows and candidates that were dropped, by reason."""
        rows = (self.bootstrap, self.seed, self.review, self.calibrate, self.teach, self.tune)
        last = (self.evaluate, self.certificate)
        parts = [metrics.dropped for metrics in (*rows, *last) if metrics is not None]
        for pool in (self.bootstrap, self.generate):
            parts += [] if pool is None else [funnel.dropped for funnel in pool.funnels.values()]
        return _summed(parts)


def lines(iterations: Mapping[str, str], read: Read = files.read_if) -> list[IterationMetrics]:
    """Return the base's line, then one per iteration (name: predecessor), in their order.

    `read` reads the workspace's files by default.
    """
    everything = {project.BASE: None, **iterations}
    return [_line(name, previous, read) for name, previous in everything.items()]


def _line(name: str, previous: str | None, read: Read) -> IterationMetrics:
    artifacts = _Artifacts.of(name, read)
    split, generate, evaluate = artifacts.split, artifacts.generate, artifacts.evaluate
    certificate = artifacts.certificate
    records = list(artifacts.records.values())
    used = usage_by_role(name, read)
    tokens = {role: sum(usage.tokens for usage in parts) for role, parts in used.items()}
    funnels = None if generate is None else generate.funnels.values()
    return IterationMetrics(
        iteration=name,
        previous=previous,
        train_pool=_train_pool(name, artifacts),
        cache_pool=None if artifacts.teach is None else artifacts.teach.cache_pool,
        hard_share=None if split is None else split.hard_share,
        mean_gap_points=None if split is None else split.mean_gap_points,
        asked=None if funnels is None else sum(funnel.asked for funnel in funnels),
        kept=None if funnels is None else sum(funnel.kept for funnel in funnels),
        dropped=artifacts.dropped,
        accuracy_share=None if evaluate is None else evaluate.accuracy_share,
        accuracy_share_interval=None if evaluate is None else _bounds(evaluate.accuracy_interval),
        teacher_accuracy_share=None if evaluate is None else evaluate.teacher_accuracy_share,
        guess_accuracy_share=None if evaluate is None else evaluate.guess_accuracy_share,
        quality_percent=None if evaluate is None else evaluate.quality_percent,
        quality_percent_interval=None if evaluate is None else _bounds(evaluate.quality_interval),
        quality_flip_share=None if evaluate is None else evaluate.quality_flip_share,
        requests=sum(usage.requests for parts in used.values() for usage in parts)
        if used
        else None,
        tokens=sum(tokens.values()) if used else None,
        tokens_by_role=tokens,
        calls=_happened(records, "calls"),
        nanodollars=_happened(records, "nanodollars"),
        unpriced=_happened(records, "unpriced"),
        seconds=sum(record.seconds for record in records) or None,
        stopped=None if split is None else split.stopped,
        reviews=_reviews(artifacts),
        judge=_judge(artifacts),
        likelihood=_likelihood(artifacts),
        hits=_happened(records, "hits"),
        wasted=_happened(records, "wasted"),
        throttled=_happened(records, "throttled"),
        billed=_happened(records, "billed"),
        certified=None if certificate is None else CertifiedMetrics.of(certificate),
        **({} if evaluate is None else _comparison(evaluate)),
        field_accuracy_share=_field_shares(evaluate),
        valid_share=_valid_share(evaluate),
    )


def _field_shares(evaluate: EvaluateMetrics | None) -> dict[str, float] | None:
    if evaluate is None or evaluate.fields is None:
        return None
    shares = {name: field.student for name, field in evaluate.fields.by_name.items()}
    return {name: share.value_share for name, share in shares.items() if share is not None}


def _valid_share(evaluate: EvaluateMetrics | None) -> float | None:
    fields = None if evaluate is None else evaluate.fields
    return None if fields is None or fields.valid is None else fields.valid.value_share


def _comparison(evaluate: EvaluateMetrics) -> dict[str, Any]:
    """Return the student's accuracy and prompt beside the teacher's, as fields of a line."""
    lengths = evaluate.prompt
    return {
        "accuracy_rows": evaluate.accuracy_rows,
        "accuracy_share_difference": evaluate.accuracy_share_difference,
        "accuracy_share_difference_interval": _bounds(evaluate.difference_interval),
        "student_prompt_tokens": lengths and lengths.student_tokens,
        "teacher_prompt_tokens": lengths and lengths.teacher_tokens,
    }


def usage_by_role(name: str, read: Read = files.read_if) -> dict[Role, list[RoleUsage]]:
    """Return what the stages of an iteration asked, by role, in the order of the stages.

    What the base alone asks is counted there.
    """
    used: dict[Role, list[RoleUsage]] = {}
    for stage in STAGES.values():
        metrics = (
            None
            if stage.metrics is None
            else read(project.metrics(name, stage.name), stage.metrics)
        )
        for role in stage.asks:
            part = None if metrics is None else metrics.used.get(role)
            if part is not None and (name == project.BASE or role not in stage.asked_in_base):
                used.setdefault(role, []).append(part)
    return used


def _train_pool(name: str, artifacts: _Artifacts) -> int | None:
    if name == project.BASE:
        return None if artifacts.seed is None else artifacts.seed.rows
    return None if artifacts.generate is None else artifacts.generate.new


def _reviews(artifacts: _Artifacts) -> Reviews | None:
    """Return what judging needed; None where no referee was asked, but for an audit."""
    review = artifacts.review
    if review is None or review.likelihood is not None or artifacts.agreement is None:
        return None
    used = review.referee
    if used is None:
        return None
    record = artifacts.records.get("review")
    records = [] if record is None else [record]
    return Reviews(
        requests=used.requests,
        tokens=used.tokens,
        nanodollars=_happened(records, "nanodollars"),
        unpriced=_happened(records, "unpriced"),
        hard=0 if artifacts.generate is None else artifacts.generate.hard.kept,
        audit=artifacts.agreement.audit,
    )


def _judge(artifacts: _Artifacts) -> Judge | None:
    """Return what reviews tell of their referee; None where none was asked, or of too few rows."""
    usage, calibration = artifacts.review and artifacts.review.referee, artifacts.calibration
    if (
        not usage
        or artifacts.agreement is None
        or calibration is None
        or calibration.noise_points is None
    ):
        return None
    return Judge(
        flip_share=calibration.flip_share,
        position_bias_points=calibration.position_bias_points,
        tie_share=calibration.tie_share,
        length_correlation=calibration.length_correlation,
        noise_points=calibration.noise_points,
        tau_points=artifacts.agreement.noise.tau_points,
        within_share=artifacts.agreement.noise.within_share,
    )


def _likelihood(artifacts: _Artifacts) -> Likelihoods | None:
    """Return what the student's likelihoods are; None where another judge decided."""
    scored = None if artifacts.review is None else artifacts.review.likelihood
    if scored is None:
        return None
    auc = None if artifacts.agreement is None else artifacts.agreement.likelihood_auc
    value, low, high = (None, None, None) if auc is None else auc.figures
    return Likelihoods(
        rows=scored.rows,
        mean_nats=scored.mean_nats,
        same_answer_share=scored.same_answer_share,
        judged=0 if auc is None else auc.count,
        auc_share=value,
        auc_share_interval=None if low is None or high is None else (low, high),
    )


def _summed(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            if count:
                total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items()))


def _bounds(interval: IntervalMetrics | None) -> tuple[float, float] | None:
    """Return (low, high), or None where there is none: a category of one row has no interval."""
    return None if interval is None else interval.bounds


def _happened(records: Sequence[RunRecord], name: str) -> int | None:
    """Return the sum of a figure over roles and stages; None where no stage ran here."""
    usages = [part for record in records for part in record.asked.values()]
    return sum(getattr(part, name) for part in usages) if records else None
