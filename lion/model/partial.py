"""Answers of the batches that are done, kept until the stage is: what a killed one goes on from.

They lie in `.lion/answers/`, outside what DVC removes, in a folder called by the key of the task:
rows, student, resolved params, code and libraries. So answers of another task are never found, and
a file appears complete or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lion import jsonl
from lion.errors import DataError
from lion.model import student as students
from lion.model.engines import Prompt
from lion.records import Answer

CODE = ("answering.py", "chat.py", "decoding.py", "engines.py", "student.py", "vllm_engine.py")
"""What decides an answer (tests compare this list with the imports)."""
_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "vllm")


def answers_key(plan: Sequence[Sequence[Prompt]], student: Path, decisive: dict[str, Any]) -> str:
    """Return the name of a task: equal where everything that decides its answers is.

    `decisive` is what else does, as JSON can hold it. Raises ModelError.
    """
    digest = hashlib.sha256(fingerprint(student).encode())
    for name in CODE:
        digest.update(Path(__file__).with_name(name).read_bytes())
    digest.update(json.dumps([decisive, _versions()], sort_keys=True).encode())
    for batch in plan:
        for prompt in batch:
            digest.update(prompt.id.encode() + prompt.tokens.tobytes())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


def fingerprint(student: Path) -> str:
    """Return a hash of the student's bytes; of a hub's, of its id and commit. Raises ModelError."""
    source = students.resolve(student)
    digest = hashlib.sha256()
    folders = [Path(source.base)] if Path(source.base).is_dir() else []
    if not folders:
        digest.update(f"{source.base} {source.revision}".encode())
    if source.adapter is not None:
        folders.append(source.adapter)
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def served_name(student: Path, iteration: str) -> str:
    """Return the name under which a student must be served. Raises ModelError."""
    return f"student-{iteration}-{fingerprint(student)[:12]}"


class Kept:
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

    def forget_others(self) -> None:
        """Remove what other tasks of the same stage left: inputs, params or code have changed."""
        for other in self.folder.parent.glob("*"):
            if other != self.folder:
                shutil.rmtree(other)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
