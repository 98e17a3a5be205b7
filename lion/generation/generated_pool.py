"""The new instructions of one iteration: the choice of their parents and the kept candidates.

Pure. A kept candidate is new against the Cache Pool and all kept before it, and overlaps with no
exam. Every dropped candidate is counted with its reason. Which rows may be parents follows from the
verdicts (`pools.parents`).
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from lion.config.settings import Generate
from lion.conversations import TaskTemplate, child_conversation, variable_part
from lion.errors import DataError
from lion.generation.filters.quality import RejectReason
from lion.generation.rounds import Accepted, CandidateFilter, Draw
from lion.generation.topic_labels import labelled
from lion.metrics.units import Funnel
from lion.records.rows import KINDS, Dropped, Instruction, Kind

SAMPLES_PER_DEPTH = 1 << 20
"""Sample indices per iteration: a parent that is drawn again in a later iteration must not get the
reply that the ledger already holds."""

FUNNEL = ("asked", "truncated", "malformed", "too_short", "duplicate", "not_novel", "contaminated")
"""Counts that metrics always have, including zeros; other reasons follow, then `kept`."""


@dataclass(slots=True)
class ParentChoice:
    """Draws parents, and counts the children of each and the descendants of each seed.

    `gaps` are in points of score, by id; `progress` are the weights of hard parents
    (`learning_progress`).
    """

    settings: Generate
    rng: random.Random
    gaps: Mapping[str, float]
    progress: Mapping[str, float]
    _seeds: dict[str, str] = field(default_factory=dict)
    _children: Counter[str] = field(default_factory=Counter)
    _descendants: Counter[str] = field(default_factory=Counter)

    def add_pool(self, cache: Sequence[Instruction]) -> None:
        """Count the descendants of each seed in the Cache Pool."""
        self._seeds = seeds_of(cache)
        self._descendants = Counter(self._seeds[row.id] for row in cache if row.parent)

    def is_full(self, parent: Instruction) -> bool:
        """Return whether a parent has its maximum of children, or its seed of descendants."""
        per_parent, max_descendants = self.settings.per_parent, self.settings.max_descendants
        return (per_parent is not None and self._children[parent.id] >= per_parent) or (
            max_descendants is not None
            and self._descendants[self._seed_of(parent.id)] >= max_descendants
        )

    def count_child(self, child: str, parent: str, by: int = 1) -> None:
        """Count a kept child of a parent and of its seed (ids); `by` = -1 takes it back."""
        self._seeds[child] = self._seed_of(parent)
        self._children[parent] += by
        self._descendants[self._seeds[child]] += by

    def draw(self, parents: Sequence[Instruction]) -> Instruction:
        """Draw a parent: uniformly over rows or domains, or by the weights of `choice`.

        `gap`: a row one point of score above the smallest gap of its kind is twice as likely as the
        row at the smallest, two points three times. `progress` weighs hard parents only.
        """
        if self.settings.feedback == "balanced":
            domains = _by_domain(parents)
            return self.rng.choice(domains[self.rng.choice(list(domains))])
        if self.settings.choice == "gap":
            return self.rng.choices(parents, self._gap_weights(parents))[0]
        if self.settings.choice == "progress":
            weights = [self.progress.get(row.id, 1.0) for row in parents]
            return self.rng.choices(parents, weights)[0]
        return self.rng.choice(parents)

    def _gap_weights(self, parents: Sequence[Instruction]) -> list[float]:
        gaps = [self.gaps[row.id] for row in parents]
        return [1 + gap - min(gaps) for gap in gaps]

    def _seed_of(self, identity: str) -> str:
        return self._seeds.get(identity, identity)


def seeds_of(rows: Sequence[Instruction]) -> dict[str, str]:
    """Return for each row the id of its seed; a seed has its own id."""
    parents = {row.id: row.parent for row in rows}
    seeds: dict[str, str] = {}
    for row in rows:
        ancestor = row.id
        while (parent := parents.get(ancestor)) is not None and ancestor not in seeds:
            ancestor = parent
        seeds[row.id] = seeds.get(ancestor, ancestor)
    return seeds


def _by_domain(rows: Sequence[Instruction]) -> dict[str | None, list[Instruction]]:
    """Group the rows by topic label, in order of appearance."""
    domains: dict[str | None, list[Instruction]] = {}
    for row in rows:
        domains.setdefault(row.domain, []).append(row)
    return domains


@dataclass(slots=True)
class GeneratedPool:
    """The new rows of iteration `iteration`, `depth` iterations from the base.

    `parents` are the candidates for parents of each kind; `filter` holds the Cache Pool, `choice`
    the counts of children. Rows of a declared `task` are compared by their variable part.
    """

    iteration: str
    depth: int
    settings: Generate
    parents: Mapping[Kind, Sequence[Instruction]]
    filter: CandidateFilter
    choice: ParentChoice
    task: TaskTemplate | None = None
    kept: list[Instruction] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[Kind, Counter[str]] = field(init=False)
    _samples: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Create a funnel for each kind."""
        self.funnel = {kind: Counter() for kind in KINDS}

    def wanted(self, kind: Kind) -> int:
        """Return the number of instructions of `kind` still missing."""
        target = self.settings.hard if kind == "hard" else self.settings.easy
        return target - self.funnel[kind]["kept"]

    def choose(self, exhausted: Collection[Kind] = ()) -> list[Draw[Kind, Instruction]]:
        """Return the draws of one round, hard before easy, without the `exhausted` kinds."""
        return [draw for kind in KINDS if kind not in exhausted for draw in self.draws(kind)]

    def draws(self, kind: Kind) -> list[Draw[Kind, Instruction]]:
        """Return the draws of one round of `kind`: a parent with its sample index per request.

        A round requests the missing rows and a tenth more, at most `round` requests. A parent with
        `per_parent` children, or whose seed has `max_descendants` descendants, is not drawn again.
        """
        parents = [row for row in self.parents[kind] if not self.choice.is_full(row)]
        wanted = self.wanted(kind)
        if not parents or wanted <= 0:
            return []
        count = min(self.settings.requests_per_round, wanted + (wanted + 9) // 10)
        return [self._numbered(kind, self.choice.draw(parents)) for _ in range(count)]

    def compared(self, draw: Draw[Kind, Instruction], candidate: str) -> str:
        """Return the text of a candidate that is compared with others."""
        messages = child_conversation(draw.source.messages, candidate, self.task)
        return candidate if messages is None else variable_part(messages, self.task)

    def add_reply(self, draw: Draw[Kind, Instruction], candidates: Sequence[str | Dropped]) -> int:
        """Keep or drop the candidates of one reply; return the number kept."""
        return sum(self.admit(draw.kind, draw.source, candidate) for candidate in candidates)

    def admit(self, kind: Kind, parent: Instruction, candidate: str | Dropped) -> bool:
        """Keep a candidate, or drop it with its reason; return whether it is kept."""
        funnel = self.funnel[kind]
        funnel["asked"] += 1
        row = (
            candidate if isinstance(candidate, Dropped) else self._filtered(kind, parent, candidate)
        )
        if isinstance(row, Dropped):
            funnel[row.reason] += 1
            self.dropped.append(row)
            return False
        funnel["kept"] += 1
        return True

    def counts(self, kind: Kind) -> Funnel:
        """Return the acceptance funnel of a kind: asked, then dropped by reason, then kept."""
        funnel = self.funnel[kind]
        others = sorted(set(funnel) - {*FUNNEL, "kept"})
        return Funnel({reason: funnel[reason] for reason in (*FUNNEL, *others, "kept")})

    def remove(self, rejected: Mapping[str, RejectReason]) -> None:
        """Drop kept rows, by id.

        The filter still knows their texts, so their near duplicates are not sent to the referee.
        """
        for row in self.kept:
            if row.id not in rejected:
                continue
            why, parent = rejected[row.id], str(row.parent)
            self.funnel["hard" if row.origin == "hard" else "easy"].update(
                {why.reason: 1, "kept": -1}
            )
            self.choice.count_child(row.id, parent, -1)
            text = variable_part(row.messages, self.task)
            self.dropped.append(Dropped("generate", why.reason, parent, text, why.detail))
        self.kept = [row for row in self.kept if row.id not in rejected]

    def _numbered(self, kind: Kind, parent: Instruction) -> Draw[Kind, Instruction]:
        """Return a draw with the next sample index of its parent and prompt."""
        key = prompt_of(kind, self.settings), parent.id
        sample = self.depth * SAMPLES_PER_DEPTH + self._samples[key]
        self._samples[key] += 1
        return Draw(kind, parent, sample)

    def _filtered(self, kind: Kind, parent: Instruction, text: str) -> Instruction | Dropped:
        if self.wanted(kind) <= 0:
            return Dropped("generate", "surplus", id=parent.id, text=text)
        messages = child_conversation(parent.messages, text, self.task)
        if messages is None:
            return Dropped("generate", "shape", id=parent.id, text=text)
        try:
            instruction = Instruction.new(
                messages,
                origin=kind,
                iteration=self.iteration,
                parent=parent.id,
            )
        except DataError as error:
            return Dropped("generate", "malformed", id=parent.id, detail=str(error))
        if self.choice.is_full(parent):
            return Dropped("generate", "parent_full", id=parent.id, text=text)
        result = self.filter.admit(instruction.id, variable_part(messages, self.task))
        if not isinstance(result, Accepted):
            return Dropped("generate", result.reason, parent.id, text, result.detail)
        self.choice.count_child(instruction.id, parent.id)
        kept = replace(labelled(instruction), nearest=result.nearest, closest=result.closest)
        self.kept.append(kept)
        return kept


def prompt_of(kind: Kind, settings: Generate) -> Kind:
    """Return which prompt requests new instructions of `kind`.

    One-way imitation has a single prompt: the same domain, the same task type.
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
    task: TaskTemplate | None = None,
) -> GeneratedPool:
    """Return an empty pool whose filter and choice of parents hold the Cache Pool."""
    filter_.add_pool((row.id, variable_part(row.messages, task)) for row in cache)
    choice = ParentChoice(settings, rng, gaps, progress)
    choice.add_pool(cache)
    return GeneratedPool(iteration, depth, settings, parents, filter_, choice, task)
