"""The filters that a candidate must pass, in the base pool and in every iteration.

In this order: no duplicate, usable, no overlap with an exam, new by ROUGE-L, new by embeddings
where params ask for it. An accepted candidate joins the pool that later ones are compared with.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lion.config.settings import Generate, Quality
from lion.generation.filters import quality
from lion.generation.filters.decontamination import Decontamination
from lion.generation.filters.near_duplicates import NearDuplicateIndex
from lion.generation.filters.novelty import Neighbour, Novelty
from lion.generation.filters.quality import Count, RejectReason


@dataclass(frozen=True, slots=True)
class Accepted:
    """The neighbours of a candidate that passed: id and similarity, None without a neighbour.

    `nearest` by ROUGE-L F (0 to 1), `closest` by the cosine of embeddings (-1 to 1).
    """

    nearest: tuple[str, float] | None
    closest: tuple[str, float] | None


@dataclass(slots=True)
class CandidateFilter:
    """The filters of one stage, with the pool that candidates are compared with.

    `guard` indexes the exams, `tokens` counts the student's tokens, `near` indexes the pool's
    embeddings where params ask for it.
    """

    settings: Generate
    quality: Quality
    guard: Decontamination
    tokens: Count | None = None
    near: NearDuplicateIndex | None = None
    _ids: set[str] = field(default_factory=set)
    _novelty: Novelty = field(init=False)

    def __post_init__(self) -> None:
        """Start with an empty pool."""
        self._novelty = Novelty(self.settings.novelty, self.settings.tokens)

    def add_pool(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add rows of the pool, pairs of id and text, that no candidate may repeat."""
        for identity, text in rows:
            self._ids.add(identity)
            self._novelty.add(identity, text)

    def expect(self, texts: list[str]) -> None:
        """Embed the candidates of a round in batches, which is faster."""
        if self.near is not None:
            self.near.expect(texts)

    def admit(self, identity: str, text: str) -> Accepted | RejectReason:
        """Add a candidate to the pool and return its neighbours, or return why it is rejected."""
        rejected = self._unusable(identity, text)
        if rejected is not None:
            return rejected
        neighbour = self._novelty.neighbour(text)
        if neighbour is not None and not self._novelty.is_new(neighbour):
            return RejectReason("not_novel", f"{neighbour.id} at {neighbour.similarity:.3f}")
        closest = None if self.near is None else self.near.neighbour(text)
        near_duplicate = None if self.near is None else self.near.reject_reason(closest)
        if near_duplicate is not None:
            return near_duplicate
        self.add_pool([(identity, text)])
        if self.near is not None:
            self.near.add(identity, text)
        nearest = None if neighbour is None else (neighbour.id, round(neighbour.similarity, 4))
        if isinstance(closest, Neighbour):
            return Accepted(nearest, (closest.id, round(closest.similarity, 4)))
        return Accepted(nearest, None)

    def _unusable(self, identity: str, text: str) -> RejectReason | None:
        """Return the reason against a text that does not depend on its neighbours."""
        if identity in self._ids:
            return RejectReason("duplicate", identity)
        reason = quality.reject_reason(text, self.quality, self.tokens)
        if reason is not None:
            return reason
        overlap = self.guard.find_overlap(text)
        return None if overlap is None else RejectReason("contaminated", str(overlap))
