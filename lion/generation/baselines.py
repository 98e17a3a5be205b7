"""The rows of a baseline: the given ones again, or new ones of parents that no verdict chooses.

At the spend of the iteration that the baseline is made like: what that paid its referee buys more
rows. Writes no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lion.config.settings import Baseline, Generate, Settings
from lion.errors import DataError
from lion.generation.generate import Generated, History, generate
from lion.generation.teach import AnswerFilter, Taught, teach
from lion.llm.protocols import Clients
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, TeachMetrics
from lion.metrics.units import RoleUsage
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Instruction


@dataclass(frozen=True, slots=True)
class Spend:
    """What the loop's iteration took: `judging` in weighted tokens, `growing` for its `rows`.

    Growing is generation with its filters, and the teacher's answers.
    """

    judging: float
    growing: float
    rows: int

    @property
    def total(self) -> float:
        """Both, in weighted tokens."""
        return self.judging + self.growing

    @property
    def affordable_rows(self) -> int:
        """How many rows the total buys where nothing is judged."""
        if not self.rows or not self.growing:
            return self.rows
        return round(self.rows * self.total / self.growing)


@dataclass(frozen=True, slots=True)
class Grown:
    """The `new` rows with answers and the Cache Pool; what the phases returned, if they ran."""

    new: Sequence[Instruction]
    cache: Sequence[Instruction]
    generated: Generated | None = None
    taught: Taught | None = None
    usages: Mapping[str, RoleUsage] = field(default_factory=dict)


def weighted_tokens(usages: Mapping[str, RoleUsage], completion_price: float) -> float:
    """Return prompt tokens plus `completion_price` times the completion tokens of all replies.

    Replies without usage count as the mean of the others. Raises DataError where all are. The
    embedder is left out: its tokens have a price of their own, and many servers do not count them.
    """
    chatting = [usage for role, usage in usages.items() if role != "embedder"]
    return sum(_weighted(usage, completion_price) for usage in chatting)


def _weighted(usage: RoleUsage, completion_price: float) -> float:
    counted = usage.requests - usage.replies_without_usage
    if usage.requests and not counted:
        raise DataError(
            "the server counts no tokens, so an equal spend is not known; set `rows: given` in "
            "`baselines`"
        )
    tokens = usage.prompt_tokens + completion_price * usage.completion_tokens
    return tokens * usage.requests / counted if counted else 0.0


def spend_of(
    review: ReviewMetrics, generate: GenerateMetrics, teach: TeachMetrics, completion_price: float
) -> Spend:
    """Return what an iteration took, from its metrics. Raises DataError."""
    return Spend(
        judging=weighted_tokens(review.used, completion_price),
        growing=weighted_tokens({**generate.used, **teach.used}, completion_price),
        rows=generate.new,
    )


def at_equal_spend(rules: Generate, rows: int) -> Generate:
    """Return the rules for `rows` new rows, hard and easy in the shares of `rules`."""
    hard = round(rows * rules.hard / (rules.hard + rules.easy)) if rows else 0
    return rules.model_copy(update={"hard": hard, "easy": rows - hard})


def grow_baseline(
    baseline: Baseline,
    cache: Sequence[Instruction],
    exams: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    *,
    name: str,
    depth: int,
    reject: AnswerFilter | None = None,
) -> Grown:
    """Return the rows of baseline `name`; `settings.generate` is its section, at equal spend.

    `reject` is that of `teach`. Raises as the phases `generate` and `teach` do.
    """
    if baseline.rows == "given":
        return Grown([row for row in cache if row.iteration == "0"], cache)
    wanted = settings.generate.hard + settings.generate.easy
    generated = generate(
        History(cache, [], []),
        exams,
        settings,
        clients,
        templates,
        iteration=name,
        depth=depth,
        stopped=not wanted,
    )
    prompts = templates["teacher"]
    taught = teach(generated.kept, cache, settings, clients, prompts, reject=reject)
    return Grown(taught.new, taught.cache, generated, taught, _usages(generated, taught))


def _usages(generated: Generated, taught: Taught) -> dict[str, RoleUsage]:
    usage = generated.usage
    embedder = None if usage.embedder is None else usage.embedder.asked
    parts = {"generator": usage.generator, "embedder": embedder, "safety": usage.safety}
    every = {**parts, "teacher": taught.usage}
    return {role: part for role, part in every.items() if part is not None}
