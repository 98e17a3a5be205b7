"""A few tasks become a base pool here: what is shown to the generator, and what is kept. Pure.

Tasks are judged one by one, in the order of their requests, by the gates of generation: new against
the seeds and against everything kept before, and meeting no exam row. Whatever is not kept has a
reason that is counted.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from lion.errors import DataError
from lion.instructions import quality
from lion.instructions.decontamination import Decontamination
from lion.instructions.near_duplicates import NearDuplicates
from lion.instructions.novelty import Neighbour, Novelty
from lion.instructions.quality import Flaw
from lion.instructions.selfinstruct import STAGE, TASK_KINDS, TaskKind
from lion.model.chat import transcript
from lion.model.counting import Count
from lion.records import Dropped, Message, Record, canonical_messages, instruction_id
from lion.settings import Bootstrap, Generate, Quality


class Task(Record, frozen=True, omit_defaults=True):
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


@dataclass(frozen=True, slots=True)
class Draw:
    """One request to come: which kind it asks for, what it shows, and its sample index."""

    kind: TaskKind
    examples: tuple[Task, ...]
    sample: int

    @property
    def texts(self) -> list[str]:
        """Return the examples as they are shown."""
        return [task.text for task in self.examples]


@dataclass(slots=True)
class Seedbed:
    """A pool that grows from `seeds` to `settings.size` tasks, classification and others apart.

    Where there is `near`, which holds the seeds, what is kept is also new by its cosines.
    """

    settings: Bootstrap
    filters: Generate
    seeds: Sequence[Task]
    guard: Decontamination
    rngs: Mapping[TaskKind, random.Random]
    quality: Quality
    tokens: Count | None = None
    near: NearDuplicates | None = None
    made: list[Task] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[TaskKind, Counter[str]] = field(init=False)
    _goal: dict[TaskKind, int] = field(init=False)
    _novelty: Novelty = field(init=False)
    _known: set[str] = field(init=False)
    _asked: Counter[TaskKind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Index the seeds, and reckon how many of each kind are to be made: theirs count."""
        self.funnel = {kind: Counter() for kind in TASK_KINDS}
        new = max(0, self.settings.size - len(self.seeds))
        share = round(self.settings.classification * self.settings.size)
        given = sum(task.kind == "classification" for task in self.seeds)
        labelled = min(max(0, share - given), new)
        self._goal = {"classification": labelled, "open": new - labelled}
        self._known = {task.id for task in self.seeds}
        self._novelty = Novelty(self.filters.novelty, self.filters.tokens)
        for task in self.seeds:
            self._novelty.add(task.id, task.text)

    def wanted(self, kind: TaskKind) -> int:
        """Return how many tasks of `kind` are still to be made."""
        return self._goal[kind] - self.funnel[kind]["kept"]

    def choose(self, dry: Sequence[TaskKind]) -> list[Draw]:
        """Return the requests of one round, at most `round`: each kind by what it still lacks.

        A round asks for what is wanted and a tenth more. What it shows was there before it, so that
        the order of arrival never shows.
        """
        kinds: list[TaskKind] = [kind for kind in TASK_KINDS if kind not in dry]
        wanted = {kind: self.wanted(kind) for kind in kinds}
        total = sum(wanted.values())
        draws = []
        for kind, count in wanted.items():
            needed = ceil(1.1 * count / self.settings.per_call)
            share = max(1, round(self.settings.round * count / total)) if count else 0
            draws += [self._draw(kind) for _ in range(min(needed, share))]
        return draws

    def judge(self, draw: Draw, found: Sequence[str | Dropped]) -> int:
        """Keep the candidates of one reply, or drop each with its reason; return how many."""
        funnel = self.funnel[draw.kind]
        before = funnel["kept"]
        for candidate in found:
            funnel["asked"] += 1
            judged = candidate
            if not isinstance(judged, Dropped):
                judged = self._gate(draw, judged)
            if isinstance(judged, Dropped):
                funnel[judged.reason] += 1
                self.dropped.append(judged)
            else:
                funnel["kept"] += 1
        return funnel["kept"] - before

    def withdraw(self, flaws: Mapping[str, Flaw]) -> None:
        """Drop tasks that were kept, by id: what was found of them later. They stay known."""
        for task in self.made:
            if task.id in flaws:
                flaw = flaws[task.id]
                self.funnel[task.kind].update({flaw.reason: 1, "kept": -1})
                self.dropped.append(Dropped(STAGE, flaw.reason, task.id, task.text, flaw.detail))
        self.made = [task for task in self.made if task.id not in flaws]

    def _draw(self, kind: TaskKind) -> Draw:
        """Draw examples of `kind`; where no seed is of it, any seed stands in.

        Conversations are not shown: what is made is one turn.
        """
        plain = [task for task in self.seeds if len(task.messages) == 1] or list(self.seeds)
        shown = [task for task in plain if task.kind == kind] or plain
        made = [task for task in self.made if task.kind == kind]
        settings = self.settings
        rng = self.rngs[kind]  # its own, so that another balance or size asks much the same
        examples = rng.sample(shown, min(settings.from_seeds, len(shown)))
        examples += rng.sample(made, min(settings.from_made, len(made)))
        rng.shuffle(examples)
        self._asked[kind] += 1
        return Draw(kind, tuple(examples), self._asked[kind] - 1)

    def _gate(self, draw: Draw, text: str) -> str | Dropped:
        if self.wanted(draw.kind) <= 0:
            return Dropped(STAGE, "surplus", text=text)
        messages = canonical_messages([{"role": "user", "content": text}])
        try:
            identity = instruction_id(messages)
        except DataError as error:
            return Dropped(STAGE, "malformed", detail=str(error))
        reason, detail = self._objection(identity, text)
        if reason is not None:
            return Dropped(STAGE, reason, id=identity, text=text, detail=detail)
        closest = None if self.near is None else self.near.neighbour(text)
        told = (closest.id, closest.similarity) if isinstance(closest, Neighbour) else None
        shown = tuple(task.id for task in draw.examples)
        self.made.append(
            Task(identity, tuple(messages), draw.kind == "classification", shown, closest=told)
        )
        if self.near is not None:
            self.near.add(identity, text)
        self._known.add(identity)
        self._novelty.add(identity, text)
        return text

    def _objection(self, identity: str, text: str) -> tuple[str | None, str | None]:
        if identity in self._known:
            return "duplicate", identity
        flaw = quality.flaw(text, self.quality, self.tokens)
        if flaw is not None:
            return flaw.reason, flaw.detail
        meeting = self.guard.meets(text)
        if meeting is not None:
            return "contaminated", f"exam {meeting.exam_id} ({meeting.kind})"
        neighbour = self._novelty.nearest(text)
        if neighbour is not None:
            return "not_novel", f"{neighbour.id} at {neighbour.similarity:.3f}"
        if self.near is not None:
            return self.near.objection(self.near.neighbour(text)) or (None, None)
        return None, None
