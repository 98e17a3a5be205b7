"""The filters that a candidate must pass, in the base pool and in every iteration.

In this order: no duplicate, usable, no overlap with an exam, new by ROUGE-L, new by embeddings
where params ask for it. An accepted candidate joins the pool that later ones are compared with.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from lion.config.settings import Generate, Quality
from lion.generation.filters import quality
from lion.generation.filters.decontamination import Decontamination
from lion.generation.filters.near_duplicates import NearDuplicateIndex
from lion.generation.filters.novelty import Neighbour, Novelty
from lion.generation.filters.quality import Count, RejectReason
from lion.generation.filters.safety import Checked, Safety
from lion.llm.protocols import Client
from lion.llm.request_set import DropLimit
from lion.metrics.units import Embedded, RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.replies import incomplete
from lion.records.rows import Dropped


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


_FEWEST = 20  # candidates before an acceptance rate is computed
_MOST = 100  # candidates that are enough for any rate

K = TypeVar("K", bound=str)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Draw(Generic[K, S]):
    """A request to be sent: the kind of instruction, its source, and the sample index."""

    kind: K
    source: S
    sample: int


class GrowingPool(Protocol[K, S]):
    """A pool that requests candidates of several kinds and keeps those that pass its filter."""

    @property
    def filter(self) -> CandidateFilter:
        """The filter of its candidates."""
        ...

    @property
    def funnel(self) -> Mapping[K, Counter[str]]:
        """The counts of candidates by kind: asked for, dropped by reason, and kept."""
        ...

    @property
    def kept(self) -> Sequence[Checked]:
        """The rows kept so far."""
        ...

    def choose(self, exhausted: Collection[K]) -> list[Draw[K, S]]:
        """Return the draws of a round, without `exhausted` kinds; empty where the pool is full."""
        ...

    def compared(self, draw: Draw[K, S], candidate: str) -> str:
        """Return the text of a candidate that is compared with others."""
        ...

    def add_reply(self, draw: Draw[K, S], candidates: Sequence[str | Dropped]) -> int:
        """Keep or drop the candidates of one reply; return the number kept."""
        ...

    def remove(self, rejected: Mapping[str, RejectReason]) -> None:
        """Drop kept rows, by id."""
        ...


@dataclass(frozen=True, slots=True)
class GenerationUsage:
    """The usage of the generator, the embedder and the safety filter; None where not used."""

    generator: RoleUsage
    embedder: Embedded | None
    safety: RoleUsage | None


@dataclass(frozen=True, slots=True)
class Rounds(Generic[K, S]):
    """The loop that fills a pool: `request` builds the request of a draw, `candidates` parses it.

    At most `allowed` calls may fail, or be cut off, in total. `safety` filters the kept rows, where
    params ask for it.
    """

    pool: GrowingPool[K, S]
    client: Client
    request: Callable[[Draw[K, S]], Request]
    candidates: Callable[[Draw[K, S], Outcome], list[str | Dropped]]
    allowed: int
    safety: Safety | None

    def fill(self, exhausted: Collection[K] = ()) -> None:
        """Run rounds until the pool chooses no more draws.

        Raises TooManyDroppedError where more than `allowed` calls fail: failures of an endpoint do
        not lower the acceptance rate.
        """
        closed = list(exhausted)
        least = self.pool.filter.settings.min_acceptance
        monitors = {kind: YieldMonitor(least) for kind in self.pool.funnel}
        while draws := self.pool.choose(closed):
            outcomes = self.client.complete(list(map(self.request, draws)), self._limit(draws))
            tried, kept = self._filter_round(draws, outcomes)
            closed += [kind for kind in tried if monitors[kind].is_too_low(tried[kind], kept[kind])]

    def _limit(self, draws: Sequence[Draw[K, S]]) -> DropLimit:
        """Return the limit of a round: calls that failed or whose only candidates are cut off.

        What the filters drop does not count.
        """

        def reason(index: int, outcome: Outcome) -> str | None:
            if isinstance(outcome, Failure):
                return outcome.reason
            cut = incomplete(outcome.finish_reason)
            if cut is None:
                return None
            usable = any(isinstance(text, str) for text in self.candidates(draws[index], outcome))
            return None if usable else cut

        left = max(0, self.allowed - self.client.usage.dropped)
        return DropLimit(left, reason, "generate.max_dropped")

    def usage(self) -> GenerationUsage:
        """Return the usage so far."""
        near = self.pool.filter.near
        return GenerationUsage(
            self.client.usage.versioned(),
            None if near is None else near.used(),
            None if self.safety is None else self.safety.used(),
        )

    def _filter_round(
        self, draws: Sequence[Draw[K, S]], outcomes: Sequence[Outcome]
    ) -> tuple[Counter[K], dict[K, int]]:
        """Filter a round's replies in the order of their draws; count by kind tried and kept."""
        pool = self.pool
        before = {kind: funnel["kept"] for kind, funnel in pool.funnel.items()}
        kept_before = len(pool.kept)
        replies = list(map(self.candidates, draws, outcomes))
        pool.filter.expect(
            [
                pool.compared(draw, text)
                for draw, reply in zip(draws, replies, strict=True)
                for text in reply
                if isinstance(text, str)
            ]
        )
        tried: Counter[K] = Counter()
        for draw, outcome, candidates in zip(draws, outcomes, replies, strict=True):
            pool.add_reply(draw, candidates)
            if not isinstance(outcome, Failure):  # a failed call says nothing about acceptance
                tried[draw.kind] += len(candidates)
        if self.safety is not None:
            pool.remove(self.safety.rejected(pool.kept[kept_before:]))
        return tried, {kind: funnel["kept"] - before[kind] for kind, funnel in pool.funnel.items()}


@dataclass(slots=True)
class YieldMonitor:
    """The acceptance rate of one kind; `least` is the smallest that goes on, 0 to 1.

    Rounds are added up until there are enough candidates: a last round of two may keep none by
    chance, and the pool would stay incomplete.
    """

    least: float
    tried: int = 0
    kept: int = 0

    def is_too_low(self, tried: int, kept: int) -> bool:
        """Add one round; return whether fewer than `least`, or none at all, were kept."""
        self.tried += tried
        self.kept += kept
        if self.tried < self._enough():
            return False
        too_low = self.kept < max(1, self.least * self.tried)
        self.tried = self.kept = 0
        return too_low

    def _enough(self) -> float:
        return min(_MOST, max(_FEWEST, 1 / self.least)) if self.least else _MOST
