"""What the workers of one `complete` call share, and its orderly stop."""

import asyncio
import math
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lion import console
from lion.llm.concurrency import ConcurrencyLimiter
from lion.llm.ledger_writer import LedgerWriter
from lion.llm.odd_replies import Oddity
from lion.llm.request_set import PreparedRequest
from lion.prompting.protocol import Failure


@dataclass(slots=True)
class RequestBatch:
    """The shared state of the workers; where `stop_reason` is set, no call begins.

    Replies are in the ledger by the time they are counted here. `on_stop` wakes calls that wait for
    their turn. `answered` tells whether the endpoint has answered in this run; `failure_reasons`
    counts the calls without a usable reply; `consecutive_denials` those refused as forbidden or not
    found since the last reply, of which `last_denial` is the last; `consecutive_long_waits` those
    with a Retry-After above `api.max_request_seconds`, of which the last one counted came at
    `last_long_wait` (seconds, monotonic).
    """

    queue: Iterator[PreparedRequest]
    writer: LedgerWriter
    limiter: ConcurrencyLimiter
    on_stop: Callable[["RequestBatch"], None] = lambda _: None
    answered: bool = False
    failure_reasons: Counter[str] = field(default_factory=Counter)
    odd_replies: Counter[Oddity] = field(default_factory=Counter)
    consecutive_denials: int = 0
    last_denial: Failure | None = None
    consecutive_long_waits: int = 0
    last_long_wait: float = -math.inf
    settled: int = 0
    in_flight: int = 0
    stop_reason: Exception | None = None
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_stopping(self) -> bool:
        """Whether no further call begins."""
        return self.stop_reason is not None

    def stop(self, reason: Exception | None) -> bool:
        """Begin no further call, for the first reason given; return whether this was it."""
        if reason is None or self.is_stopping:
            return False
        self.stop_reason = reason
        self._stopped.set()
        self.on_stop(self)
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep until `seconds` have passed or the batch stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handle_signals(
    work: asyncio.Task[None], stop: Callable[[], object], timeout: float
) -> Iterator[None]:
    """Let the first signal call `stop`, and the second cancel `work`.

    `timeout` is the most seconds that a call takes, for the message. Used inside the loop of
    `work`; in a thread that is not the main thread no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            work.cancel()
            return
        stop()
        console.say(stopping_notice(timeout))

    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)  # asyncio restores the default alone


def stopping_notice(timeout: float) -> str:
    """Return the sentence that says what an orderly stop waits for, and how long."""
    return (
        f"stopping: calls in flight are waited for, {timeout:,.0f} s at most; "
        "Ctrl-C again abandons them"
    )
