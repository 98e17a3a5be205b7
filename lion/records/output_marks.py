"""What a stage has written where outputs lie: it notices where somebody else changes that.

`dvc checkout` is not blocked while a stage runs, and puts older outputs in the place of those that
the stage wrote a moment ago; DVC would keep them as this run's. DVC 3.67 holds its lock (`flock`
by zc.lockfile, on `.dvc/tmp/lock`) while it checks out, pushes or pulls, and not while a stage of
`dvc repro` runs. So a stage takes that lock at its end, looks at what it has written, and ends
with the lock in hand.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_OUTPUTS = ("data", "metrics", "report")
DVC_LOCK = Path(".dvc/tmp/lock")
_LONGEST_WAIT = 600.0  # seconds; DVC itself names a process that holds the lock for longer
_Mark = tuple[tuple[str, int, int, int], ...]
_marks: dict[Path, _Mark] = {}
_held: dict[Path, int] = {}


def forget_outputs() -> None:
    """Forget all outputs: a stage starts."""
    _marks.clear()


def remember_output(path: Path, temporary: Path) -> None:
    """Remember `temporary`, a file or folder that takes the name `path` next, if that is an output.

    Before it has that name: from then on it can be changed. What was written inside it is of it.
    """
    for inside in [each for each in _marks if temporary in each.parents]:
        del _marks[inside]
    if path.parts[0] in _OUTPUTS:
        _marks[path] = _mark(temporary)


def changed_outputs() -> list[Path]:
    """Return the outputs that are not as they were remembered."""
    return [path for path, mark in _marks.items() if _mark(path) != mark]


def keep_dvc_out(tell: Callable[[], None]) -> None:
    """Hold DVC's lock until this process ends, so that no other `dvc` begins before ours goes on.

    One that is at work is waited for, ten minutes at most; `tell` is called where it has to be.
    """
    lock = DVC_LOCK.resolve()
    if lock in _held or not lock.exists():
        return
    import tenacity  # brings asyncio, which half of the stages do not need

    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BlockingIOError),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(_LONGEST_WAIT),
        before_sleep=lambda state: tell() if state.attempt_number == 1 else None,
    )
    with suppress(tenacity.RetryError):
        _held[lock] = waiting(_locked, lock)


def _locked(path: Path) -> int:
    """Lock a file and return its descriptor, which the kernel closes when this process is gone.

    A file object would be closed while the interpreter ends, which takes torch half a second.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def _mark(path: Path) -> _Mark:
    """Return name, inode, size and time of each file in a folder; of a file without its name."""
    files = (
        [(file.name, file) for file in sorted(path.iterdir())] if path.is_dir() else [("", path)]
    )
    stats = [(name, file.stat()) for name, file in files if file.exists()]
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
