"""The phase `generate`: new hard and new easy instructions, the Train Pool of an iteration.

Writes no file. An endpoint that fails is no sign that the generator has run dry: above
`generate.max_dropped` the phase fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lion import pools
from lion.config.settings import Generate, Settings
from lion.failure_limit import allowed_failures
from lion.generation import learning_progress
from lion.generation.candidate_filter import CandidateFilter
from lion.generation.filters import decontamination, embeddings, safety
from lion.generation.generated_pool import GeneratedPool, generated_pool, prompt_of
from lion.generation.learning_progress import Judged
from lion.generation.rounds import Draw, GenerationUsage, Rounds
from lion.llm.protocols import Clients
from lion.metrics.units import Funnel
from lion.prompting import generator
from lion.prompting.protocol import Outcome, Request
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import KINDS, Dropped, Instruction, Kind, Verdict
from lion.student import tokens
from lion.student.chat_format import transcript


@dataclass(frozen=True, slots=True)
class History:
    """What an iteration's new instructions are made from.

    The Cache Pool, the verdicts on it in this iteration, and those of the iteration before.
    """

    cache: Sequence[Instruction]
    verdicts: Sequence[Verdict]
    before: Sequence[Verdict]

    def judged(self) -> tuple[list[Judged], list[Judged]]:
        """Return the rows with a gap before, and now."""
        return learning_progress.judged(self.cache, self.before), learning_progress.judged(
            self.cache, self.verdicts
        )


@dataclass(frozen=True, slots=True)
class Generated:
    """The new rows, and what became of all candidates.

    `funnels` counts the candidates of each kind, `short` how many are lacking. `resisting` names
    domains whose gaps do not fall. `asked` counts what was asked.
    """

    kept: list[Instruction]
    dropped: list[Dropped]
    funnels: dict[Kind, Funnel]
    short: dict[Kind, int]
    resisting: list[str]
    asked: GenerationUsage


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

    No row of `exams` may be given away. `settings.generate` are the iteration's own. `templates`
    are the prompts of the generator, and of `safety` where params ask for it.
    """
    before, now = history.judged()
    pool = _empty_pool(history, before, now, exams, settings, iteration, depth)
    wanted = 0 if stopped else sum(pool.wanted(kind) for kind in KINDS)
    asked = _fill(pool, history.cache, settings, clients, templates, wanted)
    return Generated(
        kept=pool.kept,
        dropped=pool.dropped,
        funnels={kind: pool.counts(kind) for kind in KINDS},
        short={kind: pool.wanted(kind) if wanted else 0 for kind in KINDS},
        resisting=learning_progress.resisting(before, now),
        asked=asked,
    )


def _empty_pool(
    history: History,
    before: Sequence[Judged],
    now: Sequence[Judged],
    exams: Sequence[Instruction],
    settings: Settings,
    iteration: str,
    depth: int,
) -> GeneratedPool:
    rules = settings.generate
    parents = pools.parents(history.cache, history.verdicts, rules.feedback)
    weights: dict[str, float] = {}
    if rules.choice == "progress":
        weights = learning_progress.weights(parents["hard"], before, now)
    return generated_pool(
        iteration,
        depth,
        rules,
        parents,
        history.cache,
        CandidateFilter(
            rules,
            settings.quality,
            decontamination.guard(exams, settings.decontaminate),
            tokens.counter(settings.quality, settings.student),
        ),
        pools.rng_for(random_seed=settings.random_seed, purpose="generate", depth=depth),
        gaps={judged.row.id: judged.gap for judged in now},
        progress=weights,
    )


def _fill(
    pool: GeneratedPool,
    cache: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    wanted: int,
) -> GenerationUsage:
    """Ask until enough is kept; return what was asked."""
    rules = settings.generate
    rows = [(row.id, transcript(row.messages)) for row in cache]
    with (
        clients.open("generator", settings.generator) as client,
        embeddings.embedding_filter(rules, clients, rows, wanted) as near,
        safety.safety_filter(settings, rules, clients, templates, wanted) as guard,
    ):
        pool.filter.near = near
        rounds = Rounds(
            pool,
            client,
            request=lambda draw: _request(draw, rules, templates["generator"]),
            candidates=lambda draw, outcome: _candidates(draw, outcome, rules),
            allowed=allowed_failures(rules.max_dropped, rules.hard + rules.easy),
            safety=guard,
        )
        rounds.fill(() if wanted else KINDS)
        return rounds.usage()


def _request(draw: Draw[Kind, Instruction], rules: Generate, templates: Prompts) -> Request:
    parent = transcript(draw.source.messages)
    return generator.generation_request(parent, prompt_of(draw.kind, rules), templates, draw.sample)


def _candidates(
    draw: Draw[Kind, Instruction], outcome: Outcome, rules: Generate
) -> list[str | Dropped]:
    return [generator.candidate(outcome, draw.source.id, rules)]
