"""What a stage has written where outputs lie: it notices where somebody else changes that.

`dvc checkout` is not blocked while a stage runs, and puts older outputs in the place of those that
the stage wrote a moment ago; DVC would keep them as this run's. So a stage ends with a look at what
it has written, once no other `dvc` is at work. DVC 3.67 holds its lock (zc.lockfile, on
`.dvc/tmp/lock`) while it checks out, pushes or pulls, and not while a stage of `dvc repro` runs.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zc.lockfile

_OUTPUTS = ("data", "metrics", "report")
_DVC_LOCK = Path(".dvc/tmp/lock")
_LONGEST_WAIT = 600.0  # seconds; whoever holds the lock for longer is told of by DVC itself
_Mark = tuple[tuple[str, int, int, int], ...]
_marks: dict[Path, _Mark] = {}


def forget() -> None:
    """Begin anew: a stage starts."""
    _marks.clear()


def note(path: Path, made: Path) -> None:
    """Remember the file or folder `made`, which takes the name `path` next, where outputs lie.

    Before it has that name: from then on it can be changed.
    """
    if path.parts[0] in _OUTPUTS:
        _marks[path] = _mark(made)


def changed() -> list[Path]:
    """Return what is not as it was noted."""
    return [path for path, mark in _marks.items() if _mark(path) != mark]


def wait_for_dvc(tell: Callable[[], None]) -> None:
    """Wait until no other `dvc` works on this project, ten minutes at most.

    `tell` is called where it has to. What comes between this and DVC's own lock, milliseconds
    later, is seen by nobody.
    """
    if not _DVC_LOCK.exists():
        return
    import tenacity  # brings asyncio, which half of the stages do not need

    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(zc.lockfile.LockError),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(_LONGEST_WAIT),
        before_sleep=lambda state: tell() if state.attempt_number == 1 else None,
    )
    with suppress(tenacity.RetryError):
        waiting(zc.lockfile.LockFile, str(_DVC_LOCK)).close()


def _mark(path: Path) -> _Mark:
    """Return name, inode, size and time of each file in a folder; of a file without its name."""
    files = (
        [(file.name, file) for file in sorted(path.iterdir())] if path.is_dir() else [("", path)]
    )
    found = [(name, file.stat()) for name, file in files if file.exists()]
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found)
