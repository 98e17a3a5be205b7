"""Group commit: what arrives while one transaction is being synced goes into the next."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from lion.errors import AskError
from lion.llm.ledger import Amount, Cap, Entry, FailedCall, Ledger


@dataclass(frozen=True, slots=True)
class Release:
    """A reservation of a call that was never sent."""

    reservation: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """A reservation of `most`, or of what is left of the cap where that is at least `least`."""

    least: Amount
    most: Amount


Item = Entry | FailedCall | Amount | Remaining | Release
Result = Any
"""What `_put` returns for an item: the number of a reservation, (number, amount), None."""
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

    async def __aenter__(self) -> Self:
        """Start writing."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left. Raises AskError where the writer ended before."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        if self._failure is not None:
            raise self._failure

    def is_refused_alone(self, key: bytes) -> bool:
        """Tell whether the endpoint answered others after it denied the request of this `key`."""
        return self._ledger.is_refused_alone(key)

    async def put(self, entry: Entry | FailedCall) -> None:
        """Return once `entry` is durable. Raises AskError."""
        await self._put(entry)

    async def reserve(self, most: Amount) -> int | None:
        """Set `most` aside; return its number, or None where the budget is reached."""
        number: int | None = await self._put(most)
        return number

    async def reserve_remaining(self, least: Amount, most: Amount) -> tuple[int, Amount] | None:
        """Set aside `most`, or what is left; None where less than `least` is left."""
        reserved: tuple[int, Amount] | None = await self._put(Remaining(least, most))
        return reserved

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
            await asyncio.to_thread(self._ledger.release, unclaimed)

    def _results(self, items: list[Item]) -> list[Result]:
        """Write `items`; return each one's result.

        An item that the database does not take is refused alone: its neighbours are kept.
        """
        try:
            return [*self._write_all(items)]
        except AskError as error:  # the disk or the file: no item is at fault
            return [error] * len(items)
        except Exception as error:  # translated, and raised where the item is waited for
            if len(items) == 1:
                return [_refused(error)]
            return [result for item in items for result in self._results([item])]

    def _write_all(self, items: list[Item]) -> Iterable[Result]:
        """Write replies and failures first: they settle reservations."""
        entries = [item for item in items if isinstance(item, Entry | FailedCall)]
        wanted = [item for item in items if isinstance(item, Amount)]
        released = [item.reservation for item in items if isinstance(item, Release)]
        if entries:
            self._ledger.write(entries)
        if released:
            self._ledger.release(released)
        numbers = iter(self._ledger.reserve(wanted, self._cap) if wanted else [])
        return [self._reserved(item, numbers) for item in items]

    def _reserved(self, item: Item, numbers: Iterator[int | None]) -> Result:
        if isinstance(item, Remaining):
            return self._ledger.reserve_remaining(item.least, item.most, self._cap)
        return next(numbers) if isinstance(item, Amount) else None


def _numbers(result: Result) -> list[int]:
    """Return the number of a reservation in a result, as a list of one, else of none."""
    number = result[0] if isinstance(result, tuple) else result
    return [number] if isinstance(number, int) else []


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
