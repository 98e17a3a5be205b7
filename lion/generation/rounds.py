"""Rounds of requests for new instructions, until the pool is full or acceptance is too low.

The replies of a round are filtered in the order of their requests, so the order of arrival does not
matter. A kind whose acceptance rate is too low is not requested again. The pool decides what is
requested and what is kept.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lion.generation.candidate_filter import CandidateFilter
from lion.generation.filters.quality import RejectReason
from lion.generation.filters.safety import Checked, Safety
from lion.llm.protocols import Client
from lion.metrics.units import Embedded, RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request
from lion.records.rows import Dropped

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

    At most `allowed` calls may fail in total. `safety` filters the kept rows, where params ask for
    it.
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
            left = max(0, self.allowed - self.client.account.failed)
            outcomes = self.client.ask([self.request(draw) for draw in draws], max_failed=left)
            tried, kept = self._filter_round(draws, outcomes)
            closed += [kind for kind in tried if monitors[kind].is_too_low(tried[kind], kept[kind])]

    def usage(self) -> GenerationUsage:
        """Return the usage so far."""
        near = self.pool.filter.near
        return GenerationUsage(
            self.client.account.versioned(),
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
        pool.filter.expect([text for reply in replies for text in reply if isinstance(text, str)])
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
