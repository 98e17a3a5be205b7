"""The number of calls in flight: lowered after time-outs, raised again as calls succeed.

A slow server answers a few calls in the time in which it would answer none of many.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_CUT = 2  # after a time-out among successes, half of the calls go on
_DEEP_CUT = 8  # where no call succeeded since the last cut


@dataclass(slots=True)
class ConcurrencyLimiter:
    """Slots for calls in flight: `limit` of them now, at most `maximum`.

    `consecutive_timeouts_alone` counts time-outs of a call that had the server to itself.
    """

    maximum: int
    limit: int = field(init=False)
    consecutive_timeouts_alone: int = 0
    _clock: Callable[[], float] = time.monotonic
    _used: int = 0
    _cut_at: float = float("-inf")
    _succeeded: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """Open all slots."""
        self.limit = self.maximum

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        while self._used >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._used += 1

    def release(self) -> None:
        """Free a slot, and wake the calls for which there is a slot now."""
        self._used -= 1
        self._wake(self.limit - self._used)

    def release_all(self) -> None:
        """Let every waiting call go on: its batch stops, and it is not sent."""
        self.limit = max(self.maximum, self._used + len(self._waiting))
        self._wake(len(self._waiting))

    def record_success(self) -> None:
        """Count an answered call; one more slot opens after as many as there are slots."""
        self.consecutive_timeouts_alone = 0
        self._succeeded += 1
        if self._succeeded >= self.limit and self.limit < self.maximum:
            self._succeeded = 0
            self.limit += 1
            self._wake(1)

    def record_timeout(self, started: float) -> None:
        """Lower the limit after a time-out, once for all calls that started before the last cut."""
        if started < self._cut_at:
            return
        if self.limit == 1:
            self.consecutive_timeouts_alone += 1
        self.limit = max(1, self.limit // (_CUT if self._succeeded else _DEEP_CUT))
        self._succeeded = 0
        self._cut_at = self._clock()

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
