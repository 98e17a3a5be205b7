"""The first rows of each input file as they were understood, for `lion check --rows`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from lion.config import project
from lion.config.settings import EMBEDDED, Settings
from lion.conversations import TaskTemplate
from lion.errors import LionError
from lion.escape import clipped, inert
from lion.readers import files
from lion.readers.formats import SourceRow

_CLIP = 400  # characters of a turn


def input_files(settings: Settings) -> list[tuple[str, Path, TaskTemplate | None]]:
    """Return (parameter, path, declared task) of each file that params name and a user wrote."""
    task = TaskTemplate.declared(settings.task)
    named: list[tuple[str, str, TaskTemplate | None]] = []
    for entry in settings.bootstrap.values():
        named += [("bootstrap.0.seeds", name, task) for name in entry.seeds]
    if settings.seed.source != EMBEDDED:
        named += [("seed.source", name, task) for name in settings.seed.source]
    if settings.exam.file not in (None, EMBEDDED):
        named.append(("exam.file", str(settings.exam.file), task))
    named += [("decontaminate.against", name, None) for name in settings.decontaminate.against]
    return [
        (parameter, Path(name), declared)
        for parameter, name, declared in named
        if Path(name) != project.BOOTSTRAPPED
    ]


def first_rows(settings: Settings, count: int) -> RenderableType:
    """Return the first `count` rows of every file, with counts and the keys that are not read."""
    named = input_files(settings)
    if not named:
        return Text("No parameter names a file: pool and exam are embedded.")
    return Group(*(part for entry in named for part in _file(*entry, count)))


def _file(
    parameter: str, path: Path, task: TaskTemplate | None, count: int
) -> Iterator[RenderableType]:
    try:
        loaded = files.read_rows(path, task)
    except LionError as error:
        yield Text(f"{parameter}: {inert(str(error))}", style="red")
        return
    head = f"{parameter}: {path}: {len(loaded.rows):,} rows"
    bad = f", {len(loaded.problems):,} that cannot be read" if loaded.problems else ""
    yield Text(inert(f"{head}{bad}"), style="bold")
    for problem in loaded.problems[:count]:
        yield Text(f"  {inert(str(problem))}", style="red")
    for key, rows in loaded.unread.most_common():
        yield Text(f"  not read: the text under {key!r} in {rows:,} rows", style="yellow")
    yield from _rows(loaded.rows[:count])


def _rows(rows: Sequence[SourceRow]) -> Iterator[RenderableType]:
    for row in rows:
        category = f", {inert(row.category)}" if row.category else ""
        yield Text(f"  line {row.line}{category}", style="dim")
        turns = [(message["role"], message["content"]) for message in row.messages]
        expected = [] if row.expected is None else [("expected", row.expected)]
        for label, text in (*turns, *expected):
            shown = Text(f"    {label}: ", style="dim")
            yield shown.append(inert(clipped(text, _CLIP)), style="default")
