"""Answers of the batches that are done, a file each: what a killed stage goes on from.

They lie in the folder of their task (`resume`). A file appears complete or not at all.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lion.errors import DataError
from lion.inference.backend import Prompt
from lion.records import jsonl
from lion.records.rows import Answer
from lion.student import checkpoint as students
from lion.student import resume

CODE = (
    "inference/backend.py",
    "inference/batch_inference.py",
    "inference/hf_backend.py",
    "inference/vllm_backend.py",
    "student/chat_format.py",
    "student/checkpoint.py",
)
"""What decides an answer (tests compare this list with the imports)."""


def answers_key(plan: Sequence[Sequence[Prompt]], student: Path, decisive: dict[str, Any]) -> str:
    """Return the key of answering the batches of `plan`. Raises ModelError."""
    return resume.task_key(students.resolve(student), _inputs(plan), decisive, CODE)


class ResponseShards:
    """The folder of one task: a file of answers per batch."""

    def __init__(self, folder: Path) -> None:
        """Take the task's folder, which need not be there."""
        self.folder = folder

    def save(self, number: int, answers: Sequence[Answer]) -> None:
        """Keep the answers of a batch."""
        jsonl.write(self._path(number), answers)

    def has(self, number: int) -> bool:
        """Tell whether a file of the batch is there, whatever it holds."""
        return self._path(number).exists()

    def load(self, number: int, batch: Sequence[Prompt]) -> list[Answer] | None:
        """Return the answers of a batch, or None where it must be answered (again)."""
        try:
            answers = jsonl.read(self._path(number), Answer)
        except DataError:
            return None  # not there, or damaged: nothing is lost but its time
        same = [answer.id for answer in answers] == [prompt.id for prompt in batch]
        return answers if same else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"


def _inputs(plan: Sequence[Sequence[Prompt]]) -> Iterator[bytes]:
    for batch in plan:
        yield from (prompt.id.encode() + prompt.tokens.tobytes() for prompt in batch)
        yield b""  # where a batch ends
