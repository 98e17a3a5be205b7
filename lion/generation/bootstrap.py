"""The phase `bootstrap`: a base pool generated from a few tasks of the user's own.

The generator is shown some tasks and writes new ones (self-instruct; Wang et al., ACL 2023). Each
candidate passes the filters of generation: new against the seeds and all kept tasks, and no overlap
with an exam. Every dropped candidate is counted with its reason. Writes no file.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from lion import pools
from lion.config.settings import BootstrapSettings, Generate, Settings
from lion.conversations import TaskTemplate, transcript, variable_part
from lion.errors import DataError
from lion.failure_limit import allowed_failures
from lion.generation.filters import decontamination, near_duplicates, quality, safety
from lion.generation.filters.quality import RejectReason
from lion.generation.rounds import Accepted, CandidateFilter, Draw, GenerationUsage, Rounds
from lion.llm.protocols import Clients
from lion.metrics.units import Funnel
from lion.prompting import generator
from lion.prompting.generator import BOOTSTRAP_STAGE as STAGE
from lion.prompting.generator import TASK_KINDS, TaskKind
from lion.prompting.protocol import Request
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import (
    Dropped,
    Instruction,
    Message,
    Record,
    canonical_messages,
    instruction_id,
)


class BootstrappedTask(Record, frozen=True, omit_defaults=True):
    """A task of the pool, in a format that `seed` reads.

    `category` and `expected` come from the user's file. `examples`: ids of the tasks that the
    request showed; none for a seed. `closest`: id and cosine of its nearest neighbour by
    embeddings, where params ask for that filter.
    """

    id: str
    messages: tuple[Message, ...]
    classification: bool
    examples: tuple[str, ...] = ()
    category: str | None = None
    expected: str | None = None
    closest: tuple[str, float] | None = None

    @property
    def kind(self) -> TaskKind:
        """The kind of task."""
        return "classification" if self.classification else "open"

    @property
    def text(self) -> str:
        """The task as a prompt shows it."""
        return transcript(self.messages)


Examples = tuple[BootstrappedTask, ...]
"""The tasks that a request shows."""


@dataclass(slots=True)
class BootstrappedPool:
    """A pool that grows from `seeds` to `settings.size` tasks, with a target for each kind.

    Of a declared `task`, its rows: the generator writes their fields.
    """

    settings: BootstrapSettings
    seeds: Sequence[BootstrappedTask]
    filter: CandidateFilter
    rngs: Mapping[TaskKind, random.Random]
    task: TaskTemplate | None = None
    kept: list[BootstrappedTask] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[TaskKind, Counter[str]] = field(init=False)
    _goal: dict[TaskKind, int] = field(init=False)
    _samples: Counter[TaskKind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Add the seeds, and set the number of new tasks of each kind; seeds count towards it."""
        self.funnel = {kind: Counter() for kind in TASK_KINDS}
        new = max(0, self.settings.size - len(self.seeds))
        share = round(self.settings.classification * self.settings.size)
        given = sum(task.kind == "classification" for task in self.seeds)
        labelled = min(max(0, share - given), new)
        self._goal = {"classification": labelled, "open": new - labelled}
        self.filter.add_pool((row.id, variable_part(row.messages, self.task)) for row in self.seeds)

    def wanted(self, kind: TaskKind) -> int:
        """Return the number of tasks of `kind` still missing."""
        return self._goal[kind] - self.funnel[kind]["kept"]

    def choose(self, exhausted: Collection[TaskKind] = ()) -> list[Draw[TaskKind, Examples]]:
        """Return the draws of one round, at most `round`, shared between the kinds by need.

        A round requests the missing tasks and a tenth more. It shows only tasks of earlier rounds,
        so the order of arrival does not matter.
        """
        wanted = {kind: self.wanted(kind) for kind in TASK_KINDS if kind not in exhausted}
        total = sum(wanted.values())
        draws = []
        for kind, count in wanted.items():
            needed = ceil(1.1 * count / self.settings.per_call)
            share = max(1, round(self.settings.requests_per_round * count / total)) if count else 0
            draws += [self._draw(kind) for _ in range(min(needed, share))]
        return draws

    def compared(self, draw: Draw[TaskKind, Examples], candidate: str) -> str:  # noqa: ARG002 - the protocol's
        """Return the text of a candidate that is compared with others."""
        messages = self._conversation(candidate)
        return candidate if messages is None else variable_part(messages, self.task)

    def examples(self, draw: Draw[TaskKind, Examples]) -> list[str]:
        """Return the tasks of a draw as the request shows them."""
        return [self._shown(row) for row in draw.source]

    def _shown(self, row: BootstrappedTask) -> str:
        values = None if self.task is None else self.task.read(row.messages)
        return row.text if self.task is None or values is None else self.task.shown(values)

    def add_reply(self, draw: Draw[TaskKind, Examples], candidates: Sequence[str | Dropped]) -> int:
        """Keep or drop the candidates of one reply; return the number kept."""
        return sum(self._admit(draw, candidate) for candidate in candidates)

    def _admit(self, draw: Draw[TaskKind, Examples], candidate: str | Dropped) -> bool:
        funnel = self.funnel[draw.kind]
        funnel["asked"] += 1
        task = candidate if isinstance(candidate, Dropped) else self._filtered(draw, candidate)
        if isinstance(task, Dropped):
            funnel[task.reason] += 1
            self.dropped.append(task)
            return False
        funnel["kept"] += 1
        self.kept.append(task)
        return True

    def remove(self, rejected: Mapping[str, RejectReason]) -> None:
        """Drop kept tasks, by id. The filter still knows their texts."""
        for task in self.kept:
            if task.id in rejected:
                why = rejected[task.id]
                self.funnel[task.kind].update({why.reason: 1, "kept": -1})
                self.dropped.append(Dropped(STAGE, why.reason, task.id, task.text, why.detail))
        self.kept = [task for task in self.kept if task.id not in rejected]

    def _draw(self, kind: TaskKind) -> Draw[TaskKind, Examples]:
        """Draw examples of `kind`, or any seeds where none is of that kind.

        Conversations are not shown, because the new tasks have one turn.
        """
        plain = [row for row in self.seeds if self._is_shown(row)] or list(self.seeds)
        shown = [task for task in plain if task.kind == kind] or plain
        kept = [task for task in self.kept if task.kind == kind]
        settings = self.settings
        rng = self.rngs[kind]  # one per kind, so that another size repeats most requests
        examples = rng.sample(shown, min(settings.from_seeds, len(shown)))
        examples += rng.sample(kept, min(settings.from_made, len(kept)))
        rng.shuffle(examples)
        self._samples[kind] += 1
        return Draw(kind, tuple(examples), self._samples[kind] - 1)

    def _filtered(self, draw: Draw[TaskKind, Examples], text: str) -> BootstrappedTask | Dropped:
        if self.wanted(draw.kind) <= 0:
            return Dropped(STAGE, "surplus", text=text)
        messages = self._conversation(text)
        if messages is None:
            return Dropped(STAGE, "shape", text=text)
        try:
            identity = instruction_id(messages)
        except DataError as error:
            return Dropped(STAGE, "malformed", detail=str(error))
        result = self.filter.admit(identity, variable_part(messages, self.task))
        if not isinstance(result, Accepted):
            return Dropped(STAGE, result.reason, id=identity, text=text, detail=result.detail)
        shown = tuple(task.id for task in draw.source)
        labelled = draw.kind == "classification"
        return BootstrappedTask(identity, tuple(messages), labelled, shown, closest=result.closest)

    def _is_shown(self, row: BootstrappedTask) -> bool:
        if self.task is not None:
            return self.task.read(row.messages) is not None
        return len(row.messages) == 1

    def _conversation(self, candidate: str) -> list[Message] | None:
        """Return a candidate as a row of the declared task, else as one turn of a user."""
        if self.task is not None:
            values = self.task.parse(candidate)
            return None if values is None else self.task.render(values)
        return canonical_messages([{"role": "user", "content": candidate}])


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The seeds, the new tasks in order, and the dropped candidates.

    `funnels` counts the candidates of each kind, `short` the missing tasks.
    """

    seeds: Sequence[BootstrappedTask]
    new: list[BootstrappedTask]
    dropped: list[Dropped]
    funnels: dict[TaskKind, Funnel]
    short: dict[TaskKind, int]
    usage: GenerationUsage


def bootstrap(
    seeds: Sequence[BootstrappedTask],
    exams: Sequence[Instruction],
    settings: Settings,
    entry: BootstrapSettings,
    filters: Generate,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> Bootstrapped:
    """Return a base pool of `entry.size` tasks, or fewer where acceptance is too low.

    No task overlaps with `exams`. `templates` are the prompts of `bootstrap`, and of `safety` where
    `filters` ask for it. Raises TooManyDroppedError where more calls fail than
    `filters.max_dropped` allows.
    """
    task = TaskTemplate.declared(settings.task)
    guard = decontamination.guard(exams, settings.decontaminate, task)
    tokens = quality.token_counter(settings.quality, settings.student)
    rngs = {
        kind: pools.rng_for(random_seed=settings.random_seed, purpose=f"bootstrap/{kind}", depth=0)
        for kind in TASK_KINDS
    }
    pool = BootstrappedPool(
        entry, seeds, CandidateFilter(filters, settings.quality, guard, tokens), rngs, task
    )
    usage = _fill(pool, settings, clients, templates)
    return Bootstrapped(
        seeds=pool.seeds,
        new=pool.kept,
        dropped=pool.dropped,
        funnels={kind: Funnel(sorted(pool.funnel[kind].items())) for kind in TASK_KINDS},
        short={kind: pool.wanted(kind) for kind in TASK_KINDS},
        usage=usage,
    )


def _fill(
    pool: BootstrappedPool,
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> GenerationUsage:
    """Run rounds until the pool has its size; return the usage."""
    filters, count = pool.filter.settings, pool.settings.per_call
    wanted = sum(pool.wanted(kind) for kind in TASK_KINDS)
    seeds = [(row.id, variable_part(row.messages, pool.task)) for row in pool.seeds]
    with (
        clients.open("generator", settings.generator) as client,
        near_duplicates.near_duplicate_filter(filters, clients, seeds, wanted) as near,
        safety.safety_filter(settings, filters, clients, templates, wanted) as guard,
    ):
        pool.filter.near = near
        rounds = Rounds(
            pool,
            client,
            request=lambda draw: _request(pool, draw, templates["bootstrap"]),
            candidates=lambda draw, outcome: generator.candidates(
                outcome, pool.examples(draw), count, filters, pool.task
            ),
            allowed=allowed_failures(filters.max_dropped, ceil(pool.settings.size / count)),
            safety=guard,
        )
        rounds.fill()
        return rounds.usage()


def _request(pool: BootstrappedPool, draw: Draw[TaskKind, Examples], templates: Prompts) -> Request:
    examples, count = pool.examples(draw), pool.settings.per_call
    if pool.task is not None:
        return generator.inputs_request(examples, pool.task, count, templates, draw.sample)
    return generator.task_request(examples, draw.kind, count, templates, draw.sample)
