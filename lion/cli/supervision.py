"""Running dvc as a child that ends with this process: signals reach it and its stages."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

_GRACE = 10.0  # seconds between the end of dvc and the end of what it left behind
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bool]:
    """Run a command to its end; return its exit code, and whether a signal asked to stop.

    SIGINT, SIGTERM and SIGHUP reach the command and all that it started as SIGINT, as Ctrl-C would:
    dvc dies of a SIGTERM and leaves its stage behind. Without a terminal the command has a process
    group of its own. With one it shares ours, so that it may read from the terminal and be
    suspended, and SIGINT is left to the terminal, which sends it to all.
    """
    own_group = sys.stdin is None or not sys.stdin.isatty()
    signals: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        signals.append(number)
        if child is not None and (own_group or number != signal.SIGINT):
            _interrupt(child.pid, own_group)

    with _handled(forward):
        child = subprocess.Popen(command, env=environment, process_group=0 if own_group else None)  # noqa: S603 - dvc, with the user's own arguments
        if signals:  # one that came before there was a child
            _interrupt(child.pid, own_group)
        code = child.wait()
        if signals and own_group:
            _end_group(child.pid)
    return code, bool(signals)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that ask to stop; those that are ignored, as by nohup, stay ignored."""
    before = {number: signal.getsignal(number) for number in _STOPPING}
    handled = [number for number, usual in before.items() if usual is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _interrupt(child: int, own_group: bool) -> None:
    """Send SIGINT to the child and its descendants."""
    if own_group:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGINT)
        return
    import psutil  # comes with dvc

    with suppress(psutil.Error):
        process = psutil.Process(child)
        for descendant in [*process.children(recursive=True), process]:
            with suppress(psutil.Error):
                descendant.send_signal(signal.SIGINT)


def _end_group(group: int) -> None:
    """Wait for what a child left of its group, and kill it after `_GRACE` seconds."""
    deadline = time.monotonic() + _GRACE
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):  # orphans are ours where we are process 1
                os.waitpid(-group, os.WNOHANG)
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
