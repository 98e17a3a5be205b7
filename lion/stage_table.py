"""The stages of the pipeline: whom each asks, what it reads and writes, what it drops.

The one table of them: plan, summary, page, trace and tests read it, and a test compares it with
dvc.yaml. Paths stand for one iteration: `{key}` is its name, `{previous}` that of the one before,
`{like}` the iteration that a baseline is made like. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lion.metrics.certificates import CertificateMetrics
from lion.metrics.exams import CurveMetrics, EvaluateMetrics, ExamineMetrics
from lion.metrics.judging import CalibrateMetrics, ReviewMetrics, SplitMetrics
from lion.metrics.pools import (
    BootstrapMetrics,
    GenerateMetrics,
    GrowMetrics,
    SeedMetrics,
    TeachMetrics,
    TuneMetrics,
)
from lion.metrics.units import Metrics

Role = Literal["teacher", "referee", "generator", "embedder", "safety", "second", "student"]
"""Whom a stage asks. `safety` is the referee as a filter of generation, `second` another referee,
`student` the server that answers for the student."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of stage.

    `module` is its file under stages/. `asks` are the roles that it may ask, as metrics call them;
    `asked_in_base` are those of which the loop's iterations ask nothing new: their requests are the
    base's, and the ledger has the replies. `reads` and `writes` are paths under data/ and metrics/;
    `metrics` is the struct of the stage's own file. `drops`: whether it writes dropped.NAME.jsonl.
    `runs_in` is where it runs: in the base, in the loop, in both, in each baseline, for each point
    of the curve, or once at the end. A baseline's stage has a name of its own and the module of
    another.
    """

    name: str
    module: str
    runs_in: Literal["base", "loop", "both", "baseline", "curve", "end"]
    asks: tuple[Role, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    metrics: type[Metrics] | None = None
    asked_in_base: tuple[Role, ...] = ()
    drops: bool = True
    looks_up_student: bool = False
    optional: bool = False

    @property
    def kind(self) -> str:
        """The stage's name as its module runs it: `tune` of `baseline-tune`."""
        return self.module.rpartition(".")[2]

    def outputs(self, key: str) -> list[str]:
        """Return the paths that the stage writes in iteration `key`."""
        dropped = [f"data/{key}/dropped.{self.kind}.jsonl"] if self.drops else []
        return [*(path.format(key=key) for path in self.writes), *dropped]

    def inputs(self, key: str, previous: str | None, like: str = "") -> list[str]:
        """Return the paths that the stage reads in iteration `key`, which follows `previous`."""
        paths = self.reads if previous is not None else self._base_reads()
        return [path.format(key=key, previous=previous, like=like) for path in paths]

    def _base_reads(self) -> tuple[str, ...]:
        """Return what the base's stage reads: the base has no iteration before it."""
        paths = (path.replace("{previous}/student", "base") for path in self.reads)
        return tuple(path for path in paths if "{previous}" not in path)


_TUNED = (
    "data/{key}/student",
    "data/{key}/replayed.json",
    "metrics/{key}/tune.csv",
    "metrics/{key}/tune.json",
)
_EVALUATED = (
    "data/{key}/exam_responses.jsonl",
    "data/{key}/evaluated.json",
    "data/{key}/exam_basis.json",
    "metrics/{key}/evaluate.json",
    "metrics/{key}/exam.json",
)

_STAGES = (
    Stage(
        "bootstrap",
        "stages.bootstrap",
        "base",
        asks=("generator", "embedder", "safety"),
        writes=("data/{key}/bootstrapped.jsonl", "metrics/{key}/bootstrap.json"),
        metrics=BootstrapMetrics,
        optional=True,
    ),
    Stage(
        "seed",
        "stages.seed",
        "base",
        writes=(
            "data/0/train_pool.jsonl",
            "data/0/verdicts.jsonl",
            "data/exam.jsonl",
            "data/further_exams.json",
            "data/base",
            "metrics/0/seed.json",
        ),
        metrics=SeedMetrics,
        looks_up_student=True,
    ),
    Stage(
        "respond",
        "stages.respond",
        "loop",
        asks=("student",),
        reads=(
            "data/{previous}/cache_pool.jsonl",
            "data/{previous}/student",
            "data/{previous}/evaluated.json",
        ),
        writes=("data/{key}/responses.jsonl",),
        drops=False,
    ),
    Stage(
        "review",
        "stages.review",
        "loop",
        asks=("referee",),
        reads=(
            "data/{previous}/cache_pool.jsonl",
            "data/{previous}/verdicts.jsonl",
            "data/{key}/responses.jsonl",
        ),
        writes=(
            "data/{key}/reviews.jsonl",
            "data/{key}/selection.jsonl",
            "metrics/{key}/review.json",
            "metrics/{key}/calibration.json",
        ),
        metrics=ReviewMetrics,
    ),
    Stage(
        "split",
        "stages.split",
        "loop",
        reads=(
            "data/{previous}/verdicts.jsonl",
            "data/{key}/reviews.jsonl",
            "data/{key}/selection.jsonl",
            "metrics/{key}/calibration.json",
        ),
        writes=(
            "data/{key}/verdicts.jsonl",
            "data/{key}/stop.json",
            "metrics/{key}/agreement.json",
            "metrics/{key}/split.json",
        ),
        metrics=SplitMetrics,
        drops=False,
    ),
    Stage(
        "calibrate",
        "stages.calibrate",
        "loop",
        asks=("referee", "second"),
        reads=(
            "data/exam.jsonl",
            "data/{key}/cache_pool.jsonl",
            "data/{key}/responses.jsonl",
            "data/{key}/verdicts.jsonl",
            "metrics/{key}/agreement.json",
        ),
        writes=(
            "data/{key}/anchor_reviews.jsonl",
            "data/{key}/second_reviews.jsonl",
            "metrics/{key}/calibrate.json",
        ),
        metrics=CalibrateMetrics,
        optional=True,
    ),
    Stage(
        "generate",
        "stages.generate",
        "loop",
        asks=("generator", "embedder", "safety"),
        reads=(
            "data/exam.jsonl",
            "data/further_exams.json",
            "data/{previous}/cache_pool.jsonl",
            "data/{previous}/verdicts.jsonl",
            "data/{previous}/replayed.json",
            "data/{key}/verdicts.jsonl",
            "data/{key}/stop.json",
        ),
        writes=("data/{key}/train_pool.jsonl", "metrics/{key}/generate.json"),
        metrics=GenerateMetrics,
    ),
    Stage(
        "teach",
        "stages.teach",
        "both",
        asks=("teacher",),
        reads=(
            "data/exam.jsonl",
            "data/{previous}/cache_pool.jsonl",
            "data/{key}/train_pool.jsonl",
        ),
        writes=("data/{key}/cache_pool.jsonl", "metrics/{key}/teach.json"),
        metrics=TeachMetrics,
    ),
    Stage(
        "tune",
        "stages.tune",
        "both",
        reads=(
            "data/{previous}/student",
            "data/{key}/train_pool.jsonl",
            "data/{key}/cache_pool.jsonl",
            "data/{key}/verdicts.jsonl",
        ),
        writes=_TUNED,
        metrics=TuneMetrics,
    ),
    Stage(
        "evaluate",
        "stages.evaluate",
        "both",
        asks=("teacher", "referee", "student"),
        asked_in_base=("teacher",),
        reads=("data/exam.jsonl", "data/{key}/student"),
        writes=_EVALUATED,
        metrics=EvaluateMetrics,
    ),
    Stage(
        "examine",
        "stages.examine",
        "both",
        reads=("data/further_exams.json", "data/{key}/student"),
        writes=(
            "data/{key}/examine_responses.jsonl",
            "metrics/{key}/examine.json",
            "metrics/{key}/reasoning.json",
        ),
        metrics=ExamineMetrics,
        drops=False,
        optional=True,
    ),
    Stage(
        "certify",
        "stages.certify",
        "both",
        asks=("teacher", "referee"),
        reads=(
            "data/exam.jsonl",
            "data/{key}/exam_responses.jsonl",
            "data/{key}/exam_basis.json",
            "data/{key}/student",
        ),
        writes=("metrics/{key}/certificate.json", "metrics/{key}/certified.json"),
        metrics=CertificateMetrics,
        optional=True,
    ),
    Stage(
        "grow",
        "stages.grow",
        "baseline",
        asks=("generator", "teacher", "embedder", "safety"),
        reads=(
            "data/exam.jsonl",
            "data/further_exams.json",
            "data/{previous}/cache_pool.jsonl",
            "metrics/{like}/review.json",
            "metrics/{like}/generate.json",
            "metrics/{like}/teach.json",
        ),
        writes=(
            "data/{key}/train_pool.jsonl",
            "data/{key}/cache_pool.jsonl",
            "metrics/{key}/grow.json",
        ),
        metrics=GrowMetrics,
        optional=True,
    ),
    Stage(
        "baseline-tune",
        "stages.tune",
        "baseline",
        reads=(
            "data/{previous}/student",
            "data/{key}/train_pool.jsonl",
            "data/{key}/cache_pool.jsonl",
            "metrics/{like}/tune.json",
        ),
        writes=_TUNED,
        optional=True,
    ),
    Stage(
        "baseline-evaluate",
        "stages.evaluate",
        "baseline",
        asks=("teacher", "referee", "student"),
        asked_in_base=("teacher",),
        reads=("data/exam.jsonl", "data/0/exam_basis.json", "data/{key}/student"),
        writes=_EVALUATED,
        optional=True,
    ),
    Stage(
        "curve",
        "stages.curve",
        "curve",
        asks=("teacher", "referee", "student"),
        asked_in_base=("teacher",),
        reads=("data/exam.jsonl", "data/base", "data/0/cache_pool.jsonl", "metrics/0/teach.json"),
        writes=("data/{key}/exam_responses.jsonl", "metrics/{key}/curve.json"),
        metrics=CurveMetrics,
        optional=True,
    ),
    Stage("report", "stages.report", "end", drops=False),
)

STAGES: Mapping[str, Stage] = {stage.name: stage for stage in _STAGES}
"""Every kind of stage by its name, in the order of an iteration."""


def of_base() -> Iterator[Stage]:
    """Yield the stages of the base, in their order."""
    return (stage for stage in _STAGES if stage.runs_in in ("base", "both"))


def of_baselines() -> Iterator[Stage]:
    """Yield the stages of one baseline, in their order."""
    return (stage for stage in _STAGES if stage.runs_in == "baseline")


def of_loop() -> Iterator[Stage]:
    """Yield the stages of one iteration, in their order."""
    return (stage for stage in _STAGES if stage.runs_in in ("loop", "both"))
