"""Candidates become new instructions here: one by one, in the order of their requests. Pure.

What is kept is new against the Cache Pool and against everything kept before it, and meets no exam
row. Whatever is not kept has a reason that is counted.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lion.chat import transcript
from lion.decontamination import Decontamination
from lion.errors import DataError
from lion.novelty import Novelty
from lion.records import Dropped, Instruction, Kind
from lion.settings import Generate

# each iteration has its own range of sample indices: one parent, asked again an iteration later,
# must not get the reply that the ledger has of it
SAMPLES_PER_DEPTH = 1 << 20


@dataclass(slots=True)
class Nursery:
    """Candidates become new instructions here, one by one, in the order of their requests.

    `parents` are the instructions of each kind that may be drawn from; `cache` is all that is known
    so far. What is kept is new against both, and against everything kept before it.
    """

    iteration: str
    depth: int
    settings: Generate
    parents: dict[Kind, list[Instruction]]
    cache: Sequence[Instruction]
    guard: Decontamination
    rng: random.Random
    kept: list[Instruction] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[Kind, Counter[str]] = field(default_factory=dict)
    _novelty: Novelty = field(init=False)
    _known: set[str] = field(init=False)
    _children: Counter[str] = field(default_factory=Counter)
    _samples: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Index what is known."""
        self.funnel = {"hard": Counter(), "easy": Counter()}
        self._known = {row.id for row in self.cache}
        self._novelty = Novelty(self.settings.novelty, self.settings.tokens)
        for row in self.cache:
            self._novelty.add(row.id, transcript(row.messages))

    def wanted(self, kind: Kind) -> int:
        """Return how many new instructions of `kind` are still to be made."""
        target = self.settings.hard if kind == "hard" else self.settings.easy
        return target - self.funnel[kind]["kept"]

    def choose(self, kind: Kind) -> Iterator[tuple[Instruction, int]]:
        """Yield the parents of one round, each with its sample index; uniformly, one per call.

        A round asks for what is still wanted and a tenth more, at most `round` requests. A parent
        with `per_parent` children is not drawn again.
        """
        cap = self.settings.per_parent
        open_ = [row for row in self.parents[kind] if cap is None or self._children[row.id] < cap]
        wanted = self.wanted(kind)
        if not open_ or wanted <= 0:
            return
        for _ in range(min(self.settings.round, wanted + (wanted + 9) // 10)):
            parent = self.rng.choice(open_)
            index = self.depth * SAMPLES_PER_DEPTH + self._samples[kind, parent.id]
            self._samples[kind, parent.id] += 1
            yield parent, index

    def judge(self, kind: Kind, parent: Instruction, found: str | Dropped) -> bool:
        """Keep a candidate or drop it with its reason; tell which."""
        funnel = self.funnel[kind]
        funnel["asked"] += 1
        if not isinstance(found, Dropped) and self.wanted(kind) <= 0:
            found = Dropped("generate", "surplus", id=parent.id, text=found)
        elif not isinstance(found, Dropped):
            found = self._gate(kind, parent, found)
        if isinstance(found, Dropped):
            funnel[found.reason] += 1
            self.dropped.append(found)
            return False
        funnel["kept"] += 1
        self._children[parent.id] += 1
        return True

    def _gate(self, kind: Kind, parent: Instruction, text: str) -> str | Dropped:
        try:
            made = Instruction.new(
                [{"role": "user", "content": text}],
                origin=kind,
                iteration=self.iteration,
                parent=parent.id,
            )
        except DataError as error:
            return Dropped("generate", "malformed", id=parent.id, detail=str(error))
        reason, detail = self._objection(made, parent, text)
        if reason is not None:
            return Dropped("generate", reason, id=parent.id, text=text, detail=detail)
        self._known.add(made.id)
        self._novelty.add(made.id, text)
        self.kept.append(made)
        return text

    def _objection(
        self, made: Instruction, parent: Instruction, text: str
    ) -> tuple[str | None, str | None]:
        cap = self.settings.per_parent
        if cap is not None and self._children[parent.id] >= cap:
            return "parent_full", None
        if made.id in self._known:
            return "duplicate", made.id
        meeting = self.guard.meets(text)
        if meeting is not None:
            return "contaminated", f"exam {meeting.exam_id} ({meeting.kind})"
        neighbour = self._novelty.nearest(text)
        if neighbour is not None:
            return "not_novel", f"{neighbour.id} at {neighbour.similarity:.3f}"
        return None, None
