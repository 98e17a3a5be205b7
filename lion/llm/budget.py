"""What a client did: what follows from the inputs, and what really happened."""

from collections import Counter
from dataclasses import dataclass, field

from lion.config.settings import EMBEDDED, Endpoint
from lion.errors import BudgetError
from lion.llm.ledger import Amount, Cap, Ledger
from lion.llm.prices import Prices
from lion.metrics.files import Happened
from lion.metrics.units import RoleUsage
from lion.prompting import protocol
from lion.prompting.protocol import Usage


@dataclass(slots=True)
class UsageStats:
    """What a client did. `needed` and the tokens follow from the inputs; the rest happened.

    `needed`: requests, duplicates once. Tokens: of the replies used, whoever paid for them
    and when; `untold`: replies whose server counted no tokens. `wasted`: calls that brought
    nothing, of which the server refused `throttled` (429) and may have charged `billed`.
    `latencies`: seconds of the calls.
    """

    needed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0
    failed: int = 0
    hits: int = 0
    calls: int = 0
    retries: int = 0
    wasted: int = 0
    throttled: int = 0
    billed: int = 0
    nanodollars: int = 0
    unpriced: int = 0
    seconds: float = 0.0
    latencies: Counter[float] = field(default_factory=Counter)

    def versioned(self) -> RoleUsage:
        """Return what follows from the inputs: fit for a metric under version control."""
        return RoleUsage(
            requests=self.needed,
            failed=self.failed,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            replies_without_usage=self.untold,
        )

    def happened(self) -> Happened:
        """Return what really happened, for the record of the run."""
        return Happened(
            needed=self.needed,
            hits=self.hits,
            calls=self.calls,
            retries=self.retries,
            wasted=self.wasted,
            throttled=self.throttled,
            billed=self.billed,
            nanodollars=self.nanodollars,
            unpriced=self.unpriced,
            seconds=self.seconds,
            p50_seconds=self.percentile(50),
            p90_seconds=self.percentile(90),
            p99_seconds=self.percentile(99),
        )

    def percentile(self, share: int) -> float:
        """Return the latency below which `share` per cent of the calls lie, to two digits."""
        left = share / 100 * self.latencies.total()
        for seconds in sorted(self.latencies):
            left -= self.latencies[seconds]
            if left <= 0:
                return seconds
        return 0.0

    def count_call(self, seconds: float, nanodollars: int | None) -> None:
        """Add one call: how long it took, to two digits, and what it cost where that is known."""
        self.latencies[float(f"{seconds:.2g}")] += 1
        self.nanodollars += nanodollars or 0
        self.unpriced += nanodollars is None

    def count_usage(self, usage: Usage | None) -> None:
        """Add one reply's tokens."""
        if usage is None:
            self.untold += 1
        else:
            self.prompt_tokens += usage.prompt
            self.completion_tokens += usage.completion


_BELIEVED = 20
"""How many times the tokens of a reservation a server's count may be: thoughts exceed the cap of
some servers, and a chat template adds to a short prompt."""


@dataclass(frozen=True, slots=True)
class CostEstimator:
    """The money of one client: its endpoint's prices under the project's cap.

    `batch` where calls are made in batches, for which there may be a price of its own.
    """

    endpoint: Endpoint
    prices: Prices
    cap: Cap
    batch: bool = False

    @property
    def is_capped(self) -> bool:
        """Whether anything has to be set aside before a call."""
        return self.cap != Cap()

    def most(self, body: bytes) -> Amount:
        """Return the most that a call can use: a token is a byte at least.

        Raises BudgetError where that is unknown and a cap depends on it.
        """
        who = f"{self.endpoint.model} at {self.endpoint.base_url}"
        completion = protocol.completion_cap(self.endpoint)
        if completion is None:
            if self.cap.tokens is None and self.cap.nanodollars is None:
                return Amount(1)
            raise BudgetError(
                f"budget: {who} has no cap on what it writes, so the most that a call can cost is "
                "unknown. Set max_completion_tokens or max_tokens in `request`."
            )
        cost = self.prices.cost(self.endpoint, Usage(len(body), completion), batch=self.batch)
        if cost is None and self.cap.nanodollars is not None:
            raise BudgetError(
                f"budget.usd: the price of {who} is unknown. Write it into prices.yaml, or cap "
                "tokens or calls instead."
            )
        return Amount(1, len(body) + completion, cost or 0)

    def of_reply(self, body: bytes, usage: Usage | None) -> tuple[Usage | None, int | None]:
        """Return tokens and nanodollars of a reply.

        Where the server's count is missing, or far above what the request allows, a cap counts what
        was reserved: else it would never hold.
        """
        if self.is_capped and self.endpoint.base_url != EMBEDDED:
            most = self.most(body)
            if usage is None or usage.prompt + usage.completion > _BELIEVED * max(most.tokens, 1):
                return (Usage(most.tokens, 0) if most.tokens else None), most.nanodollars or None
        return usage, self.spent(usage)

    def spent(self, usage: Usage | None) -> int | None:
        """Return what a reply cost in nanodollars, or None where that cannot be told."""
        return self.prices.cost(self.endpoint, usage, batch=self.batch)

    def lost(self, body: bytes, *, billable: bool) -> tuple[Usage | None, int | None]:
        """Return tokens and nanodollars of a call that failed: the most it can have cost.

        Nothing where the server did not work for it; None where nobody knows.
        """
        if not billable or self.endpoint.base_url == EMBEDDED:
            return None, 0
        if not self.is_capped:
            return None, None
        most = self.most(body)
        return (Usage(most.tokens, 0) if most.tokens else None), most.nanodollars or None


def reached(ledger: Ledger) -> BudgetError:
    """Return the error that says what was spent and how to go on."""
    spent, reserved = ledger.spent()
    return BudgetError(
        f"the budget is reached: {spent.calls:,} calls, {spent.tokens:,} tokens and "
        f"{spent.nanodollars / 1e9:.2f} dollars are spent, {reserved.calls:,} calls are in "
        "flight or were interrupted. Everything paid for is kept: raise `budget` in "
        "params.yaml and run again to go on."
    )
