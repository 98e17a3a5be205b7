"""Which instruction the next request is made from: a weighted lot over those that are not full.

Pure. Which rows may be drawn at all is decided by the verdicts (see `pools.parents`).
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lion.config.settings import Generate
from lion.records.rows import Instruction


@dataclass(slots=True)
class ParentChoice:
    """Draws parents, and counts the children of each and the descendants of each seed.

    `gaps` are those of the judged rows (points of score), `progress` the weights of hard parents
    (see `lion.generation.learning_progress`).
    """

    settings: Generate
    rng: random.Random
    gaps: Mapping[str, float]
    progress: Mapping[str, float]
    _seeds: dict[str, str] = field(default_factory=dict)
    _children: Counter[str] = field(default_factory=Counter)
    _descendants: Counter[str] = field(default_factory=Counter)

    def know(self, cache: Sequence[Instruction]) -> None:
        """Count the descendants that the Cache Pool holds."""
        self._seeds = seeds_of(cache)
        self._descendants = Counter(self._seeds[row.id] for row in cache if row.parent)

    def is_full(self, parent: Instruction) -> bool:
        """Say whether a parent has all the children, or its seed all the descendants, allowed."""
        per_parent, per_seed = self.settings.per_parent, self.settings.per_seed
        return (per_parent is not None and self._children[parent.id] >= per_parent) or (
            per_seed is not None and self._descendants[self._seed_of(parent.id)] >= per_seed
        )

    def count(self, child: str, parent: str, by: int = 1) -> None:
        """Count a child that was kept, or take it back with `by` = -1."""
        self._seeds[child] = self._seed_of(parent)
        self._children[parent] += by
        self._descendants[self._seeds[child]] += by

    def draw(self, parents: Sequence[Instruction]) -> Instruction:
        """Draw a parent: uniformly over rows or domains, or by the weights of `choice`.

        `gap`: a point of score above the least of its kind makes a draw twice as likely as at it,
        two points three times. `progress` weighs hard parents alone.
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
    """Return for each row the id of the seed that it leads back to; a seed leads to itself."""
    parents = {row.id: row.parent for row in rows}
    seeds: dict[str, str] = {}
    for row in rows:
        ancestor = row.id
        while (parent := parents.get(ancestor)) is not None and ancestor not in seeds:
            ancestor = parent
        seeds[row.id] = seeds.get(ancestor, ancestor)
    return seeds


def _by_domain(rows: Sequence[Instruction]) -> dict[str | None, list[Instruction]]:
    """Return the rows by their label, in the order of their first rows."""
    domains: dict[str | None, list[Instruction]] = {}
    for row in rows:
        domains.setdefault(row.domain, []).append(row)
    return domains
