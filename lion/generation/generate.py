"""The phase `generate`: new hard and new easy instructions, the Train Pool of an iteration.

Writes no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lion import pools
from lion.config.settings import Generate, Settings
from lion.conversations import TaskTemplate, shape_of, variable_part
from lion.failure_limit import allowed_failures
from lion.generation import learning_progress
from lion.generation.filters import decontamination, near_duplicates, quality, safety
from lion.generation.generated_pool import GeneratedPool, generated_pool, prompt_of
from lion.generation.learning_progress import Judged
from lion.generation.rounds import CandidateFilter, Draw, GenerationUsage, Rounds
from lion.llm.protocols import Clients
from lion.metrics.units import Funnel
from lion.prompting import generator
from lion.prompting.protocol import Outcome, Request
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import KINDS, Dropped, Instruction, Kind, Verdict


@dataclass(frozen=True, slots=True)
class History:
    """The Cache Pool, its verdicts of this iteration, and those of the iteration before.

    `replayed` are the old rows that the student was tuned on between the two.
    """

    cache: Sequence[Instruction]
    verdicts: Sequence[Verdict]
    before: Sequence[Verdict]
    replayed: frozenset[str] = frozenset()

    def judged(self) -> tuple[list[Judged], list[Judged]]:
        """Return the judged rows of the iteration before, and of this iteration."""
        rows_with_gaps = learning_progress.rows_with_gaps
        return rows_with_gaps(self.cache, self.before), rows_with_gaps(self.cache, self.verdicts)

    def weights(self, parents: Sequence[Instruction]) -> dict[str, float]:
        """Return the weight of each parent by its learning progress, by id."""
        before, now = self.judged()
        if any(verdict.nats is not None for verdict in self.verdicts):
            falls = learning_progress.falls(before, now, self.replayed)
            return learning_progress.weights_by_falls(parents, falls)
        return learning_progress.weights(parents, before, now)


@dataclass(frozen=True, slots=True)
class Generated:
    """The new rows and the dropped candidates.

    `funnels` counts the candidates of each kind, `short` the missing rows. `resisting` names the
    domains whose gaps do not fall.
    """

    kept: list[Instruction]
    dropped: list[Dropped]
    funnels: dict[Kind, Funnel]
    short: dict[Kind, int]
    resisting: list[str]
    usage: GenerationUsage


def generate(
    history: History,
    exams: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    *,
    iteration: str,
    depth: int,
    stopped: bool = False,
) -> Generated:
    """Return the new instructions of an iteration; none where the loop has `stopped`.

    No row overlaps with `exams`. `settings.generate` is the iteration's section. `templates` are
    the prompts of the generator, and of `safety` where params ask for it. Raises
    TooManyDroppedError where more calls fail than `generate.max_dropped` allows.
    """
    before, now = history.judged()
    pool = _empty_pool(history, now, exams, settings, iteration, depth)
    wanted = 0 if stopped else sum(pool.wanted(kind) for kind in KINDS)
    usage = _fill(pool, history.cache, settings, clients, templates, wanted)
    return Generated(
        kept=pool.kept,
        dropped=pool.dropped,
        funnels={kind: pool.counts(kind) for kind in KINDS},
        short={kind: pool.wanted(kind) if wanted else 0 for kind in KINDS},
        resisting=learning_progress.resisting(before, now),
        usage=usage,
    )


def _empty_pool(
    history: History,
    now: Sequence[Judged],
    exams: Sequence[Instruction],
    settings: Settings,
    iteration: str,
    depth: int,
) -> GeneratedPool:
    rules, task = settings.generate, TaskTemplate.declared(settings.task)
    parents = pools.parents(history.cache, history.verdicts, rules.feedback)
    weights: dict[str, float] = {}
    if rules.choice == "progress":
        weights = history.weights(parents["hard"])
    return generated_pool(
        iteration,
        depth,
        rules,
        parents,
        history.cache,
        CandidateFilter(
            rules,
            settings.quality,
            decontamination.guard(exams, settings.decontaminate, task),
            quality.token_counter(settings.quality, settings.student),
        ),
        pools.rng_for(random_seed=settings.random_seed, purpose="generate", depth=depth),
        gaps={judged.row.id: judged.gap for judged in now},
        progress=weights,
        task=task,
    )


def _fill(
    pool: GeneratedPool,
    cache: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    wanted: int,
) -> GenerationUsage:
    """Run rounds until the pool is full; return the usage."""
    rules = settings.generate
    rows = [(row.id, variable_part(row.messages, pool.task)) for row in cache]
    with (
        clients.open("generator", settings.generator) as client,
        near_duplicates.near_duplicate_filter(rules, clients, rows, wanted) as near,
        safety.safety_filter(settings, rules, clients, templates, wanted) as guard,
    ):
        pool.filter.near = near
        rounds = Rounds(
            pool,
            client,
            request=lambda draw: _request(draw, rules, templates["generator"], pool.task),
            candidates=lambda draw, outcome: _candidates(draw, outcome, rules, pool.task),
            allowed=allowed_failures(rules.max_dropped, rules.hard + rules.easy),
            safety=guard,
        )
        rounds.fill(() if wanted else KINDS)
        return rounds.usage()


def _request(
    draw: Draw[Kind, Instruction], rules: Generate, templates: Prompts, task: TaskTemplate | None
) -> Request:
    parent = draw.source.messages
    kind = prompt_of(draw.kind, rules)
    return generator.input_request(parent, shape_of(parent, task), kind, templates, draw.sample)


def _candidates(
    draw: Draw[Kind, Instruction], outcome: Outcome, rules: Generate, task: TaskTemplate | None
) -> list[str | Dropped]:
    shape = shape_of(draw.source.messages, task)
    return [
        generator.candidate(outcome, draw.source.id, rules, fields=not shape.is_whole_instruction)
    ]
