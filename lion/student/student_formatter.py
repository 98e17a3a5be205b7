"""The formatter of a student on disk: a student keeps the prompt format that it was tuned in.

Tuning writes `checkpoint.PROMPT_FORMAT` into the student's folder: the paper's format that prompts
followed, or that they followed the tokenizer's chat template.
"""

from pathlib import Path
from typing import Any

from lion.config.settings import Student
from lion.errors import DataError, ModelError
from lion.records import jsonl
from lion.student import checkpoint
from lion.student.chat_format import (
    RECORDED_FORMATS,
    TEMPLATE,
    ChatFormatter,
    RecordedFormat,
)


def student_formatter(folder: Path, settings: Student) -> ChatFormatter:
    """Return the formatter of the student in `folder`. Raises ModelError."""
    source = checkpoint.resolve(folder)
    return formatter_of(source, checkpoint.tokenizer_of(source, settings), settings)


def formatter_of(source: checkpoint.Source, tokenizer: Any, settings: Student) -> ChatFormatter:
    """Return a formatter in the recorded format of a student, else in that of params.

    Raises ModelError.
    """
    recorded = recorded_format(source)
    if recorded != TEMPLATE:
        return ChatFormatter(tokenizer, recorded or settings.prompt_format)
    if not tokenizer.chat_template:
        raise ModelError(
            f"{source.adapter or source.base}: tuned with its tokenizer's chat template, which is "
            "missing. Fetch its folder, and that of its base, again."
        )
    return ChatFormatter(tokenizer, "auto")


def recorded_format(source: checkpoint.Source) -> RecordedFormat | None:
    """Return the format that a student's folder records: the adapter's, else its base's.

    None where there is no record, as in a foreign folder. Raises ModelError for an unknown format.
    """
    for folder in (source.adapter, Path(source.base)):
        if folder is not None and (folder / checkpoint.PROMPT_FORMAT).is_file():
            return _read(folder / checkpoint.PROMPT_FORMAT)
    return None


def _read(path: Path) -> RecordedFormat:
    try:
        recorded = jsonl.read_document(path).get("prompt_format")
    except DataError as error:
        raise ModelError(str(error)) from error
    for name in RECORDED_FORMATS:
        if recorded == name:
            return name
    raise ModelError(
        f"{path}: `prompt_format` is {recorded!r}, expected {' or '.join(RECORDED_FORMATS)}. "
        "Rerun the stage that tuned this student, or fetch its folder again."
    )
