"""What would stop a run in one file of rows."""

from collections.abc import Iterator
from pathlib import Path

from lion.errors import LionError
from lion.readers import files


def file_problems(parameter: str, name: str, on_bad_row: str) -> Iterator[str]:
    """Read the file `name`, which `parameter` names; bad rows are told where they are errors."""
    try:
        loaded = files.read_rows(Path(name))
    except LionError as error:
        yield f"{parameter}: {error}"
        return
    if on_bad_row == "error":
        yield from (f"{parameter}: {problem}" for problem in loaded.problems[:10])
        if len(loaded.problems) > 10:
            yield f"{parameter}: {name}: and {len(loaded.problems) - 10} more rows"
    if not loaded.rows:
        yield f"{parameter}: {name} holds no instruction"
