"""Ctrl-C and SIGTERM while calls are in flight: the first waits for them, the second does not."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lion import console

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(
    work: asyncio.Task[None], begin_nothing_more: Callable[[], object], timeout: float
) -> Iterator[None]:
    """Let the first signal call `begin_nothing_more`, and the second cancel `work`.

    `timeout` is the seconds that a call takes at most, for the message. Used inside the loop of
    `work`; in a thread that is not the main one no signal arrives.
    """
    loop = asyncio.get_running_loop()
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            work.cancel()
            return
        begin_nothing_more()
        console.say(stopping(timeout))

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


def stopping(timeout: float) -> str:
    """Return the sentence that says what an orderly stop waits for, and how long."""
    return (
        f"stopping: calls in flight are waited for, {timeout:,.0f} s at most; "
        "Ctrl-C again abandons them"
    )
