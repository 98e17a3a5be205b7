"""What is set aside for calls in flight, so that a cap holds whatever the server counts.

A server may count more than the request allows: thoughts beyond the cap, a long chat template; and
it may begin to at any time, where a router goes over to another provider. So each call reserves
`BELIEVED` times its upper bound, whatever was counted before: all calls in flight may be counted
so. Where too little is left for that, fewer calls are in flight; one alone takes what is left. A
reply is charged no more than was reserved for it. What exceeds the upper bound is known to this
process alone: a process that is killed leaves no more set aside than its requests allow.
"""

import asyncio
from dataclasses import dataclass, field

from lion import console
from lion.llm.budget import BELIEVED, CostEstimator, budget_reached
from lion.llm.ledger import Amount, Demand, Ledger
from lion.llm.ledger_writer import LedgerWriter


@dataclass(frozen=True, slots=True)
class Reservation:
    """An amount set aside for one call, under its number in the ledger."""

    number: int
    amount: Amount


@dataclass(slots=True)
class Reservations:
    """The reservations of one client's calls. Raises BudgetError where the budget is reached.

    `largest_ratio`: the largest count of a reply over its upper bound so far, at least 1.
    """

    estimator: CostEstimator
    ledger: Ledger
    largest_ratio: float = 1.0
    _held: int = 0
    _stopped: bool = False
    _announced: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _last: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def reserve(self, body: bytes, writer: LedgerWriter) -> Reservation | None:
        """Reserve what a call may cost; wait for calls in flight while too little is left.

        Returns None where no cap is set, or where `stop` was called.
        """
        if not self.estimator.is_capped:
            return None
        bound = self.estimator.upper_bound(body)
        while not self._stopped:
            changed = self._changed
            reservation = await self._try(bound, writer)
            if reservation is not None:
                return reservation
            if self._held:  # these give back what they do not use
                self._announce()
                await changed.wait()
        return None

    def _announce(self) -> None:
        """Say once that the cap, and not `api.concurrency`, limits the calls in flight."""
        if self.estimator.caps_amounts and not self._announced:
            self._announced = True
            console.say(
                f"budget: each call reserves {BELIEVED:g} times the most that its request allows, "
                "as some servers count more tokens. What is left of the budget is too little for "
                "api.concurrency calls at a time. With a higher budget the stage is faster"
            )

    async def _try(self, bound: Amount, writer: LedgerWriter) -> Reservation | None:
        """Reserve at `BELIEVED` or, where no call is in flight, as much as is left.

        Raises BudgetError where that is less than the call may cost by what was seen so far.
        """
        full = bound.times(BELIEVED)
        reservation = await self._ask(Demand(bound, full), writer)
        if reservation is not None:
            return reservation
        async with self._last:
            if self._held:
                return None
            least = bound.times(self.largest_ratio)
            reservation = await self._ask(Demand(bound, full, least), writer)
        if reservation is None and not self._held:
            raise budget_reached(self.ledger)
        return reservation

    async def _ask(self, demand: Demand, writer: LedgerWriter) -> Reservation | None:
        """Reserve, or return None where too little is left.

        It counts as held meanwhile, or another call would take the budget for spent. No waiter is
        woken where it fails: the last call to fail goes on with what is left.
        """
        self._held += 1
        reserved = None
        try:
            reserved = await writer.reserve(demand)
        finally:
            self._held -= reserved is None
        return None if reserved is None else Reservation(*reserved)

    def learn(self, ratio: float | None) -> None:
        """Note a reply's count over its upper bound, None where it has none to be believed."""
        if ratio is not None:
            self.largest_ratio = max(self.largest_ratio, ratio)

    def settle(self, reservation: Reservation | None) -> None:
        """Note that a call ended and was recorded."""
        if reservation is not None:
            self._held -= 1
            self._wake()

    def stop(self) -> None:
        """Let every call that waits go on without a reservation: it is not sent."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
