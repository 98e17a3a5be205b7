"""What an arm asks of the three roles, and what that costs at two prices."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lion.config.settings import Endpoint
from lion.llm.request_set import NO_LIMIT, DropLimit
from lion.llm.usage import UsageStats
from lion.prompting.protocol import Outcome, Reply, Request, Usage, sample_seed
from lion.simulator import server
from lion.stage_table import Role
from proving.arms import Price

EXACT, NOISY = "oracle-1", "oracle-1-noisy"
DOLLARS_IN, DOLLARS_OUT = 0.15, 0.60
"""US dollars for a million words read and written: the same for all roles, output four times."""
LONG_WORDS = 200
"""Words of an answer at the price of long answers; a review reads two of them beside its own."""

Counts = Mapping[str, Mapping[str, int]]
"""`calls`, `read` and `written` words, each by role."""


@dataclass(slots=True)
class MockBilling:
    """Clients that ask the oracle as a function and count calls and words by role.

    A word is a token. The same question is paid once, in whichever iteration, as by the ledger.
    `referee` is the model that judges: `NOISY` has a bias of place and noise of one point.
    """

    random_seed: int
    referee: str = EXACT
    calls: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    _paid: dict[tuple[str, int], Reply] = field(default_factory=dict)

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator["BilledClient"]:  # noqa: ARG002 - there is one oracle
        """Yield a client in a role."""
        yield BilledClient(role, self)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return calls and words so far, by role."""
        return {name: dict(sorted(getattr(self, name).items())) for name in _COUNTED}

    def reply(self, role: str, request: Request) -> Reply:
        """Return the oracle's reply, and charge the role unless it is paid for."""
        key = "\x00".join(turn["content"] for turn in request.messages), request.sample
        if key not in self._paid:
            self._paid[key] = self._bought(role, request)
        return self._paid[key]

    def _bought(self, role: str, request: Request) -> Reply:
        seed = sample_seed(self.random_seed, request.sample)
        model = self.referee if role == "referee" else EXACT
        document = server.completion(
            server.ChatRequest(model, list(request.messages), seed, max_tokens=1024)
        )
        choice, used = document["choices"][0], document["usage"]
        usage = Usage(used["prompt_tokens"], used["completion_tokens"])
        self.calls[role] += 1
        self.read[role] += usage.prompt
        self.written[role] += usage.completion
        return Reply(choice["message"]["content"], choice["finish_reason"], model, usage)


_COUNTED = ("calls", "read", "written")


def dollars(point: Mapping[str, Any], price: Price = "short") -> float:
    """Return what all roles cost up to an iteration's figures, in US dollars."""
    read, written = sum(point["read"].values()), sum(point["written"].values())
    if price == "long":
        taught = point["calls"].get("teacher", 0)
        written += LONG_WORDS * taught - point["written"].get("teacher", 0)
        read += 2 * LONG_WORDS * point["calls"].get("referee", 0)
    return float(read * DOLLARS_IN + written * DOLLARS_OUT) / 1e6


@dataclass(slots=True)
class BilledClient:
    """The oracle in one role."""

    role: str
    billing: MockBilling
    usage: UsageStats = field(default_factory=UsageStats)

    def complete(self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT) -> list[Outcome]:
        """Return the replies, in order; none fails."""
        return list(self.complete_each(requests, limit))

    def complete_each(
        self,
        requests: Sequence[Request],
        limit: DropLimit = NO_LIMIT,  # noqa: ARG002 - none fails
    ) -> Iterator[Outcome]:
        """Yield the replies, in order."""
        return (self.billing.reply(self.role, request) for request in requests)
