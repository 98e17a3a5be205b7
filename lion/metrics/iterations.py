"""The iterations side by side: what metrics and records of runs say, gathered. Reads, never judges.

Metrics follow from the inputs; records of runs (`.lion/runs/`) tell what really happened on this
machine, and are absent in a fresh clone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from lion.config import project
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.files import M
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
from lion.metrics.runs import RunRecord
from lion.metrics.units import IntervalMetrics, RoleUsage
from lion.stage_table import STAGES, Role


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
class Line:
    """One iteration's figures; None where there is none (yet).

    `wasted` of the `calls` brought nothing: `throttled` were refused (429), `billed` may have been
    charged all the same. `tokens_by_role` are of the replies that this iteration's stages used,
    whoever paid for them and when; `tokens` is their sum.
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
    wasted: int | None = None
    throttled: int | None = None
    billed: int | None = None


@dataclass(frozen=True, slots=True)
class _Found:
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
    records: Mapping[str, RunRecord]

    @classmethod
    def of(cls, name: str, read: Read) -> "_Found":
        """Read what there is of an iteration."""

        def one(kind: type[M]) -> M | None:
            return read(project.metrics(name, kind.FILE), kind)

        records = {
            stage: read(project.run_record(f"{stage}@{name}"), RunRecord) for stage in STAGES
        }
        return cls(
            bootstrap=one(BootstrapMetrics),
            seed=one(SeedMetrics),
            review=one(ReviewMetrics),
            calibration=one(CalibrationMetrics),
            split=one(SplitMetrics),
            agreement=one(AgreementMetrics),
            calibrate=one(CalibrateMetrics),
            generate=one(GenerateMetrics),
            teach=one(TeachMetrics),
            tune=one(TuneMetrics),
            evaluate=one(EvaluateMetrics),
            records={stage: record for stage, record in records.items() if record is not None},
        )

    @property
    def dropped(self) -> dict[str, int]:
        """The rows and candidates that were dropped, by reason."""
        rows = (self.bootstrap, self.seed, self.review, self.calibrate, self.teach, self.tune)
        parts = [one.dropped for one in (*rows, self.evaluate) if one is not None]
        for made in (self.bootstrap, self.generate):
            parts += [one.dropped for one in made.funnels.values()] if made is not None else []
        return _summed(parts)


def lines(iterations: Mapping[str, str], read: Read = files.read_if) -> list[Line]:
    """Return the base's line, then one per iteration (name: predecessor), in their order.

    `read` reads the workspace's files by default.
    """
    everything = {project.BASE: None, **iterations}
    return [_line(name, previous, read) for name, previous in everything.items()]


def _line(name: str, previous: str | None, read: Read) -> Line:
    found = _Found.of(name, read)
    split, generate, evaluate = found.split, found.generate, found.evaluate
    records = list(found.records.values())
    used = usage_by_role(name, read)
    tokens = {role: sum(one.tokens for one in parts) for role, parts in used.items()}
    funnels = None if generate is None else generate.funnels.values()
    return Line(
        iteration=name,
        previous=previous,
        train_pool=_train_pool(name, found),
        cache_pool=None if found.teach is None else found.teach.cache_pool,
        hard_share=None if split is None else split.hard_share,
        mean_gap_points=None if split is None else split.mean_gap_points,
        asked=None if funnels is None else sum(one.asked for one in funnels),
        kept=None if funnels is None else sum(one.kept for one in funnels),
        dropped=found.dropped,
        accuracy_share=None if evaluate is None else evaluate.accuracy_share,
        accuracy_share_interval=None if evaluate is None else _bounds(evaluate.accuracy_interval),
        teacher_accuracy_share=None if evaluate is None else evaluate.teacher_accuracy_share,
        quality_percent=None if evaluate is None else evaluate.quality_percent,
        quality_percent_interval=None if evaluate is None else _bounds(evaluate.quality_interval),
        requests=sum(one.requests for parts in used.values() for one in parts) if used else None,
        tokens=sum(tokens.values()) if used else None,
        tokens_by_role=tokens,
        calls=_happened(records, "calls"),
        nanodollars=_happened(records, "nanodollars"),
        unpriced=_happened(records, "unpriced"),
        seconds=sum(record.seconds for record in records) or None,
        stopped=None if split is None else split.stopped,
        reviews=_reviews(found),
        judge=_judge(found),
        wasted=_happened(records, "wasted"),
        throttled=_happened(records, "throttled"),
        billed=_happened(records, "billed"),
    )


def usage_by_role(name: str, read: Read = files.read_if) -> dict[Role, list[RoleUsage]]:
    """Return what the stages of an iteration asked, by role, in the order of the stages.

    What only the base asks anew is counted there alone.
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


def _train_pool(name: str, found: _Found) -> int | None:
    if name == project.BASE:
        return None if found.seed is None else found.seed.rows
    return None if found.generate is None else found.generate.new


def _reviews(found: _Found) -> Reviews | None:
    """Return what judging needed; None where no referee was asked."""
    used = found.review and found.review.referee
    if not used or found.agreement is None:
        return None
    record = found.records.get("review")
    records = [] if record is None else [record]
    return Reviews(
        requests=used.requests,
        tokens=used.tokens,
        nanodollars=_happened(records, "nanodollars"),
        unpriced=_happened(records, "unpriced"),
        hard=0 if found.generate is None else found.generate.hard.kept,
        audit=found.agreement.audit,
    )


def _judge(found: _Found) -> Judge | None:
    """Return what reviews tell of their referee; None where none was asked, or of too few rows."""
    asked, told = found.review and found.review.referee, found.calibration
    if not asked or found.agreement is None or told is None or told.noise_points is None:
        return None
    return Judge(
        flip_share=told.flip_share,
        position_bias_points=told.position_bias_points,
        tie_share=told.tie_share,
        length_correlation=told.length_correlation,
        noise_points=told.noise_points,
        tau_points=found.agreement.noise.tau_points,
        within_share=found.agreement.noise.within_share,
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
    asked = [part for record in records for part in record.asked.values()]
    return sum(getattr(part, name) for part in asked) if records else None


def as_json(found: list[Line]) -> str:
    """Return the lines as one JSON array, for scripts."""
    return json.dumps(msgspec.to_builtins(found), indent=2)
