"""What an arm asks of the three roles, and what that costs at a stated price."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lion.config.settings import Endpoint
from lion.llm.request_set import NO_LIMIT, DropLimit
from lion.llm.usage import UsageStats
from lion.prompting.protocol import Outcome, Reply, Request, Usage, sample_seed
from lion.simulator import server
from lion.stage_table import Role

MODEL = "oracle-1"
DOLLARS_IN, DOLLARS_OUT = 0.15, 0.60
"""US dollars for a million words read and written: the same for all roles, output four times."""


@dataclass(slots=True)
class MockBilling:
    """Clients that ask the oracle as a function and count calls and words by role.

    A word is a token. The same question is paid once, in whichever iteration, as by the ledger.
    """

    random_seed: int
    calls: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    _paid: dict[tuple[str, int], Reply] = field(default_factory=dict)

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator["BilledClient"]:  # noqa: ARG002 - there is one oracle
        """Yield a client in a role."""
        yield BilledClient(role, self)

    def dollars(self) -> dict[str, float]:
        """Return what each role has cost so far."""
        return {
            role: (self.read[role] * DOLLARS_IN + self.written[role] * DOLLARS_OUT) / 1e6
            for role in sorted(self.calls)
        }

    def reply(self, role: str, request: Request) -> Reply:
        """Return the oracle's reply, and charge the role unless it is paid for."""
        key = "\x00".join(turn["content"] for turn in request.messages), request.sample
        if key not in self._paid:
            self._paid[key] = self._bought(role, request)
        return self._paid[key]

    def _bought(self, role: str, request: Request) -> Reply:
        seed = sample_seed(self.random_seed, request.sample)
        document = server.completion(
            server.ChatRequest(MODEL, list(request.messages), seed, max_tokens=1024)
        )
        choice, used = document["choices"][0], document["usage"]
        usage = Usage(used["prompt_tokens"], used["completion_tokens"])
        self.calls[role] += 1
        self.read[role] += usage.prompt
        self.written[role] += usage.completion
        return Reply(choice["message"]["content"], choice["finish_reason"], MODEL, usage)


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
