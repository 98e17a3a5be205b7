"""The phase `bootstrap`: a base pool grown from a few tasks of the user's own.

The generator is shown tasks and goes on with new ones (self-instruct; Wang et al., ACL 2023).
Writes no file. An endpoint that fails is no sign that the generator has run dry: above
`generate.max_dropped` the phase fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from lion import pools
from lion.config.settings import BootstrapSettings, Generate, Settings
from lion.failure_limit import allowed_failures
from lion.generation.bootstrapped_pool import BootstrappedPool, BootstrappedTask, Examples
from lion.generation.candidate_filter import CandidateFilter
from lion.generation.filters import decontamination, embeddings, safety
from lion.generation.rounds import Draw, GenerationUsage, Rounds
from lion.llm.protocols import Clients
from lion.metrics.units import Funnel
from lion.prompting import generator
from lion.prompting.generator import TASK_KINDS, TaskKind
from lion.prompting.protocol import Outcome, Request
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Dropped, Instruction
from lion.student import tokens as counting


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The seeds, then the new tasks in the order of their making, and what became of the rest.

    `funnels` counts the candidates of each kind, `short` how many are lacking; `asked` counts what
    was asked.
    """

    seeds: Sequence[BootstrappedTask]
    new: list[BootstrappedTask]
    dropped: list[Dropped]
    funnels: dict[TaskKind, Funnel]
    short: dict[TaskKind, int]
    asked: GenerationUsage


def bootstrap(
    seeds: Sequence[BootstrappedTask],
    exams: Sequence[Instruction],
    settings: Settings,
    entry: BootstrapSettings,
    filters: Generate,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> Bootstrapped:
    """Return a base pool of `entry.size` tasks, or fewer where too little of what comes is kept.

    No row of `exams` may be given away. `templates` are the prompts of `bootstrap`, and of `safety`
    where `filters` ask for it.
    """
    guard = decontamination.guard(exams, settings.decontaminate)
    tokens = counting.counter(settings.quality, settings.student)
    rngs = {
        kind: pools.rng_for(random_seed=settings.random_seed, purpose=f"bootstrap/{kind}", depth=0)
        for kind in TASK_KINDS
    }
    pool = BootstrappedPool(
        entry, seeds, CandidateFilter(filters, settings.quality, guard, tokens), rngs
    )
    asked = _fill(pool, settings, clients, templates)
    return Bootstrapped(
        seeds=pool.seeds,
        new=pool.kept,
        dropped=pool.dropped,
        funnels={kind: Funnel(sorted(pool.funnel[kind].items())) for kind in TASK_KINDS},
        short={kind: pool.wanted(kind) for kind in TASK_KINDS},
        asked=asked,
    )


def _fill(
    pool: BootstrappedPool,
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> GenerationUsage:
    """Ask until the size is reached; return what was asked."""
    filters, count = pool.filter.settings, pool.settings.per_call
    wanted = sum(pool.wanted(kind) for kind in TASK_KINDS)
    sown = [(task.id, task.text) for task in pool.seeds]
    with (
        clients.open("generator", settings.generator) as client,
        embeddings.embedding_filter(filters, clients, sown, wanted) as near,
        safety.safety_filter(settings, filters, clients, templates, wanted) as guard,
    ):
        pool.filter.near = near
        rounds = Rounds(
            pool,
            client,
            request=lambda draw: _request(draw, count, templates["bootstrap"]),
            candidates=lambda draw, outcome: _candidates(draw, outcome, count, filters),
            allowed=allowed_failures(filters.max_dropped, ceil(pool.settings.size / count)),
            safety=guard,
        )
        rounds.fill()
        return rounds.usage()


def _texts(draw: Draw[TaskKind, Examples]) -> list[str]:
    return [task.text for task in draw.source]


def _request(draw: Draw[TaskKind, Examples], count: int, templates: Prompts) -> Request:
    return generator.task_request(_texts(draw), draw.kind, count, templates, draw.sample)


def _candidates(
    draw: Draw[TaskKind, Examples], outcome: Outcome, count: int, filters: Generate
) -> list[str | Dropped]:
    return generator.candidates(outcome, _texts(draw), count, filters)
