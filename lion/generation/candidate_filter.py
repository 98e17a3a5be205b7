"""What a candidate must pass to become an instruction, in the base pool and in every iteration.

One after the other: not known already, usable, meeting no exam, new by ROUGE-L, new by embeddings
where params ask for that. What passes is known from then on. Says nothing of how many are wanted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lion.config.settings import Generate, Quality
from lion.generation.filters import quality
from lion.generation.filters.decontamination import Decontamination
from lion.generation.filters.near_duplicates import NearDuplicateIndex
from lion.generation.filters.novelty import Neighbour, Novelty
from lion.student.tokens import Count


@dataclass(frozen=True, slots=True)
class RejectReason:
    """Why a candidate is dropped: a reason that is counted, and more of it."""

    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What of the pool is nearest to a candidate that passed.

    By ROUGE-L F (0 to 1), and by the cosine of embeddings (-1 to 1); None where there is none.
    """

    nearest: tuple[str, float] | None
    closest: tuple[str, float] | None


@dataclass(slots=True)
class CandidateFilter:
    """The filters of one stage, and all that is known to them.

    `guard` holds the exams, `tokens` counts the tokens of the student, `near` holds the pool's
    embeddings where params ask for them.
    """

    settings: Generate
    quality: Quality
    guard: Decontamination
    tokens: Count | None = None
    near: NearDuplicateIndex | None = None
    _known: set[str] = field(default_factory=set)
    _novelty: Novelty = field(init=False)

    def __post_init__(self) -> None:
        """Begin with an empty pool."""
        self._novelty = Novelty(self.settings.novelty, self.settings.tokens)

    def know(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add rows of the pool, pairs of id and text, that no candidate may repeat."""
        for identity, text in rows:
            self._known.add(identity)
            self._novelty.add(identity, text)

    def expect(self, texts: list[str]) -> None:
        """Embed the candidates of a round together, which saves time."""
        if self.near is not None:
            self.near.expect(texts)

    def admit(self, identity: str, text: str) -> Accepted | RejectReason:
        """Let a candidate in, or say why not; one that is let in is known from then on."""
        rejected = self._unusable(identity, text)
        if rejected is not None:
            return rejected
        neighbour = self._novelty.neighbour(text)
        if neighbour is not None and not self._novelty.is_new(neighbour):
            return RejectReason("not_novel", f"{neighbour.id} at {neighbour.similarity:.3f}")
        closest = None if self.near is None else self.near.neighbour(text)
        near_duplicate = None if self.near is None else self.near.objection(closest)
        if near_duplicate is not None:
            return RejectReason(*near_duplicate)
        self.know([(identity, text)])
        if self.near is not None:
            self.near.add(identity, text)
        nearest = None if neighbour is None else (neighbour.id, round(neighbour.similarity, 4))
        if isinstance(closest, Neighbour):
            return Accepted(nearest, (closest.id, round(closest.similarity, 4)))
        return Accepted(nearest, None)

    def _unusable(self, identity: str, text: str) -> RejectReason | None:
        """Return the reason against a text that follows from the text and the exams alone."""
        if identity in self._known:
            return RejectReason("duplicate", identity)
        flaw = quality.flaw(text, self.quality, self.tokens)
        if flaw is not None:
            return RejectReason(flaw.reason, flaw.detail)
        overlap = self.guard.meets(text)
        return None if overlap is None else RejectReason("contaminated", str(overlap))
