"""Usage of one client: counts that follow from the inputs, and counts of the calls of this run."""

from collections import Counter
from dataclasses import dataclass, field

from lion.metrics.files import CallStats
from lion.metrics.units import RoleUsage
from lion.prompting.protocol import Usage


@dataclass(slots=True)
class UsageStats:
    """Counts of one client. `needed` and the tokens follow from the inputs; the rest happened.

    `needed`: distinct requests. Tokens: of the replies used, whenever they were paid for;
    `replies_without_usage`: replies without a count of tokens. `failed`: distinct requests without
    a reply; `dropped`: those, and the ones whose reply the phase rejects. `wasted`: calls without
    a usable reply, of which the server refused `throttled` (429) and may have charged `billed`.
    `latencies`: seconds of the calls, to two digits.
    """

    needed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    replies_without_usage: int = 0
    failed: int = 0
    dropped: int = 0
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
            replies_without_usage=self.replies_without_usage,
        )

    def call_stats(self) -> CallStats:
        """Return the counts of this run's calls, for the record of the run."""
        return CallStats(
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
        """Add one call with its latency and its cost; None is an unknown cost."""
        self.latencies[float(f"{seconds:.2g}")] += 1
        self.nanodollars += nanodollars or 0
        self.unpriced += nanodollars is None

    def count_usage(self, usage: Usage | None) -> None:
        """Add one reply's tokens."""
        if usage is None:
            self.replies_without_usage += 1
        else:
            self.prompt_tokens += usage.prompt
            self.completion_tokens += usage.completion
