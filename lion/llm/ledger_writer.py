"""Group commit: what arrives while one transaction is being synced goes into the next."""

import asyncio
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lion.errors import AskError
from lion.llm.calls import Entry, FailedCall
from lion.llm.caps import Amount, Cap, Demand, Shortage
from lion.llm.ledger import Ledger
from lion.llm.live_reservations import InFlight, LiveReservations, LockError
from lion.llm.turns import QueuePlace


@dataclass(frozen=True, slots=True)
class Release:
    """A reservation of a call that was never sent."""

    reservation: int


Item = Entry | FailedCall | Demand | Release
Result = Any
"""What `_put` returns for an item: (number, amount) of a reservation or a shortage, else None."""
Grant = tuple[int, Amount] | Shortage
Pending = tuple[Item, "asyncio.Future[Result]"]


class LedgerWriter:
    """Writes to the ledger in a thread of its own, one transaction for all that has arrived.

    An error that ends the writer is raised by everything that waits for it, as AskError.
    """

    def __init__(self, ledger: Ledger, cap: Cap) -> None:
        self._ledger = ledger
        self._cap = cap
        self._pending: list[Pending] = []
        self._writing: list[Pending] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._failure: AskError | None = None
        self._task: asyncio.Task[None] | None = None
        self._live = LiveReservations(ledger.path)
        self._turn = QueuePlace()

    async def __aenter__(self) -> Self:
        """Start writing."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left. Raises AskError where the writer ended before."""
        self._closing = True
        self._arrived.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            self._live.close()
        if self._failure is not None:
            raise self._failure

    async def put(self, entry: Entry | FailedCall) -> None:
        """Return once `entry` is durable. Raises AskError."""
        await self._put(entry)

    async def reserve(self, demand: Demand) -> Grant:
        """Set aside what a call asks for; return its number and the amount it may use.

        A shortage where too little of the budget is left. Raises AskError.
        """
        grant: Grant = await self._put(demand)
        return grant

    @property
    def others(self) -> tuple[Path, ...]:
        """Lock files of the other clients with calls in flight, at the last demand."""
        return self._live.others

    async def release(self, reservation: int) -> None:
        """Give back what was set aside for a call that was never sent. Raises AskError."""
        await self._put(Release(reservation))

    async def _put(self, item: Item) -> Result:
        if self._failure is not None:
            raise self._failure
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._pending.append((item, done))
        self._arrived.set()
        return await done

    async def _run(self) -> None:
        try:
            while self._pending or not self._closing:
                await self._arrived.wait()
                self._arrived.clear()
                self._writing, self._pending = self._pending, []
                await self._write(self._writing)
        except Exception as error:  # raised by all who wait, and by `__aexit__`
            self._failure = _refused(error)
            for _, done in (*self._writing, *self._pending):
                if not done.done():
                    done.set_exception(self._failure)

    async def _write(self, batch: list[Pending]) -> None:
        results = await asyncio.to_thread(self._results, [item for item, _ in batch])
        unclaimed: list[int] = []
        for (_, done), result in zip(batch, results, strict=True):
            if done.cancelled():  # the call was abandoned; its reply is kept all the same
                unclaimed += _numbers(result)
            elif isinstance(result, AskError):
                done.set_exception(result)
            else:
                done.set_result(result)
        if unclaimed:
            await asyncio.to_thread(self._release, unclaimed)

    def _results(self, items: list[Item]) -> list[Result]:
        """Write `items`; return each one's result.

        An item that the database does not take is refused alone: its neighbours are kept.
        """
        try:
            return [*self._write_all(items)]
        except Exception as error:  # translated, and raised where the item is waited for
            # the disk or the file: no item is at fault. A lock concerns demands alone
            of_all = isinstance(error, AskError) and not isinstance(error, LockError)
            if of_all or len(items) == 1:
                return [_refused(error)] * len(items)
            return [result for item in items for result in self._results([item])]

    def _write_all(self, items: list[Item]) -> Iterable[Result]:
        """Write replies and failures first: they settle reservations."""
        entries = [item for item in items if isinstance(item, Entry | FailedCall)]
        released = [item.reservation for item in items if isinstance(item, Release)]
        demands = [item for item in items if isinstance(item, Demand)]
        numbers = [entry.call.reservation for entry in entries]
        settled = [*released, *(number for number in numbers if number is not None)]
        with self._ledger.transaction() as connection:
            if entries:
                self._ledger.write(entries)
            if released:
                self._ledger.release(released)
            held = self._live.without(settled)
            grants = self._grant(demands, held, connection)
            granted = _in_flight(demands, grants)
            self._live.publish(connection, held + sum(granted.values(), InFlight()))
        self._live.record(settled, granted)
        results = iter(grants)
        return [next(results) if isinstance(item, Demand) else None for item in items]

    def _grant(
        self, demands: list[Demand], held: InFlight, connection: sqlite3.Connection
    ) -> list[Grant]:
        if not demands:
            return []
        elsewhere = self._live.elsewhere(connection)
        margins = held.margins + elsewhere.margins
        turn = self._turn.has_come(connection)
        grants = self._ledger.grant(demands, self._cap, margins, elsewhere.total, turn=turn)
        idle = not held.bounds.calls and not any(isinstance(grant, tuple) for grant in grants)
        self._turn.keep_or_leave(connection, waits=idle and Shortage(elsewhere=True) in grants)
        return grants

    def _release(self, numbers: list[int]) -> None:
        self._write_all([Release(number) for number in numbers])


def _in_flight(demands: list[Demand], grants: list[Grant]) -> dict[int, InFlight]:
    """Return the calls that `grants` let begin, by reservation."""
    calls = {}
    for demand, grant in zip(demands, grants, strict=True):
        if isinstance(grant, tuple):
            number, amount = grant
            calls[number] = InFlight(demand.bound, amount - demand.bound)
    return calls


def _numbers(result: Result) -> list[int]:
    """Return the number of a reservation in a result, as a list of one, else of none."""
    return [result[0]] if isinstance(result, tuple) else []


def _refused(error: Exception) -> AskError:
    """Return an error of the writer as an AskError with a sentence; its cause is kept."""
    if isinstance(error, AskError):
        return error
    refused = AskError(
        f"the ledger cannot keep a reply: {type(error).__name__}: {error}. Everything else that "
        "was answered is kept; this is a fault of Lion, please report it."
    )
    refused.__cause__ = error
    return refused
