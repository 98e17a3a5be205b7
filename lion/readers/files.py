"""Readers of the user's files of instructions, for a base pool or an exam.

One JSON object per line, a JSON array of them, CSV or Parquet, plain or compressed (.gz, .zst);
`formats` defines which objects are instructions. Every row becomes a `SourceRow` or a `Problem`
with file and line; the caller decides what follows from problems and duplicates.

JSON and CSV are not read with polars, which guesses types (measured with polars 2.1): `3`, `1.50`
and `[1]` in a column of texts become "3", "1.5" and "[1]"; a lone surrogate becomes NUL; an absent
key is a null; a broken line is reported without its number. It is no faster on real files of 18,000
rows. Parquet files have types, and polars reads them.
"""

import csv
import gzip
import io
import json
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.readers import formats
from lion.readers.field_names import is_read
from lion.readers.file_kinds import not_rows, web_page
from lion.readers.formats import Problem, SourceRow
from lion.records.rows import Message

_WHITE = " \t\r\n"
_PACKED = (".gz", ".zst")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LISTED = re.compile(rb"\s*\[")
_SPREAD = re.compile(rb"\s*\{[ \t\r]*\n")
_ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The rows and problems of a file, in order; each row of the file is in one of the two.

    A self-instruct object has one row per instance.
    """

    rows: tuple[SourceRow, ...]
    problems: tuple[Problem, ...]

    @property
    def unread(self) -> Counter[str]:
        """The number of rows with text under a key that is not read, by the key."""
        return Counter(key for row in self.rows for key in row.unread)


def read_rows(path: Path, task: TaskTemplate | None = None) -> Loaded:
    """Read the instructions of `path`: `.parquet`, `.csv`, `.tsv`, else JSON.

    Rows of a declared `task` may bring its fields alone.

    The first character, not the name, distinguishes an array from lines. Blank lines are skipped.
    Raises DataError where the file cannot be read, or where a broken array makes the next row's
    start unknown.
    """
    rows: list[SourceRow] = []
    problems: list[Problem] = []
    file = str(path)
    for line, value in _objects(path):
        outcomes = [value] if isinstance(value, Problem) else formats.rows(value, file, line, task)
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                rows.append(outcome)
    return Loaded(tuple(rows), tuple(problems))


def looser_key(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return the key under which instructions count as duplicates: role, content, role, content...

    Case folded, in NFKC, white space folded; an id keeps all three.
    """
    key: list[str] = []
    for message in messages:
        key += message["role"], _loose(message["content"])
    return tuple(key)


def split_duplicates(
    rows: Iterable[SourceRow],
) -> tuple[list[SourceRow], list[tuple[SourceRow, SourceRow]]]:
    """Return the first row of each `looser_key`, and pairs of each later row and that first row.

    Every row is in exactly one of the two lists, in order.
    """
    first: dict[tuple[str, ...], SourceRow] = {}
    duplicates = []
    for row in rows:
        original = first.setdefault(looser_key(row.messages), row)
        if original is not row:
            duplicates.append((row, original))
    return list(first.values()), duplicates


def _loose(text: str) -> str:
    if text.isascii():
        lower = text.lower()
        plain = lower.isprintable() and "  " not in lower  # most rows need no folding
        return lower.strip() if plain else " ".join(lower.split())
    once = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).split())


# --- from bytes to JSON values ---------------------------------------------------------------


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the line and the value of every object, or a Problem in the value's place."""
    kind = path.with_suffix("").suffix if path.suffix in _PACKED else path.suffix
    content = _content(path)
    other = not_rows(content) or (None if _names_columns(content, kind) else web_page(content))
    if other is not None and not (kind == ".parquet" and content.startswith(b"PAR1")):
        raise DataError(f"{path}: this is {other}")
    if kind == ".parquet":
        yield from _parquet(path, content)
        return
    # Some editors and Excel write a byte order mark, which is not part of the text.
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}:1: this is UTF-16; save the file as UTF-8")
    if kind in _DELIMITERS:
        yield from _table(path, content, _DELIMITERS[kind])
    elif _LISTED.match(content):
        yield from _array(path, content)
    else:
        yield from _lines(path, content)


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked. Raises DataError."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if path.suffix not in _PACKED:
        return packed
    try:
        return gzip.decompress(packed) if path.suffix == ".gz" else _from_zstd(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); check the file") from error


def _from_zstd(packed: bytes) -> bytes:
    """Decompress all frames. Raises EOFError for a truncated frame, OSError for a broken one."""
    import zstandard  # only for files of its kind

    parts: list[bytes] = []
    while packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            parts.append(frame.decompress(packed))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
        if not frame.eof:
            raise EOFError("the file ends inside a frame")
        packed = frame.unused_data
    return b"".join(parts)


def _lines(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    if _SPREAD.match(content):
        yield _document(path, content)
        return
    # Only \n ends a line: U+2028 and similar characters are legal inside JSON strings.
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line.isspace():
            continue
        try:
            value = orjson.loads(line)
            repeated = _repeated_key(line, value)
            yield number, value if repeated is None else _repeats(path, number, repeated)
            continue
        except orjson.JSONDecodeError:
            pass  # the standard library accepts more, and reports the position of the error
        try:
            yield number, json.loads(line.removesuffix(b"\n").decode())
        except UnicodeDecodeError as error:
            yield number, Problem(str(path), number, f"not UTF-8 at byte {error.start + 1}")
        except (ValueError, RecursionError) as error:
            yield number, Problem(str(path), number, f"broken JSON: {_fault(error)}")


def _repeated_key(text: bytes, value: object) -> str | None:
    """Return a key that stands twice in an object: parsers keep the last and lose the others."""
    if not isinstance(value, dict) or text.count(b'":') + text.count(b'" :') <= len(value):
        return None
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        repeated.extend(key for key, count in Counter(key for key, _ in items).items() if count > 1)

    json.loads(text, object_pairs_hook=pairs)
    return repeated[0] if repeated else None


def _repeats(path: Path, line: int, key: str) -> Problem:
    return Problem(str(path), line, f"the key {key!r:.40} stands twice; keep one of them")


def _document(path: Path, content: bytes) -> tuple[int, Any]:
    """Return line and value of an object over several lines; only files of an exam have it."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "examples" not in value:
        raise DataError(
            f"{path}: an object over several lines; a JSON array, or one object per line, is "
            "expected"
        )
    return 1, value


def _array(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    decoder = json.JSONDecoder()
    position, line, counted = _after_white(text, text.index("[") + 1), 1, 0
    while text[position : position + 1] != "]":
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise _broken_array(path, error.lineno, _fault(error)) from error
        except (ValueError, RecursionError) as error:
            raise _broken_array(path, line, _fault(error)) from error
        yield line, value
        position = _next_in_array(path, text, _after_white(text, position))
    rest = _after_white(text, position + 1)
    if rest < len(text):
        line = text.count("\n", 0, rest) + 1
        raise _broken_array(path, line, "the array has ended, the file has not")


def _next_in_array(path: Path, text: str, position: int) -> int:
    """Return the position of the next row or the closing bracket, from the end of a row."""
    if text[position : position + 1] == "]":
        return position
    if text[position : position + 1] == ",":
        position = _after_white(text, position + 1)
        if text[position : position + 1] != "]":
            return position
    line = text.count("\n", 0, position) + 1
    raise _broken_array(path, line, "a comma and a row, or `]`, is expected")


def _fault(error: Exception) -> str:
    """Return the message of a JSON error with its column, without its line."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def _broken_array(path: Path, line: int, what: str) -> DataError:
    return DataError(
        f"{path}:{line}: broken JSON: {what}; the rows from here on cannot be separated: fix the "
        "file, or write one object per line (JSONL)"
    )


def _after_white(text: str, position: int) -> int:
    while text[position : position + 1] and text[position] in _WHITE:
        position += 1
    return position


def _table(path: Path, content: bytes, delimiter: str) -> Iterator[tuple[int, Any]]:
    """Yield line and row of a table with a header; cells are texts."""
    csv.field_size_limit(sys.maxsize)
    # Bytes that are not UTF-8 become lone surrogates, which valid UTF-8 cannot contain.
    text = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    last_line = 1
    try:
        reader.fieldnames = _header(path, reader.fieldnames or [])
        for row in reader:
            line, last_line = last_line + 1, reader.line_num
            if None in row:
                yield line, Problem(str(path), line, "more cells than the header has")
            elif None in row.values():
                yield line, Problem(str(path), line, "fewer cells than the header has")
            elif any(_ESCAPED.search(cell or "") for cell in row.values()):
                yield line, Problem(str(path), line, "not UTF-8")
            else:
                yield line, row
    except csv.Error as error:
        raise DataError(
            f"{path}:{last_line + 1}: broken CSV: {error}; the rows from here on cannot be "
            "separated: fix the file"
        ) from error


def _names_columns(content: bytes, kind: str) -> bool:
    """Return whether the first line is a table's header with a column that is read."""
    if kind not in _DELIMITERS:
        return False
    line = content.partition(b"\n")[0].decode("utf-8", "replace")
    return any(is_read(name.strip()) for name in line.split(_DELIMITERS[kind]))


def _header(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of a header. Raises DataError for one without a name, and for a repeated."""
    stripped = [name.strip() for name in names]
    if len(stripped) == 1 and ";" in stripped[0]:
        raise DataError(f"{path}:1: cells are separated by `;`; save the file with commas")
    for place, name in enumerate(stripped, start=1):
        if not name:
            raise DataError(f"{path}:1: column {place} has no name; name it or remove it")
        if name in stripped[: place - 1]:
            raise DataError(f"{path}:1: the column {name!r} stands twice; keep one of them")
    return stripped


def _parquet(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    import polars  # slow to import, and most files are JSON
    from polars.exceptions import PolarsError

    try:
        frame = polars.read_parquet(content)
    except (OSError, PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); check the file") from error
    yield from enumerate(frame.iter_rows(named=True), start=1)
