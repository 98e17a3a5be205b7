"""Waiting for a lock in sight: who holds it, and what would help."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from lion import console

_LOCKS = Path("/proc/locks")
_SHOWN = 80  # characters of a command line


def waiting_for(what: str, advice: str, *paths: Path) -> AbstractContextManager[None]:
    """Say after some seconds that a block waits for `what`, and which process holds it.

    `paths` are the files that the lock may lie on, `advice` is a sentence on what would help.
    """
    return console.waiting(lambda: f"waiting for {what}{held_by(*paths)}. {advice}")


def held_by(*paths: Path) -> str:
    """Return `, held by process 12 (python -m ...)` for a lock on `paths`, "" where unknown.

    Known on Linux, from /proc/locks, of the processes that this user may look at.
    """
    for pid in holders(*paths):
        with suppress(OSError):  # it has just ended
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            words = command.decode(errors="replace").split()  # `python -c` has line breaks
            return f", held by process {pid} ({' '.join(words)[:_SHOWN]})"
    return ""


def holders(*paths: Path) -> Iterator[int]:
    """Yield the other processes with a lock (flock or POSIX) on one of `paths`."""
    inodes = {path.stat().st_ino for path in paths if path.exists()}
    with suppress(OSError):
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            kind, *fields = line.split()[1:]
            if kind == "->":  # waits itself
                continue
            pid, inode = int(fields[2]), int(fields[3].rpartition(":")[2])
            if inode in inodes and pid != os.getpid() and _has_open(pid, paths):
                yield pid


def _has_open(pid: int, paths: tuple[Path, ...]) -> bool:
    """Return whether a process has one of `paths` open: inodes repeat on other devices."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if any(path.exists() and descriptor.samefile(path) for path in paths):
                    return True
    return False
