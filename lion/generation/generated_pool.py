"""The new instructions of one iteration: from which parents, and what became of each candidate.

Pure. What is kept is new against the Cache Pool and everything kept before it, and meets no exam
row; whatever is not kept has a reason that is counted.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from lion.config.settings import Generate
from lion.errors import DataError
from lion.generation.candidate_filter import Accepted, CandidateFilter
from lion.generation.filters.quality import Flaw
from lion.generation.parents import ParentChoice
from lion.generation.rounds import Draw
from lion.generation.topic_labels import labelled
from lion.metrics.units import Funnel
from lion.records.rows import KINDS, Dropped, Instruction, Kind
from lion.student.chat_format import transcript

SAMPLES_PER_DEPTH = 1 << 20
"""Sample indices of an iteration: one parent, asked again an iteration later, must not get the
reply that the ledger has of it."""

FUNNEL = ("asked", "truncated", "malformed", "too_short", "duplicate", "not_novel", "contaminated")
"""What metrics always tell of a kind, also none; then every other reason, and `kept`."""


@dataclass(slots=True)
class GeneratedPool:
    """The new rows of iteration `iteration`, `depth` iterations from the base.

    `parents` are the instructions of each kind that may be drawn from; `filter` knows the Cache
    Pool, `choice` the children that each parent has.
    """

    iteration: str
    depth: int
    settings: Generate
    parents: Mapping[Kind, Sequence[Instruction]]
    filter: CandidateFilter
    choice: ParentChoice
    kept: list[Instruction] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[Kind, Counter[str]] = field(init=False)
    _samples: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Begin to count."""
        self.funnel = {kind: Counter() for kind in KINDS}

    def wanted(self, kind: Kind) -> int:
        """Return how many new instructions of `kind` are still to be made."""
        target = self.settings.hard if kind == "hard" else self.settings.easy
        return target - self.funnel[kind]["kept"]

    def choose(self, exhausted: Collection[Kind] = ()) -> list[Draw[Kind, Instruction]]:
        """Return the draws of one round, hard ones first, none of the `exhausted` kinds."""
        return [draw for kind in KINDS if kind not in exhausted for draw in self.draws(kind)]

    def draws(self, kind: Kind) -> list[Draw[Kind, Instruction]]:
        """Return the parents of one round, each with its sample index, one per call.

        A round asks for what is still wanted and a tenth more, at most `round` requests. A parent
        with `per_parent` children is not drawn again, nor one whose seed has `per_seed` of them.
        """
        parents = [row for row in self.parents[kind] if not self.choice.is_full(row)]
        wanted = self.wanted(kind)
        if not parents or wanted <= 0:
            return []
        count = min(self.settings.round, wanted + (wanted + 9) // 10)
        return [self._numbered(kind, self.choice.draw(parents)) for _ in range(count)]

    def judge(self, draw: Draw[Kind, Instruction], candidates: Sequence[str | Dropped]) -> int:
        """Keep the candidates of one reply, or drop each with its reason; return how many stay."""
        return sum(self.admit(draw.kind, draw.source, candidate) for candidate in candidates)

    def admit(self, kind: Kind, parent: Instruction, candidate: str | Dropped) -> bool:
        """Keep a candidate or drop it with its reason; return whether it is kept."""
        funnel = self.funnel[kind]
        funnel["asked"] += 1
        judged = (
            candidate if isinstance(candidate, Dropped) else self._filtered(kind, parent, candidate)
        )
        if isinstance(judged, Dropped):
            funnel[judged.reason] += 1
            self.dropped.append(judged)
            return False
        funnel["kept"] += 1
        return True

    def counts(self, kind: Kind) -> Funnel:
        """Return the acceptance funnel of a kind: asked, then dropped by reason, then kept."""
        funnel = self.funnel[kind]
        others = sorted(set(funnel) - {*FUNNEL, "kept"})
        return Funnel({reason: funnel[reason] for reason in (*FUNNEL, *others, "kept")})

    def withdraw(self, flaws: Mapping[str, Flaw]) -> None:
        """Drop rows that were kept, by id: what was found of them later.

        They stay known, so that nobody asks about their near-copies.
        """
        for row in self.kept:
            if row.id not in flaws:
                continue
            flaw, parent = flaws[row.id], str(row.parent)
            self.funnel[_kind(row)].update({flaw.reason: 1, "kept": -1})
            self.choice.count(row.id, parent, -1)
            text = transcript(row.messages)
            self.dropped.append(Dropped("generate", flaw.reason, parent, text, flaw.detail))
        self.kept = [row for row in self.kept if row.id not in flaws]

    def _numbered(self, kind: Kind, parent: Instruction) -> Draw[Kind, Instruction]:
        """Return a draw with the next sample index of its parent and prompt."""
        asked = prompt_of(kind, self.settings), parent.id
        sample = self.depth * SAMPLES_PER_DEPTH + self._samples[asked]
        self._samples[asked] += 1
        return Draw(kind, parent, sample)

    def _filtered(self, kind: Kind, parent: Instruction, text: str) -> Instruction | Dropped:
        if self.wanted(kind) <= 0:
            return Dropped("generate", "surplus", id=parent.id, text=text)
        try:
            made = Instruction.new(
                [{"role": "user", "content": text}],
                origin=kind,
                iteration=self.iteration,
                parent=parent.id,
            )
        except DataError as error:
            return Dropped("generate", "malformed", id=parent.id, detail=str(error))
        if self.choice.is_full(parent):
            return Dropped("generate", "parent_full", id=parent.id, text=text)
        judged = self.filter.admit(made.id, text)
        if not isinstance(judged, Accepted):
            reason, detail = judged.reason, judged.detail
            return Dropped("generate", reason, id=parent.id, text=text, detail=detail)
        self.choice.count(made.id, parent.id)
        kept = replace(labelled(made), nearest=judged.nearest, closest=judged.closest)
        self.kept.append(kept)
        return kept


def _kind(row: Instruction) -> Kind:
    return "hard" if row.origin == "hard" else "easy"


def prompt_of(kind: Kind, settings: Generate) -> Kind:
    """Return which prompt asks for new instructions of `kind`.

    One-way imitation has one only: the same domain, the same task type.
    """
    return "hard" if settings.feedback in ("uniform", "balanced") else kind


def generated_pool(
    iteration: str,
    depth: int,
    settings: Generate,
    parents: Mapping[Kind, Sequence[Instruction]],
    cache: Sequence[Instruction],
    filter_: CandidateFilter,
    rng: random.Random,
    gaps: Mapping[str, float],
    progress: Mapping[str, float],
) -> GeneratedPool:
    """Return an empty pool whose filter and choice of parents know the Cache Pool."""
    filter_.know((row.id, transcript(row.messages)) for row in cache)
    choice = ParentChoice(settings, rng, gaps, progress)
    choice.know(cache)
    return GeneratedPool(iteration, depth, settings, parents, filter_, choice)
