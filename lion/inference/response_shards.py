"""Response shards: one file of rows per finished batch, from which a killed stage resumes.

The files of a task share a folder (`fingerprint`). A file appears complete or not at all.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from lion.errors import DataError
from lion.inference.backend import Prompt
from lion.records import jsonl
from lion.records.rows import Answer, Likelihood
from lion.student import checkpoint as students
from lion.student import fingerprint

R = TypeVar("R", Answer, Likelihood)

CODE = (
    "conversations.py",
    "inference/allowed_tokens.py",
    "inference/answer_likelihood.py",
    "inference/answer_grammar.py",
    "inference/backend.py",
    "inference/batch_inference.py",
    "inference/batch_job.py",
    "inference/hf_backend.py",
    "inference/hf_likelihood.py",
    "inference/token_scores.py",
    "inference/vllm_backend.py",
    "student/chat_format.py",
    "student/chat_template.py",
    "student/checkpoint.py",
    "student/paper_format.py",
    "student/prompt.py",
    "student/student_formatter.py",
)
"""The files that decide a row (a test compares this list with the imports)."""


def answers_key(plan: Sequence[Sequence[Prompt]], student: Path, decisive: dict[str, Any]) -> str:
    """Return the key of the task that answers the batches of `plan`. Raises ModelError."""
    return fingerprint.task_key(students.resolve(student), _inputs(plan), decisive, CODE)


class ResponseShards(Generic[R]):
    """The folder of one task: a file of rows of one `kind` per batch."""

    def __init__(self, folder: Path, kind: type[R]) -> None:
        """Store the task's folder, which need not exist."""
        self.folder = folder
        self._kind: type[R] = kind

    def save(self, number: int, rows: Sequence[R]) -> None:
        """Write the rows of a batch."""
        jsonl.write(self._path(number), rows)

    def has(self, number: int) -> bool:
        """Return whether a file of the batch exists, valid or not."""
        return self._path(number).exists()

    def load(self, number: int, batch: Sequence[Prompt]) -> list[R] | None:
        """Return the rows of a batch, or None where they are missing or invalid."""
        try:
            rows = jsonl.read(self._path(number), self._kind)
        except DataError:
            return None  # missing or damaged: the batch is repeated
        same = [row.id for row in rows] == [prompt.id for prompt in batch]
        return rows if same else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"


def _inputs(plan: Sequence[Sequence[Prompt]]) -> Iterator[bytes]:
    for batch in plan:
        yield from (prompt.content() for prompt in batch)
        yield b""  # the end of a batch
