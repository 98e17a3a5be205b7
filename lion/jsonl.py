"""Rows in and out of files: atomic, in the order given, errors that say file and line.

Knows nothing of what a row means (see `records`).
"""

import glob
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import jsonlines
import orjson

from lion import written
from lion.errors import DataError
from lion.records import FORMAT, Row


class Writable(Protocol):
    """A record that knows its row."""

    def to_row(self) -> Row:
        """Return the row as it is written."""
        ...


Record = TypeVar("Record")

_RANDOM_PART = "[0-9a-z_]" * 8  # of a name that `tempfile` makes


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files or folders that killed writers of `path` left beside it."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.{_RANDOM_PART}"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` once it is complete and synced.

    A reader sees the old file or the new one, never a part of it. What a killed writer of `path`
    left is removed: nobody but one process at a time may write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in leftovers(path):
        left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        written.note(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, records: Iterable[Writable]) -> None:
    """Write the records' rows to `path`, one line each."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for record in records:
            file.write(orjson.dumps(record.to_row(), option=orjson.OPT_APPEND_NEWLINE))


def read(path: Path, from_row: Callable[[Row], Record]) -> list[Record]:
    """Read a file that `write` wrote. Raises DataError with the file and the line."""
    if not path.exists():
        raise DataError(f"{path}: no such file. `dvc checkout` or `dvc pull` may have it.")
    records = []
    with path.open("rb") as file, jsonlines.Reader(file, loads=orjson.loads) as reader:
        try:
            for number, row in enumerate(reader.iter(type=dict), start=1):
                try:
                    _check_format(row)
                    records.append(from_row(row))
                except DataError as error:
                    raise DataError(f"{path}, line {number}: {error}") from error
        except jsonlines.InvalidLineError as error:
            raise DataError(f"{path}, line {error.lineno}: not a JSON object") from error
    return records


def read_plain(path: Path, from_row: Callable[[Row], Record]) -> list[tuple[int, Record]]:
    """Read a user's own JSON lines, each with its line's number. Raises DataError."""
    records = []
    try:
        with path.open("rb") as file, jsonlines.Reader(file, loads=orjson.loads) as reader:
            for number, row in enumerate(reader.iter(type=dict), start=1):
                try:
                    records.append((number, from_row(row)))
                except DataError as error:
                    raise DataError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except jsonlines.InvalidLineError as error:
        raise DataError(f"{path}, line {error.lineno}: not a JSON object") from error
    return records


def write_document(path: Path, document: Row) -> None:
    """Write one JSON object, indented for diffs, with its `format`."""
    with replacing(path) as temporary:
        temporary.write_bytes(
            orjson.dumps({"format": FORMAT, **document}, option=orjson.OPT_INDENT_2) + b"\n"
        )


def read_document(path: Path) -> Row:
    """Read what `write_document` wrote. Raises DataError."""
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file. `dvc checkout` or `dvc pull` may have it."
        ) from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: a JSON object is expected")
    try:
        _check_format(document)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return document


def _check_format(row: Row) -> None:
    if row.get("format") != FORMAT:
        raise DataError(
            f"format {row.get('format')!r} is not {FORMAT}, the one that this version reads"
        )
