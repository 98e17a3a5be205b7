"""Ctrl-C and SIGTERM while calls are in flight: the first waits for them, the second does not."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lion import console

_GRACE = 10.0  # seconds
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(
    work: asyncio.Task[None], begin_nothing_more: Callable[[], bool]
) -> Iterator[None]:
    """Let the first signal call `begin_nothing_more`, and the second, or time, cancel `work`.

    `begin_nothing_more` returns False where the work was ending already. Used inside the loop of
    `work`; in a thread that is not the main one no signal arrives.
    """
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if not begin_nothing_more():
            work.cancel()
            return
        console.say(
            f"stopping: calls in flight are waited for, {_GRACE:.0f} s at most; "
            "Ctrl-C again abandons them"
        )
        loop.call_later(_GRACE, work.cancel)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
