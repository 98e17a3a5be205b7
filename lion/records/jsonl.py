"""Rows in and out of files: atomic, in the order given, errors that say file and line.

What a row means, and what of it is checked beyond its types, is `records`'.
"""

import glob
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import jsonlines
import msgspec
import orjson

from lion.errors import DataError
from lion.records import output_marks
from lion.records.rows import FORMAT, NoRows, Record, Row

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_TOGETHER = 1000  # rows that are encoded at a time: by one call, and in little memory
_LONGEST_NO_ROWS = 200  # bytes
_RANDOM_PART = "[0-9a-z_]" * 8  # of a name that `tempfile` makes


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files or folders that killed writers of `path` left beside it."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.{_RANDOM_PART}"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` once it is complete and synced.

    A reader sees the old file or the new one, never a part of it. What a killed writer of `path`
    left is removed: one process at a time may write it.
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
        output_marks.remember_output(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, records: Iterable[Record]) -> None:
    """Write the records as rows to `path`, one line each."""
    encoder, left = msgspec.json.Encoder(), iter(records)
    with replacing(path) as temporary, temporary.open("wb") as file:
        while some := list(islice(left, _TOGETHER)):
            file.write(encoder.encode_lines(some))


def read(path: Path, kind: type[R]) -> list[R]:
    """Read a file that `write` wrote. Raises DataError with the file, the line and the field.

    A file that `NoRows` stands in has none.
    """
    if kind is not NoRows and has_no_rows(path):
        return []
    decode = msgspec.json.Decoder(kind).decode
    return _read(path, lambda line: decode(line).checked(), kind)


def has_no_rows(path: Path) -> bool:
    """Tell whether the file has one line, `NoRows`, which no row of another kind is."""
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), path.open("rb") as file:
        first = file.readline(_LONGEST_NO_ROWS)
        return bool(first) and not file.read(1) and bool(msgspec.json.decode(first, type=NoRows))
    return False


def read_objects(path: Path) -> list[Row]:
    """Read the rows of whatever kind as objects. Raises DataError with the file and the line."""
    decode = msgspec.json.Decoder(Row).decode
    return _read(path, lambda line: _of_format(decode(line)), None)


def as_row(record: Record) -> Row:
    """Return a record as the object that a file has of it."""
    row: Row = orjson.loads(msgspec.json.encode(record))
    return row


def parsed(row: Row, kind: type[R]) -> R:
    """Return an object of a file as a record. Raises DataError with the field."""
    try:
        return msgspec.convert(row, kind).checked()
    except msgspec.ValidationError as error:
        raise DataError(_told(error, row, kind)) from error


def _read(path: Path, record: Callable[[bytes], T], kind: type[Record] | None) -> list[T]:
    if not path.exists():
        raise DataError(f"{path}: no such file. `dvc checkout` or `dvc pull` may have it.")
    records: list[T] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                records.append(record(line))
            except (msgspec.DecodeError, UnicodeDecodeError, DataError) as error:
                problem = _why(error, line, kind)
                raise DataError(f"{path}, line {number}: {problem}") from error
    return records


def _why(error: Exception, line: bytes, kind: type[Record] | None) -> str:
    """Return what is wrong with a line that cannot be read, its format before anything else."""
    if isinstance(error, DataError):
        return str(error)
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        return "not a JSON object"
    return str(error) if kind is None else _told(error, row, kind)


def _told(error: Exception, row: Row, kind: type[Record]) -> str:
    """Return which field is wrong, and what is expected of it."""
    try:
        _of_format(row)
        kind.explain(row)
    except DataError as better:
        return str(better)
    text, _, place = str(error).partition(" - at `$")
    field = place.strip(".`")
    options = get_args(get_type_hints(kind).get(field)) if "enum" in text else ()
    if options:
        text = f"one of {', '.join(options)} is expected, found {row.get(field)!r:.60}"
    return f"{field}: {text}" if field else text


def read_user_rows(path: Path, parse: Callable[[Row], T]) -> list[tuple[int, T]]:
    """Return (line number, parsed row) of a user's JSON lines, which have no `format` key.

    Raises DataError with the file and the line.
    """
    records = []
    try:
        with path.open("rb") as file, jsonlines.Reader(file, loads=orjson.loads) as reader:
            for number, row in enumerate(reader.iter(type=dict), start=1):
                try:
                    records.append((number, parse(row)))
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
        return _of_format(document)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _of_format(row: Row) -> Row:
    if row.get("format") != FORMAT:
        raise DataError(
            f"format {row.get('format')!r} is not {FORMAT}, the one that this version reads"
        )
    return row
