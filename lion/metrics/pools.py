"""Metrics of the stages that make rows and tune on them.

`short` tells how many instructions of a kind are lacking. Of the two gates that ask somebody,
`embedder` and `safety`, each is left out where params do not ask for it.
"""

from typing import ClassVar

from lion.metrics.units import Embedded, Funnel, Metrics, RoleUsage


class BootstrapMetrics(Metrics, frozen=True):
    """bootstrap.json: tasks of one's own (`seeds`) became a pool of `rows`."""

    FILE: ClassVar[str] = "bootstrap"

    rows: int
    seeds: int
    classification_rows: int
    classification: Funnel
    open: Funnel
    dropped: dict[str, int]
    short: dict[str, int]
    generator: RoleUsage
    embedder: Embedded | None = None
    safety: RoleUsage | None = None

    @property
    def funnels(self) -> dict[str, Funnel]:
        """What became of candidates, by the kind that was asked for."""
        return {"classification": self.classification, "open": self.open}


class SeedMetrics(Metrics, frozen=True):
    """seed.json: the rows of the base pool and of the exam."""

    FILE: ClassVar[str] = "seed"

    rows: int
    exam: int
    dropped: dict[str, int]


class GenerateMetrics(Metrics, frozen=True):
    """generate.json: `new` instructions; `resisting` are domains whose gap is large and stays.

    `stopped` says why nothing was asked, where the loop has stopped.
    """

    FILE: ClassVar[str] = "generate"

    new: int
    hard: Funnel
    easy: Funnel
    short: dict[str, int]
    resisting: tuple[str, ...]
    stopped: str | None
    generator: RoleUsage
    embedder: Embedded | None = None
    safety: RoleUsage | None = None

    @property
    def funnels(self) -> dict[str, Funnel]:
        """What became of candidates, by kind."""
        return {"hard": self.hard, "easy": self.easy}


class TeacherTrial(Metrics, frozen=True):
    """The teacher's accuracy on the exam rows of its first batch."""

    accuracy_share: float
    rows: int


class TeachMetrics(Metrics, frozen=True):
    """teach.json: `taught` rows have an answer now, of `cache_pool` in all.

    `trial` is of the base, where params ask for it.
    """

    FILE: ClassVar[str] = "teach"

    taught: int
    cache_pool: int
    dropped: dict[str, int]
    teacher: RoleUsage
    trial: TeacherTrial | None = None

    def tokens_of(self, rows: int) -> tuple[int, int]:
        """Return prompt and completion tokens of the answers to so many rows of the Cache Pool.

        The trial's share of the requests is left out: a pool that brought its answers cost nothing.
        """
        asked = self.teacher.requests
        tried = 0 if self.trial is None else min(self.trial.rows, asked)
        part = rows / self.cache_pool * ((asked - tried) / asked if asked else 0)
        return round(part * self.teacher.prompt_tokens), round(
            part * self.teacher.completion_tokens
        )


class GrowMetrics(Metrics, frozen=True, kw_only=True):
    """grow.json: the `rows` that a baseline is tuned on; given ones have no funnels.

    `weighted_tokens` is what asking for them took, `like_weighted_tokens` what the iteration took
    that the baseline is made like: a completion token counts as `completion_price` prompt tokens.
    """

    FILE: ClassVar[str] = "grow"

    rows: int
    cache_pool: int
    weighted_tokens: float
    like_weighted_tokens: float
    dropped: dict[str, int]
    short: dict[str, int]
    hard: Funnel | None = None
    easy: Funnel | None = None
    generator: RoleUsage | None = None
    teacher: RoleUsage | None = None
    embedder: Embedded | None = None
    safety: RoleUsage | None = None


class TuneMetrics(Metrics, frozen=True):
    """tune.json: what the student was tuned on; `final_loss_nats` is the last mean per token.

    Where rows were kept apart for validation: their number, and the step whose weights were best.
    """

    FILE: ClassVar[str] = "tune"

    new_rows: int
    old_rows: int
    dropped: dict[str, int]
    truncated: int
    steps: int
    supervised_tokens: int
    final_loss_nats: float | None
    validation_rows: int | None = None
    best_step: int | None = None
    validation_loss_nats: float | None = None
