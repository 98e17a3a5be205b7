"""What a phase needs of an endpoint: a client that answers requests, and who opens one.

Protocols only. In a stage, `lion.pipeline.stage.Work` opens clients with the ledger before them;
the plan opens clients that only read the ledger, the experiments clients that bill.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lion.config.settings import Endpoint
from lion.llm.request_set import NO_LIMIT, DropLimit
from lion.llm.usage import UsageStats
from lion.prompting.protocol import Outcome, Request
from lion.stage_table import Role


class Client(Protocol):
    """An endpoint in one role. `usage` counts what was asked of it so far."""

    usage: UsageStats

    def complete(self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT) -> list[Outcome]:
        """Return one outcome per request, in their order.

        Raises TooManyDroppedError where more distinct requests are dropped than `limit` allows.
        """
        ...

    def complete_each(
        self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT
    ) -> Iterator[Outcome]:
        """Yield the outcomes one by one, as `complete` returns them."""
        ...


class Clients(Protocol):
    """Opens a client of an endpoint for as long as a phase asks in that role."""

    def open(self, role: Role, endpoint: Endpoint) -> AbstractContextManager[Client]:
        """Return a context manager of the client."""
        ...
