"""The formatter of a student on disk: a student keeps the prompt format that it was tuned in.

Tuning writes `checkpoint.PROMPT_FORMAT` into the student's folder where prompts followed the
paper's format; where they followed the tokenizer's chat template, that template is the record.
"""

from pathlib import Path
from typing import Any

from lion.config.settings import Student
from lion.errors import DataError, ModelError
from lion.records import jsonl
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.student.paper_format import PAPER_FORMATS, PaperFormat


def student_formatter(folder: Path, settings: Student) -> ChatFormatter:
    """Return the formatter of the student in `folder`. Raises ModelError."""
    source = checkpoint.resolve(folder)
    return formatter_of(source, checkpoint.tokenizer_of(source, settings), settings)


def formatter_of(source: checkpoint.Source, tokenizer: Any, settings: Student) -> ChatFormatter:
    """Return a formatter in the recorded format of a student, else in that of params.

    Raises ModelError.
    """
    return ChatFormatter(tokenizer, recorded_format(source) or settings.prompt_format)


def recorded_format(source: checkpoint.Source) -> PaperFormat | None:
    """Return the format that a student's folder records: the adapter's, else its base's.

    None where there is no record. Raises ModelError for an unknown format.
    """
    for folder in (source.adapter, Path(source.base)):
        if folder is not None and (folder / checkpoint.PROMPT_FORMAT).is_file():
            return _read(folder / checkpoint.PROMPT_FORMAT)
    return None


def _read(path: Path) -> PaperFormat:
    try:
        recorded = jsonl.read_document(path).get("prompt_format")
    except DataError as error:
        raise ModelError(str(error)) from error
    for name in PAPER_FORMATS:
        if recorded == name:
            return name
    raise ModelError(
        f"{path}: `prompt_format` is {recorded!r}, expected {' or '.join(PAPER_FORMATS)}. "
        "Rerun the stage that tuned this student, or fetch its folder again."
    )
