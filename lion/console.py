"""What a person sees: progress and sentences on stderr, and the error boundary.

Progress bars where there is a terminal, plain lines where there is none. Standard output is left
to tables and JSON.
"""

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from lion.errors import LionError
from lion.escape import inert


class Update(Protocol):
    """Shows how far something is: items done, items in all, and a note such as the loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show it."""
        ...


_ROOM, _RIGHT = "Make room on the disk", "Let this user read and write there"
_WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EROFS: _RIGHT,
}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal
_RATE_OVER = 600.0  # seconds of a bar's rate; a step or a slow call may take minutes
_WAIT_NOTICE, _WAIT_NOTICE_AGAIN = 5.0, 120.0  # seconds of a wait before a sentence

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def rate_text(rate: float) -> str:
    """Return a rate, in items a second, as `12/s`; below one a second as `12 a minute`."""
    if rate >= 1:
        return f"{rate:,.0f}/s"
    return f"{60 * rate:,.0f} a minute" if rate >= 1 / 60 else f"{3600 * rate:,.0f} an hour"


_YEAR = 365 * 86400.0  # seconds


def duration_text(seconds: float) -> str:
    """Return a time as `41 s`, `41 min` or `1 h 05 min`, and `more than a year` as no number."""
    if seconds > _YEAR:
        return "more than a year"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(rate_text(speed) if speed else "-/s", style="progress.data.speed")


class _TimeLeft(ProgressColumn):
    """The time left; the time so far until a rate is known."""

    max_refresh = 0.5  # seconds, so that the estimate can be read

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        text = duration_text(task.elapsed or 0) if left is None else f"{duration_text(left)} left"
        return Text(text, style="progress.remaining")


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """Show how far `label` is; call what is yielded with (items done, items in all)."""
    shown = _bar(label) if stderr.is_terminal else _lines(label)
    with shown as update:
        yield update


@contextmanager
def _bar(label: str) -> Iterator[Update]:
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _Rate(table_column=Column(no_wrap=True)),
        _TimeLeft(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(
        *columns, console=stderr, transient=True, speed_estimate_period=_RATE_OVER
    ) as bar:
        task = bar.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


@contextmanager
def _lines(label: str) -> Iterator[Update]:
    started = last_line = time.monotonic()
    first: int | None = None  # items that were done before, of which the rate says nothing

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal first, last_line
        first = done if first is None else first
        now = time.monotonic()
        if now - last_line < _PLAIN_EVERY or done <= first:
            return
        last_line = now
        rate = (done - first) / (now - started)
        left = duration_text((total - done) / rate)
        parts = [f"{done:,} of {total:,}", rate_text(rate), f"{left} left", *filter(None, [note])]
        say(f"{label}: {', '.join(parts)}")

    yield update


@contextmanager
def waiting(sentence: str | Callable[[], str]) -> Iterator[None]:
    """Say `sentence` where the block takes more than some seconds, and again every two minutes."""
    ended = threading.Event()

    def watch() -> None:
        interval = _WAIT_NOTICE
        while not ended.wait(interval):
            say(sentence() if callable(sentence) else sentence)
            interval = _WAIT_NOTICE_AGAIN

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def say(sentence: str) -> None:
    """Write a sentence to stderr, without markup and control characters.

    A model may have written it. A terminal gets it wrapped between words, a file or a pipe as one
    line. A closed stderr is ignored, so that it never ends a run.
    """
    with suppress(OSError):
        stderr.print(inert(sentence), markup=False, soft_wrap=not stderr.is_terminal)


def _explain(message: str, advice: str) -> None:
    text = Text("error: ", style="bold red") + Text(inert(message))
    stderr.print(text, soft_wrap=not stderr.is_terminal)
    if advice:
        say(advice)


@contextmanager
def error_boundary(advice: str = "", exit_code: int | None = None) -> Iterator[None]:
    """Print the message of a LionError and exit with its code; other errors keep their traceback.

    A full disk and missing file permissions are reported in the same way, also if a library raises
    them as its own error. `advice` is a last sentence for the user. `exit_code` replaces the
    error's own, for a command whose codes mean something else.
    """
    try:
        yield
    except LionError as error:
        _explain(str(error), advice)
        sys.exit(error.exit_code if exit_code is None else exit_code)
    except Exception as error:
        refused = _refused(error)
        if refused is None:
            raise
        what, way_out = refused
        _explain(f"{what}. {way_out} and run again; every reply that was paid for is kept.", advice)
        sys.exit(LionError.exit_code if exit_code is None else exit_code)
    except KeyboardInterrupt:
        say("interrupted. Replies that arrived are in the ledger; run again to continue.")
        sys.exit(130)


def _refused(error: Exception) -> tuple[str, str] | None:
    """Return what the disk refused and what fixes it; safetensors tells it in words alone."""
    number = error.errno if isinstance(error, OSError) else None
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    match = _OS_ERROR.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    if match:
        number = int(match[1])
    if number not in _WAYS_OUT:
        return None
    return f"{where}{os.strerror(number)}", _WAYS_OUT[number]


@contextmanager
def paged() -> Iterator[None]:
    """Page what is longer than a terminal, as git does; a pipe gets it as it is."""
    if not stdout.is_terminal:
        yield
        return
    os.environ.setdefault("LESS", "FRX")
    with stdout.pager(styles=True):
        yield
