"""What is set aside for calls in flight, so that a cap holds whatever the server counts.

A server may count more than the request allows: thoughts beyond the cap, a long chat template; and
it may begin to at any time, where a router goes over to another provider. So each call reserves
`BELIEVED` times its upper bound, whatever was counted before: all calls in flight may be counted
so. Where too little is left for that, fewer calls are in flight; one alone takes what is left. A
reply is charged no more than was reserved for it. What exceeds the upper bound counts while its
process lives: one that is killed leaves no more set aside than its requests allow.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lion import console
from lion.llm.budget import BELIEVED, CostEstimator, budget_reached
from lion.llm.caps import Amount, Demand, Shortage
from lion.llm.ledger import Ledger
from lion.llm.ledger_writer import LedgerWriter
from lion.locks import held_by

_POLL = 0.2
"""Seconds until what other clients hold is looked at again."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """An amount set aside for one call, under its number in the ledger."""

    number: int
    amount: Amount


@dataclass(slots=True)
class Reservations:
    """The reservations of one client's calls. Raises BudgetError where the budget is reached."""

    estimator: CostEstimator
    ledger: Ledger
    _largest_ratio: float = 1.0
    _held: int = 0
    _stopped: bool = False
    _announced: bool = False
    _announced_others: bool = False
    _others: tuple[Path, ...] | None = None  # lock files of those waited for, None where no one is
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
            if isinstance(reservation, Reservation):
                self._go_on()
                return reservation
            if self._held:  # these give back what they do not use
                self._announce()
                await changed.wait()
            elif reservation.elsewhere:
                self._others = writer.others
                self._announce_others()
                await _wait_at_most(changed, _POLL)
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

    def _announce_others(self) -> None:
        """Say once that other clients on the ledger hold what is left."""
        if not self._announced_others:
            self._announced_others = True
            console.say(f"{self.obstacle()}. This stage goes on as those calls end")

    def obstacle(self) -> str:
        """Return what of the budget keeps every call from being sent, "" where nothing does."""
        if self._others is None:
            return ""
        return (
            "budget: what is left is reserved for other processes on this ledger"
            f"{held_by(*self._others)}; raise `budget` and run again, or end that process if it "
            "hangs"
        )

    def _go_on(self) -> None:
        """Let the calls that wait behind the first one try as well, once it has its turn."""
        if self._others is not None:
            self._others = None
            self._wake()

    async def _try(self, bound: Amount, writer: LedgerWriter) -> Reservation | Shortage:
        """Reserve at `BELIEVED` or, where no call is in flight, as much as is left.

        Raises BudgetError where that is less than the call may cost by what was seen so far, also
        when all other clients' calls have ended.
        """
        full = bound.times(BELIEVED)
        reservation = await self._ask(Demand(bound, full), writer)
        if isinstance(reservation, Reservation):
            return reservation
        async with self._last:
            if self._held:
                return reservation
            reservation = await self._ask(Demand(bound, full, self._server), writer)
        if reservation == Shortage() and not self._held:
            raise budget_reached(self.ledger)
        return reservation

    async def _ask(self, demand: Demand, writer: LedgerWriter) -> Reservation | Shortage:
        """Reserve, or return the shortage where too little is left.

        It counts as held meanwhile, or another call would take the budget for spent. No waiter is
        woken where it fails: the last call to fail goes on with what is left.
        """
        self._held += 1
        grant: tuple[int, Amount] | Shortage = Shortage()
        try:
            grant = await writer.reserve(demand)
        finally:
            self._held -= isinstance(grant, Shortage)
        return grant if isinstance(grant, Shortage) else Reservation(*grant)

    @property
    def _server(self) -> tuple[str, str]:
        return self.estimator.endpoint.base_url, self.estimator.endpoint.model

    def learn(self, ratio: float | None) -> None:
        """Note a reply's count over its upper bound, None where it has none to be believed."""
        if ratio is not None:
            self._largest_ratio = max(self._largest_ratio, ratio)

    def largest_ratio(self) -> float:
        """Return the largest count of a reply over its upper bound so far, at least 1.

        Of all clients: another process on the ledger may have had it a moment ago.
        """
        return max(self._largest_ratio, self.ledger.largest_ratio(*self._server))

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


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
