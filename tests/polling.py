"""Waiting for a state: the state itself is looked at, again and again, until a deadline.

No fixed pause stands for a state, and a wait that fails says what it waited for. Nothing here
imports lion.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

TIMEOUT = 120.0  # seconds; far above what an idle machine needs, for a busy one needs many times it


def wait_until(
    state: Callable[[], T | None], what: str, *, timeout: float = TIMEOUT, interval: float = 0.01
) -> T:
    """Return the first true value of `state`. Raises TimeoutError, which says `what` never came.

    `state` may raise where it can come no more, as when the process that makes it has ended.
    """
    deadline = time.monotonic() + timeout
    while not (value := state()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {timeout:g} s: {what}")
        time.sleep(interval)
    return value


def is_alive(process: psutil.Process | None) -> bool:
    """Tell whether a process runs or is suspended. A zombie does neither."""
    try:
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(process: psutil.Process, *, timeout: float = TIMEOUT) -> None:
    """Wait until a process has ended, whether or not its parent has taken notice."""
    wait_until(lambda: not is_alive(process), f"the end of process {process.pid}", timeout=timeout)


def suspend_holding(process: psutil.Process, lock: Path, *, timeout: float = TIMEOUT) -> bool:
    """Suspend a process at a moment at which it holds the `flock` of a file.

    Returns False where the process ends before it was seen holding it. The process is suspended
    before each look: only then does trying the lock not take it from the process.
    """

    def settled() -> bool:
        if not _suspend(process) or _is_locked(lock):
            return True
        process.resume()
        return False

    wait_until(settled, f"process {process.pid} holds {lock}", timeout=timeout, interval=0.002)
    return is_alive(process)


def _suspend(process: psutil.Process) -> bool:
    """Suspend a process and wait until it stands still; return False where it has ended."""
    try:
        process.suspend()
        wait_until(
            lambda: not is_alive(process) or process.status() == psutil.STATUS_STOPPED,
            f"process {process.pid} is suspended",
            interval=0.001,
        )
    except psutil.NoSuchProcess:
        return False
    return is_alive(process)


def _is_locked(path: Path) -> bool:
    """Tell whether some process holds the lock of a file; a file that is not there has none."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
