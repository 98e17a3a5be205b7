"""Response shards: one file of answers per finished batch, from which a killed stage resumes.

The files of a task share a folder (`fingerprint`). A file appears complete or not at all.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lion.errors import DataError
from lion.inference.backend import Prompt
from lion.records import jsonl
from lion.records.rows import Answer
from lion.student import checkpoint as students
from lion.student import fingerprint

CODE = (
    "inference/backend.py",
    "inference/batch_inference.py",
    "inference/hf_backend.py",
    "inference/token_scores.py",
    "inference/vllm_backend.py",
    "student/chat_format.py",
    "student/chat_template.py",
    "student/checkpoint.py",
)
"""The files that decide an answer (a test compares this list with the imports)."""


def answers_key(plan: Sequence[Sequence[Prompt]], student: Path, decisive: dict[str, Any]) -> str:
    """Return the key of the task that answers the batches of `plan`. Raises ModelError."""
    return fingerprint.task_key(students.resolve(student), _inputs(plan), decisive, CODE)


class ResponseShards:
    """The folder of one task: a file of answers per batch."""

    def __init__(self, folder: Path) -> None:
        """Store the task's folder, which need not exist."""
        self.folder = folder

    def save(self, number: int, answers: Sequence[Answer]) -> None:
        """Write the answers of a batch."""
        jsonl.write(self._path(number), answers)

    def has(self, number: int) -> bool:
        """Return whether a file of the batch exists, valid or not."""
        return self._path(number).exists()

    def load(self, number: int, batch: Sequence[Prompt]) -> list[Answer] | None:
        """Return the answers of a batch, or None where they are missing or invalid."""
        try:
            answers = jsonl.read(self._path(number), Answer)
        except DataError:
            return None  # missing or damaged: the batch is repeated
        same = [answer.id for answer in answers] == [prompt.id for prompt in batch]
        return answers if same else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"


def _inputs(plan: Sequence[Sequence[Prompt]]) -> Iterator[bytes]:
    for batch in plan:
        yield from (prompt.id.encode() + prompt.tokens.tobytes() for prompt in batch)
        yield b""  # the end of a batch
