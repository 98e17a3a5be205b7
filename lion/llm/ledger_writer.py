"""Group commit: what arrives while one transaction is being synced goes into the next."""

import asyncio
from typing import Self

from lion.errors import AskError
from lion.llm.ledger import Amount, Cap, Entry, FailedCall, Ledger

Item = Entry | FailedCall | Amount


class Writer:
    """Writes to the ledger in a thread of its own, one transaction at a time.

    So that a reply waits for the disk once with all its neighbours, and never alone.
    """

    def __init__(self, ledger: Ledger, cap: Cap) -> None:
        self._ledger = ledger
        self._cap = cap
        self._pending: list[tuple[Item, asyncio.Future[int | None]]] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start writing."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def put(self, entry: Entry | FailedCall) -> None:
        """Return once `entry` is durable. Raises AskError."""
        await self._put(entry)

    async def reserve(self, most: Amount) -> int | None:
        """Set `most` aside; return its number, or None where the budget is reached."""
        return await self._put(most)

    async def _put(self, item: Item) -> int | None:
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._pending.append((item, done))
        self._arrived.set()
        return await done

    async def _run(self) -> None:
        while self._pending or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._pending = self._pending, []
            await self._write(batch)

    async def _write(self, batch: list[tuple[Item, asyncio.Future[int | None]]]) -> None:
        error: AskError | None = None
        numbers: list[int | None] = []
        try:
            numbers = await asyncio.to_thread(self._write_all, [item for item, _ in batch])
        except AskError as problem:
            error = problem
        unclaimed = []
        for place, (item, done) in enumerate(batch):
            if done.cancelled():  # the asking was abandoned; its reply is kept all the same
                unclaimed += [numbers[place]] if isinstance(item, Amount) and numbers else []
            elif error is not None:
                done.set_exception(error)
            else:
                done.set_result(numbers[place])
        given_back = [number for number in unclaimed if number is not None]
        if given_back:
            await asyncio.to_thread(self._ledger.release, given_back)

    def _write_all(self, items: list[Item]) -> list[int | None]:
        """Write replies and failures first, since they settle what was set aside before."""
        entries = [item for item in items if not isinstance(item, Amount)]
        wanted = [item for item in items if isinstance(item, Amount)]
        if entries:
            self._ledger.write(entries)
        numbers = iter(self._ledger.reserve(wanted, self._cap) if wanted else [])
        return [next(numbers) if isinstance(item, Amount) else None for item in items]
