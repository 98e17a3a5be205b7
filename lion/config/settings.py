"""params.yaml as typed, validated settings; every default is in params.yaml itself.

One model per section, in the neighbour modules by subject; importers find all of them here. Unknown
keys are refused. `lion.config.validation` reads a document into them.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lion.config.endpoint_settings import (
    EMBEDDED,
    Api,
    Budget,
    EmbeddingEndpoint,
    Endpoint,
    Mode,
    Modes,
    Referee,
    Section,
    Served,
    Thinking,
)
from lion.config.judging_sections import (
    Calibrate,
    Certify,
    Evaluate,
    Exam,
    Exams,
    FieldRule,
    HalfJudged,
    NumberRule,
    ReviewSettings,
    Scorer,
    Split,
)
from lion.config.pool_sections import (
    TICKET_FIELDS,
    TICKETS,
    BootstrapSettings,
    Decontaminate,
    Generate,
    NearDuplicates,
    Quality,
    Seed,
    TaskSettings,
    Teach,
)
from lion.config.student_sections import Answering, Hardware, Launcher, Respond, Student, Tune

__all__ = [
    "EMBEDDED",
    "ROLES",
    "TICKETS",
    "Answering",
    "Api",
    "BootstrapSettings",
    "Budget",
    "Certify",
    "Decontaminate",
    "EmbeddingEndpoint",
    "Endpoint",
    "Evaluate",
    "Exam",
    "Exams",
    "FieldRule",
    "Generate",
    "HalfJudged",
    "Hardware",
    "IterationSettings",
    "Launcher",
    "Mode",
    "Modes",
    "NearDuplicates",
    "NumberRule",
    "Quality",
    "Referee",
    "ReviewSettings",
    "Scorer",
    "Section",
    "Seed",
    "Served",
    "Settings",
    "Split",
    "Student",
    "TaskSettings",
    "Teach",
    "Thinking",
    "Tune",
    "endpoints",
    "generations",
    "near_duplicates",
]

ITERATION_NAME = re.compile(r"^[0-9][0-9a-z_-]*\Z")
BASELINE_NAME = re.compile(r"^[a-z][0-9a-z_-]*\Z")
ROLES: tuple[Literal["teacher", "referee", "generator"], ...] = ("teacher", "referee", "generator")


RandomSeed = Annotated[int, Field(ge=0, lt=2**32)]
"""What numpy and transformers take as a seed: 32 bits."""


class IterationSettings(Section):
    """One iteration of the loop: its predecessor and what it overrides."""

    previous: str
    generate: dict[str, Any]
    tune: dict[str, Any]


class Baseline(Section):
    """A student to compare the loop with: made as iteration `like` is, from rows of another source.

    `previous` is "0" or another baseline. `rows`: the given ones again, or new ones of parents that
    no verdict chooses (`generate.feedback`), as many as the spend of `like` buys without a referee;
    there a completion token counts as `completion_price` prompt tokens.
    """

    previous: str
    like: str
    rows: Literal["given", "uniform", "uniform-mixed", "balanced"]
    completion_price: Annotated[float, Field(gt=0)] = 4.0


class Base(Section):
    """What the base imitation overrides."""

    tune: dict[str, Any]


class Settings(Section):
    """The whole of params.yaml."""

    random_seed: RandomSeed
    inputs: Annotated[str, Field(min_length=1)]
    task: TaskSettings
    bootstrap: dict[str, BootstrapSettings]
    seed: Seed
    exam: Exam
    quality: Quality
    decontaminate: Decontaminate
    teacher: Endpoint
    referee: Referee
    generator: Endpoint
    student: Student
    teach: Teach
    answering: Answering
    respond: Respond
    review: ReviewSettings
    split: Split
    calibrate: Calibrate
    generate: Generate
    tune: Tune
    evaluate: Evaluate
    exams: Exams
    certify: Certify
    api: Api
    hardware: Hardware
    budget: Budget
    base: Base
    baselines: dict[str, Baseline]
    curve: list[Annotated[int, Field(ge=1)]]
    iterations: dict[str, IterationSettings]

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _one_base_pool(cls, value: object) -> object:
        if isinstance(value, dict) and not set(value) <= {"0"}:
            raise ValueError('its one name is "0", the base, in quotes')
        return value

    def bootstrap_filters(self, iteration: str) -> Generate:
        """Return the section `generate` as the bootstrap of `iteration` overrides it."""
        return Generate(**{**self.generate.model_dump(), **self.bootstrap[iteration].generate})

    @model_validator(mode="after")
    def _tokens_can_be_counted(self) -> Self:
        if self.quality.max_tokens is not None and self.student.model == EMBEDDED:
            raise ValueError(
                "quality.max_tokens: the embedded student's tokenizer is made from the pool "
                "itself; set it to null"
            )
        return self

    @model_validator(mode="after")
    def _tickets_are_declared(self) -> Self:
        drawn = TICKETS in (self.seed.source, self.exam.file)
        if drawn and sorted(self.task.fields) != sorted(TICKET_FIELDS):
            raise ValueError(
                f"task.fields: simulated tickets have {' and '.join(TICKET_FIELDS)}; declare them "
                "as profiles/narrow.yaml does, or name files in seed.source and exam.file"
            )
        return self

    def generate_at(self, iteration: str) -> Generate:
        """Return the section `generate` as `iteration` (or a baseline) overrides it."""
        baseline = self.baselines.get(iteration)
        if baseline is not None:
            feedback = "uniform" if baseline.rows == "given" else baseline.rows
            changes = {"feedback": feedback, "choice": "uniform"}
            return self.generate_at(baseline.like).model_copy(update=changes)
        return Generate(**{**self.generate.model_dump(), **self.iterations[iteration].generate})

    def no_reader(self, generate: Generate) -> str | None:
        """Return why no one reads the verdicts of an iteration with the section `generate`.

        None where someone does: parents are drawn by verdict, or old rows by what is forgotten.
        """
        if generate.feedback == "adversarial" or self.tune.replay_choice == "forgotten":
            return None
        return f"generate.feedback: {generate.feedback} reads no verdict"

    def no_reader_at(self, iteration: str) -> str | None:
        """Return why no one reads the verdicts of `iteration`; None where someone does."""
        return self.no_reader(self.generate_at(iteration))

    @property
    def exam_referee(self) -> Referee:
        """The referee of evaluation: its own, or the loop's."""
        return self.evaluate.referee or self.referee

    @property
    def grader(self) -> str:
        """Who grades the exam's quality, for a person: the model, and whose referee it is."""
        whose = "loop" if self.evaluate.referee is None else "exam"
        return f"{self.exam_referee.model}, the {whose}'s referee"

    def depth(self, iteration: str) -> int:
        """Return how many iterations lie between `iteration` and the base, itself included.

        Draws are keyed by it, so that a branch differs from its sibling only in what it overrides.
        """
        return len(self.lineage(iteration))

    def lineage(self, iteration: str) -> list[str]:
        """Return `iteration` (or a baseline) and those before it, without the base, last first."""
        names: list[str] = []
        name = iteration
        while (name in self.iterations or name in self.baselines) and name not in names:
            names.append(name)
            name = self.previous(name)
        return names

    def previous(self, iteration: str) -> str:
        """Return the iteration, or the baseline, that `iteration` starts from."""
        baseline = self.baselines.get(iteration)
        return self.iterations[iteration].previous if baseline is None else baseline.previous

    @property
    def curve_points(self) -> list[str]:
        """The names of the curve's points, as `rows-50`."""
        return [f"rows-{rows}" for rows in self.curve]

    def with_exam_of(self, iteration: str) -> "Settings":
        """Return the settings of an exam: only the loop's students are shown to the referee.

        Baselines and points of the curve are not, unless the referee is the exam's scorer.
        """
        if iteration == "0" or iteration in self.iterations or self.exam.scorer.kind == "referee":
            return self
        return self.model_copy(update={"evaluate": self.evaluate.model_copy(update={"quality": 0})})

    def tune_at(self, iteration: str) -> Tune:
        """Return the section `tune` as `iteration` (or "0", the base; or a baseline) overrides it.

        A baseline has no verdicts to choose by what is replayed.
        """
        baseline = self.baselines.get(iteration)
        if baseline is not None:
            return self.tune_at(baseline.like).model_copy(update={"replay_choice": "uniform"})
        override = self.base.tune if iteration == "0" else self.iterations[iteration].tune
        return Tune(**{**self.tune.model_dump(), **override})


def endpoints(settings: Settings) -> Iterator[tuple[str, Endpoint]]:
    """Yield each endpoint under its role's name, or its parameter's."""
    for role in ROLES:
        yield role, getattr(settings, role)
    for place, gate in near_duplicates(settings):
        if gate.endpoint is not None:
            yield f"{place}.endpoint", gate.endpoint
    if settings.calibrate.iterations and settings.calibrate.second is not None:
        yield "calibrate.second", settings.calibrate.second
    if settings.evaluate.referee is not None:
        yield "evaluate.referee", settings.evaluate.referee


def near_duplicates(settings: Settings) -> Iterator[tuple[str, NearDuplicates]]:
    """Yield each gate of embeddings that some stage will use, once, under its parameter's name."""
    seen: list[NearDuplicates] = []
    for place, filters in generations(settings):
        gate = filters.near_duplicates
        if gate is not None and gate not in seen:
            seen.append(gate)
            shared = gate == settings.generate.near_duplicates
            yield f"{'generate' if shared else place}.near_duplicates", gate


def generations(settings: Settings) -> Iterator[tuple[str, Generate]]:
    """Yield the filters of every stage that makes instructions, under their parameter's name."""
    for name in settings.bootstrap:
        yield f"bootstrap.{name}.generate", settings.bootstrap_filters(name)
    for name in settings.iterations:
        yield f"iterations.{name}.generate", settings.generate_at(name)
