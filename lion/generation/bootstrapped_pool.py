"""A base pool grown from a few tasks: what is shown to the generator, and what is kept.

Pure. Tasks are judged one by one, in the order of their requests, by the filters of generation: new
against the seeds and everything kept before, and meeting no exam row. Whatever is not kept has a
reason that is counted.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from lion.config.settings import BootstrapSettings
from lion.errors import DataError
from lion.generation.candidate_filter import Accepted, CandidateFilter
from lion.generation.filters.quality import Flaw
from lion.generation.rounds import Draw
from lion.prompting.generator import BOOTSTRAP_STAGE as STAGE
from lion.prompting.generator import TASK_KINDS, TaskKind
from lion.records.rows import Dropped, Message, Record, canonical_messages, instruction_id
from lion.student.chat_format import transcript


class BootstrappedTask(Record, frozen=True, omit_defaults=True):
    """A task of the pool, in a shape that `seed` reads.

    `category` and `expected` are what the user's file brought. `examples`: ids of the tasks that
    were shown when it was made; none where it is a seed. `closest`: id and cosine of what was
    nearest to it by its embedding, where that is looked at.
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
        """Which kind of task it is."""
        return "classification" if self.classification else "open"

    @property
    def text(self) -> str:
        """Return the task as the generator is shown it."""
        return transcript(self.messages)


Examples = tuple[BootstrappedTask, ...]
"""The tasks that a request shows."""


@dataclass(slots=True)
class BootstrappedPool:
    """A pool that grows from `seeds` to `settings.size` tasks, classification and others apart."""

    settings: BootstrapSettings
    seeds: Sequence[BootstrappedTask]
    filter: CandidateFilter
    rngs: Mapping[TaskKind, random.Random]
    kept: list[BootstrappedTask] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[TaskKind, Counter[str]] = field(init=False)
    _goal: dict[TaskKind, int] = field(init=False)
    _asked: Counter[TaskKind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Make the seeds known, and reckon how many of each kind are to be made: theirs count."""
        self.funnel = {kind: Counter() for kind in TASK_KINDS}
        new = max(0, self.settings.size - len(self.seeds))
        share = round(self.settings.classification * self.settings.size)
        given = sum(task.kind == "classification" for task in self.seeds)
        labelled = min(max(0, share - given), new)
        self._goal = {"classification": labelled, "open": new - labelled}
        self.filter.know((task.id, task.text) for task in self.seeds)

    def wanted(self, kind: TaskKind) -> int:
        """Return how many tasks of `kind` are still to be made."""
        return self._goal[kind] - self.funnel[kind]["kept"]

    def choose(self, exhausted: Collection[TaskKind] = ()) -> list[Draw[TaskKind, Examples]]:
        """Return the draws of one round, at most `round`: each kind by what it still lacks.

        A round asks for what is wanted and a tenth more. What it shows was there before it, so that
        the order of arrival never shows.
        """
        wanted = {kind: self.wanted(kind) for kind in TASK_KINDS if kind not in exhausted}
        total = sum(wanted.values())
        draws = []
        for kind, count in wanted.items():
            needed = ceil(1.1 * count / self.settings.per_call)
            share = max(1, round(self.settings.round * count / total)) if count else 0
            draws += [self._draw(kind) for _ in range(min(needed, share))]
        return draws

    def judge(self, draw: Draw[TaskKind, Examples], candidates: Sequence[str | Dropped]) -> int:
        """Keep the candidates of one reply, or drop each with its reason; return how many stay."""
        return sum(self._admit(draw, candidate) for candidate in candidates)

    def _admit(self, draw: Draw[TaskKind, Examples], candidate: str | Dropped) -> bool:
        funnel = self.funnel[draw.kind]
        funnel["asked"] += 1
        judged = candidate if isinstance(candidate, Dropped) else self._filtered(draw, candidate)
        if isinstance(judged, Dropped):
            funnel[judged.reason] += 1
            self.dropped.append(judged)
            return False
        funnel["kept"] += 1
        self.kept.append(judged)
        return True

    def withdraw(self, flaws: Mapping[str, Flaw]) -> None:
        """Drop tasks that were kept, by id: what was found of them later. They stay known."""
        for task in self.kept:
            if task.id in flaws:
                flaw = flaws[task.id]
                self.funnel[task.kind].update({flaw.reason: 1, "kept": -1})
                self.dropped.append(Dropped(STAGE, flaw.reason, task.id, task.text, flaw.detail))
        self.kept = [task for task in self.kept if task.id not in flaws]

    def _draw(self, kind: TaskKind) -> Draw[TaskKind, Examples]:
        """Draw examples of `kind`; where no seed is of it, any seed stands in.

        Conversations are not shown: what is made is one turn.
        """
        plain = [task for task in self.seeds if len(task.messages) == 1] or list(self.seeds)
        shown = [task for task in plain if task.kind == kind] or plain
        kept = [task for task in self.kept if task.kind == kind]
        settings = self.settings
        rng = self.rngs[kind]  # its own, so that another balance or size asks much the same
        examples = rng.sample(shown, min(settings.from_seeds, len(shown)))
        examples += rng.sample(kept, min(settings.from_made, len(kept)))
        rng.shuffle(examples)
        self._asked[kind] += 1
        return Draw(kind, tuple(examples), self._asked[kind] - 1)

    def _filtered(self, draw: Draw[TaskKind, Examples], text: str) -> BootstrappedTask | Dropped:
        if self.wanted(draw.kind) <= 0:
            return Dropped(STAGE, "surplus", text=text)
        messages = canonical_messages([{"role": "user", "content": text}])
        try:
            identity = instruction_id(messages)
        except DataError as error:
            return Dropped(STAGE, "malformed", detail=str(error))
        judged = self.filter.admit(identity, text)
        if not isinstance(judged, Accepted):
            reason, detail = judged.reason, judged.detail
            return Dropped(STAGE, reason, id=identity, text=text, detail=detail)
        shown = tuple(task.id for task in draw.source)
        labelled = draw.kind == "classification"
        return BootstrappedTask(identity, tuple(messages), labelled, shown, closest=judged.closest)
