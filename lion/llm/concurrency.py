"""How many calls are in flight at once: fewer after time-outs, more again as calls succeed.

A slow server answers a few calls in the time in which it would answer none of many.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_FEWER = 2  # after a time-out among successes: half of the calls
_FAR_FEWER = 8  # where no call succeeded since the last time


@dataclass(slots=True)
class ConcurrencyLimiter:
    """Slots for calls in flight, at most `most`; `limit` are open now."""

    most: int
    limit: int = field(init=False)
    timeouts_alone: int = 0
    _clock: Callable[[], float] = time.monotonic
    _used: int = 0
    _cut_at: float = float("-inf")
    _succeeded: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Open all slots."""
        self.limit = self.most

    async def take(self) -> None:
        """Wait for a slot and take it."""
        while self._used >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._used += 1

    def give_back(self) -> None:
        """Free a slot, and wake those for whom there is one."""
        self._used -= 1
        self._wake(self.limit - self._used)

    def open_all(self) -> None:
        """Let every call that waits go on: its asking has ended, nothing is sent."""
        self.limit = max(self.most, self._used + len(self._waiting))
        self._wake(len(self._waiting))

    def succeeded(self) -> None:
        """Take note of a call that was answered: as many as there are slots open one more."""
        self.timeouts_alone = 0
        self._succeeded += 1
        if self._succeeded >= self.limit and self.limit < self.most:
            self._succeeded = 0
            self.limit += 1
            self._wake(1)

    def timed_out(self, began: float) -> None:
        """Take note of a time-out; calls that began before the last cut say nothing new."""
        if began < self._cut_at:
            return
        if self.limit == 1:
            self.timeouts_alone += 1
        self.limit = max(1, self.limit // (_FEWER if self._succeeded else _FAR_FEWER))
        self._succeeded = 0
        self._cut_at = self._clock()

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
