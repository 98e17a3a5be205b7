"""What a stage has written where outputs lie: it notices where somebody else changes that.

`dvc checkout` is not blocked while a stage runs, and puts older outputs in the place of those that
the stage wrote a moment ago; DVC would keep them as this run's. A checkout that goes on when the
stage has ended is not noticed.
"""

from pathlib import Path

_OUTPUTS = ("data", "metrics", "report")
_Mark = tuple[tuple[str, int, int, int], ...]
_marks: dict[Path, _Mark] = {}


def forget() -> None:
    """Begin anew: a stage starts."""
    _marks.clear()


def note(path: Path) -> None:
    """Remember a file or a folder as it is now, where it is an output."""
    if path.parts[0] in _OUTPUTS:
        _marks[path] = _mark(path)


def changed() -> list[Path]:
    """Return what is not as it was noted."""
    return [path for path, mark in _marks.items() if _mark(path) != mark]


def _mark(path: Path) -> _Mark:
    """Return name, inode, size and time of a file, or of each in a folder; of none nothing."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(file.name, file.stat()) for file in files if file.exists()]
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found)
