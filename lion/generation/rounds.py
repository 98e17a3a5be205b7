"""Asking for new instructions in rounds, until enough are kept or too few of them are.

Requests of a round are asked together and judged in their order, so that the order of arrival never
shows. Where a kind keeps too small a share of its candidates, it is asked for no more. What is
asked, and what is kept, is the pool's business.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lion.generation.candidate_filter import CandidateFilter
from lion.generation.filters.quality import Flaw
from lion.generation.filters.safety import Checked, Safety
from lion.llm.protocols import Client
from lion.metrics.units import Embedded, RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request
from lion.records.rows import Dropped

_FEWEST = 20  # candidates, of which a share says something
_MOST = 100  # candidates of which not one was kept: enough for any share

K = TypeVar("K", bound=str)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Draw(Generic[K, S]):
    """One request to come: which kind it asks for, from what, and its sample index."""

    kind: K
    source: S
    sample: int


class GrowingPool(Protocol[K, S]):
    """A pool that asks for instructions of several kinds, and keeps some of what comes."""

    @property
    def filter(self) -> CandidateFilter:
        """What its candidates have to pass."""
        ...

    @property
    def funnel(self) -> Mapping[K, Counter[str]]:
        """How many candidates of each kind were asked for, dropped by reason, and kept."""
        ...

    @property
    def kept(self) -> Sequence[Checked]:
        """The rows kept so far."""
        ...

    def choose(self, exhausted: Collection[K]) -> list[Draw[K, S]]:
        """Return the draws of one round, none of the `exhausted` kinds; empty where done."""
        ...

    def judge(self, draw: Draw[K, S], candidates: Sequence[str | Dropped]) -> int:
        """Keep the candidates of one reply, or drop each with its reason; return how many stay."""
        ...

    def withdraw(self, flaws: Mapping[str, Flaw]) -> None:
        """Drop rows that were kept, by id."""
        ...


@dataclass(frozen=True, slots=True)
class GenerationUsage:
    """What filling a pool asked: the generator, the embeddings, and the filter for safety.

    None where params do not ask for one of the latter.
    """

    generator: RoleUsage
    embedder: Embedded | None
    safety: RoleUsage | None


@dataclass(frozen=True, slots=True)
class Rounds(Generic[K, S]):
    """How a pool is filled: `request` asks for a draw, `candidates` reads its reply.

    `allowed` calls may fail for good in all; `safety` is asked of what is kept, where params say
    so.
    """

    pool: GrowingPool[K, S]
    client: Client
    request: Callable[[Draw[K, S]], Request]
    candidates: Callable[[Draw[K, S], Outcome], list[str | Dropped]]
    allowed: int
    safety: Safety | None

    def fill(self, exhausted: Collection[K] = ()) -> None:
        """Ask round after round until the pool chooses nothing more.

        An endpoint that fails is no sign of a low yield: raises TooManyDroppedError where more
        than `allowed` calls fail.
        """
        closed = list(exhausted)
        least = self.pool.filter.settings.min_acceptance
        monitors = {kind: YieldMonitor(least) for kind in self.pool.funnel}
        while draws := self.pool.choose(closed):
            left = max(0, self.allowed - self.client.account.failed)
            outcomes = self.client.ask([self.request(draw) for draw in draws], max_failed=left)
            tried, kept = self._judge(draws, outcomes)
            closed += [kind for kind in tried if monitors[kind].is_too_low(tried[kind], kept[kind])]

    def usage(self) -> GenerationUsage:
        """Return what was asked so far."""
        near = self.pool.filter.near
        return GenerationUsage(
            self.client.account.versioned(),
            None if near is None else near.used(),
            None if self.safety is None else self.safety.used(),
        )

    def _judge(
        self, draws: Sequence[Draw[K, S]], outcomes: Sequence[Outcome]
    ) -> tuple[Counter[K], dict[K, int]]:
        """Judge a round's replies in the order of their draws; count by kind tried and kept."""
        pool = self.pool
        before = {kind: funnel["kept"] for kind, funnel in pool.funnel.items()}
        known = len(pool.kept)
        replies = [self.candidates(*each) for each in zip(draws, outcomes, strict=True)]
        pool.filter.expect([text for some in replies for text in some if isinstance(text, str)])
        tried: Counter[K] = Counter()
        for draw, outcome, candidates in zip(draws, outcomes, replies, strict=True):
            pool.judge(draw, candidates)
            if not isinstance(outcome, Failure):  # an endpoint that fails says nothing of the yield
                tried[draw.kind] += len(candidates)
        if self.safety is not None:
            pool.withdraw(self.safety.flaws(pool.kept[known:]))
        return tried, {kind: funnel["kept"] - before[kind] for kind, funnel in pool.funnel.items()}


@dataclass(slots=True)
class YieldMonitor:
    """Candidates of one kind since the last decision; `least`: share to be kept, 0 to 1.

    Rounds are taken together until a share of them says something: a last round of two may well
    keep none by chance, and what it wanted would be lacking.
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
