"""Tokens of the student, counted without torch: only its `tokenizer.json` is read."""

from collections.abc import Callable
from pathlib import Path

from lion.config.settings import Quality, Student
from lion.errors import ModelError

Count = Callable[[str], int]


def counter(quality: Quality, student: Student) -> Count | None:
    """Return a function that counts a text's tokens, or None where params ask for no such gate.

    The text alone is counted, without what a chat template adds. Raises ModelError where the
    student's tokenizer.json cannot be read.
    """
    if quality.max_tokens is None:
        return None
    from tokenizers import Tokenizer

    path = _file(student)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # what tokenizers raises has no type of its own
        raise ModelError(
            f"{path}: not readable as a tokenizer ({error}); check student.model"
        ) from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _file(student: Student) -> Path:
    folder = Path(student.model).expanduser()
    if folder.is_dir():
        return folder / "tokenizer.json"
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(student.model, "tokenizer.json", revision=student.revision))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"{student.model}: its tokenizer.json is not to be had ({error}). Set "
            "quality.max_tokens: null, or student.model to a folder that has it."
        ) from error
