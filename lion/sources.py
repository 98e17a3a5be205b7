"""Read the user's files of instructions, for a base pool or an exam, and lose no row silently.

One JSON object per line, or a JSON array of them, each in the shape of Alpaca, self-instruct or a
chat. Every row becomes a `SourceRow` or a `Problem` that names file and line. Does not decide what
follows from a problem or a duplicate, nor make ids.

JSON is read here with the standard library and not with polars, which guesses where we must not
(measured with polars 2.1): `3`, `1.50` and `[1]` in a column of texts become "3", "1.5" and "[1]";
a lone surrogate becomes NUL; an absent key is a null; a broken line is reported without its number;
and the real files of 18,000 rows take it as long. Parquet files carry their types, so there is
nothing to guess, and polars reads those.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lion.errors import DataError
from lion.records import Message, read_messages

Turns = tuple[Message, ...]

_SHAPES = ("instruction", "messages", "conversations")
_ANSWERS = ("expected", "answer", "target")
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_WHITE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """An instruction as the user's file brings it.

    `messages` are canonical and end with a user's turn. `expected` is the reference answer, None
    where the file has none or an empty one; `classification` tells whether the answer is one of a
    few labels, None where the file does not tell. `line` is where the row begins, from 1; in
    Parquet, which has no lines, the row's number.
    """

    messages: Turns
    expected: str | None
    category: str | None
    file: str
    line: int
    classification: bool | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: where it stands and what is wrong with it."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        """Return the problem as a message shows it."""
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds: each of its rows is in one of the two, in the file's order.

    A self-instruct object is as many rows as it has instances.
    """

    rows: tuple[SourceRow, ...]
    problems: tuple[Problem, ...]


def read_rows(path: Path) -> Loaded:
    """Read the instructions of `path`: `.parquet`, else a JSON array or one object per line.

    Which JSON it is shows in the first character, not in the name. Blank lines are no rows. Raises
    DataError where the file as a whole cannot be read, or where a broken array leaves no way of
    telling where its next row begins.
    """
    rows: list[SourceRow] = []
    problems: list[Problem] = []
    for line, value in _objects(path):
        for outcome in [value] if isinstance(value, Problem) else _rows(value, str(path), line):
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                rows.append(outcome)
    return Loaded(tuple(rows), tuple(problems))


def looser_key(messages: Iterable[Message]) -> tuple[tuple[str, str], ...]:
    """Return what two instructions share that count as duplicates.

    Roles and contents, case folded, NFKC, white space folded: looser than an id, which keeps all
    three.
    """
    return tuple((message["role"], _loose(message["content"])) for message in messages)


def split_duplicates(
    rows: Iterable[SourceRow],
) -> tuple[list[SourceRow], list[tuple[SourceRow, SourceRow]]]:
    """Return the first row of each `looser_key`, and every later one beside the first it repeats.

    Each row given is in exactly one of the two lists, in its order.
    """
    first: dict[tuple[tuple[str, str], ...], SourceRow] = {}
    duplicates = []
    for row in rows:
        known = first.setdefault(looser_key(row.messages), row)
        if known is not row:
            duplicates.append((row, known))
    return list(first.values()), duplicates


def _loose(text: str) -> str:
    once = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).split())


# --- from bytes to JSON values ---------------------------------------------------------------


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the line and the value of every object, or a Problem in the value's place."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        # A byte order mark is no part of the text; some editors and Excel write it.
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}:1: this is UTF-16; save the file as UTF-8")
    if content.lstrip()[:1] == b"[":
        yield from _array(path, content)
    else:
        yield from _lines(path, content)


def _lines(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    if content.lstrip().split(b"\n", 1)[0].strip() == b"{":
        raise DataError(
            f"{path}: an object over several lines; a JSON array, or one object per line, is "
            "expected"
        )
    # Only \n ends a line: U+2028 and its kind are legal inside JSON texts.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode())
        except UnicodeDecodeError as error:
            yield number, Problem(str(path), number, f"not UTF-8 at byte {error.start + 1}")
        except (ValueError, RecursionError) as error:
            yield number, Problem(str(path), number, f"broken JSON: {_fault(error)}")


def _array(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    decoder = json.JSONDecoder()
    at, line, counted = _after_white(text, text.index("[") + 1), 1, 0
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _broken_array(path, error.lineno, _fault(error)) from error
        except (ValueError, RecursionError) as error:
            raise _broken_array(path, line, _fault(error)) from error
        yield line, value
        at = _next_in_array(path, text, _after_white(text, at))
    rest = _after_white(text, at + 1)
    if rest < len(text):
        line = text.count("\n", 0, rest) + 1
        raise _broken_array(path, line, "the array has ended, the file has not")


def _next_in_array(path: Path, text: str, at: int) -> int:
    """Return where the next row, or the closing bracket, begins; `at` is behind a row."""
    if text[at : at + 1] == "]":
        return at
    if text[at : at + 1] == ",":
        at = _after_white(text, at + 1)
        if text[at : at + 1] != "]":
            return at
    line = text.count("\n", 0, at) + 1
    raise _broken_array(path, line, "a comma and a row, or `]`, is expected")


def _fault(error: Exception) -> str:
    """Return what is wrong with a JSON text and in which column, without its own line count."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def _broken_array(path: Path, line: int, what: str) -> DataError:
    return DataError(
        f"{path}:{line}: broken JSON: {what}; the rows from here on cannot be told apart: mend the "
        "file, or write one object per line (JSONL)"
    )


def _after_white(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _WHITE:
        at += 1
    return at


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import polars  # slow to import, and most files are JSON
    from polars.exceptions import PolarsError

    try:
        frame = polars.read_parquet(path)
    except (OSError, PolarsError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); check the file") from error
    yield from enumerate(frame.iter_rows(named=True), start=1)


# --- from JSON values to rows ----------------------------------------------------------------


def _rows(value: object, file: str, line: int) -> Iterator[SourceRow | Problem]:
    try:
        instances = _instances(value)
    except DataError as error:
        yield Problem(file, line, str(error))
        return
    for where, instance in instances:
        try:
            yield _row(instance, file, line)
        except DataError as error:
            yield Problem(file, line, f"{where}{error}")


def _instances(value: object) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the objects that are one row each, with words that tell which one it is."""
    if not isinstance(value, dict):
        raise DataError(f"an object is expected, found {value!r:.60}")
    if value.get("instances") is None:
        return [("", value)]
    if value.get("instruction") is None:
        raise DataError("instances: they belong to an `instruction`, which is missing")
    instances = value["instances"]
    if not isinstance(instances, list) or not instances:
        raise DataError("instances: a list of {input, output} is expected, with one at least")
    if "input" in value or "output" in value:
        raise DataError("both `instances` and an `input` or `output` of its own; keep one of them")
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, instance in enumerate(instances, start=1):
        where = f"instance {number}: "
        if not isinstance(instance, dict):
            raise DataError(f"{where}an object is expected, found {instance!r:.60}")
        own = {key: instance.get(key) for key in ("input", "output")}
        rows.append((where, {**value, **own}))
    return rows


def _row(value: Mapping[str, Any], file: str, line: int) -> SourceRow:
    shapes = [key for key in _SHAPES if value.get(key) is not None]
    if len(shapes) != 1:
        found = ", ".join(shapes or list(value)[:8]) or "nothing"
        raise DataError(f"one of {', '.join(_SHAPES)} is expected, found {found}")
    turns, answer = _alpaca(value) if shapes == ["instruction"] else _chat(value, shapes[0])
    for key in ("tools", "functions"):
        if value.get(key):
            raise DataError(f"{key}: instructions with tools cannot be used")
    system = _optional(value, "system")
    if system:
        turns = [{"role": "system", "content": system}, *turns]
    messages = tuple(read_messages(turns))
    # A key of an exam's goes before the answer that its shape brings: it is the one to check.
    expected = next(filter(None, (_optional(value, key) for key in _ANSWERS)), answer)
    category = _optional(value, "category")
    for text in (*(message["content"] for message in messages), expected, category):
        _refuse_surrogates(text or "")
    kind = _classification(value)
    return SourceRow(messages, expected, category and category.strip(), file, line, kind)


def _classification(value: Mapping[str, Any]) -> bool | None:
    """Return what the row says under our word or self-instruct's. Raises DataError."""
    for key in ("classification", "is_classification"):
        found = value.get(key)
        if found is not None:
            if not isinstance(found, bool):
                raise DataError(f"{key}: true or false is expected, found {found!r:.60}")
            return found
    return None


def _alpaca(value: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    instruction = _optional(value, "instruction")
    if instruction is None:
        raise DataError("instruction: it is empty")
    context = _optional(value, "input")
    content = instruction if context is None else f"{instruction}\n\n{context}"
    return [{"role": "user", "content": content}], _optional(value, "output")


def _chat(value: Mapping[str, Any], key: str) -> tuple[list[Any], str | None]:
    """Return the turns before the answer, and the answer: a closing turn of the assistant's."""
    turns = value[key]
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{key}: a list of turns is expected, with one at least")
    if key == "conversations":
        turns = [_protocol_turn(turn, number) for number, turn in enumerate(turns, start=1)]
    last = turns[-1]
    if isinstance(last, dict) and last.get("role") == "assistant":
        if not isinstance(last.get("content"), str):
            raise DataError(f"{key}: the content of turn {len(turns)} is not text")
        return turns[:-1], _optional(last, "content")
    return turns, None


def _protocol_turn(turn: object, number: int) -> dict[str, Any]:
    """Return a ShareGPT turn, `from` and `value`, in the protocol's words."""
    if not isinstance(turn, dict):
        raise DataError(f"conversations: turn {number} is not an object")
    speaker = turn.get("from")
    if not isinstance(speaker, str) or speaker not in _SPEAKERS:
        raise DataError(
            f"conversations: turn {number} is from {speaker!r:.60}; "
            f"one of {', '.join(_SPEAKERS)} is expected"
        )
    return {"role": _SPEAKERS[speaker], "content": turn.get("value")}


def _optional(value: Mapping[str, Any], key: str) -> str | None:
    """Return a text as it is; None where absent, null or blank. Raises DataError for a non-text.

    Not stripped: the indent of an `input` is meaning.
    """
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, str):
        raise DataError(f"{key}: text is expected, found {found!r:.60}")
    return found if found.strip() else None


def _refuse_surrogates(text: str) -> None:
    """Refuse half of a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(
            f"half of a surrogate pair (\\u{ord(half):04x}) in {text!r:.60}; restore the character"
        ) from error
