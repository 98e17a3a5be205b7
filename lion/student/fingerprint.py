"""Fingerprints: of a student's bytes, and of a task, whose folder a killed stage resumes from.

The folders of a stage's tasks lie in `.lion/unfinished/`, which DVC does not remove. Equal keys
mean equal results. Folders of other tasks are removed when a task begins, and all of them when the
stage succeeds. The content of a folder is the task's (`response_shards`, `states`).
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lion.student import checkpoint as students

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "vllm", "llguidance")
_TEMPLATES = "additional_chat_templates"  # where transformers saves all but the default one
_KEY_LENGTH = 32  # hexadecimal digits


def fingerprint(source: students.Source) -> str:
    """Return the SHA-256 of the student's files; a base on the hub counts by id and commit."""
    digest = hashlib.sha256()
    if not Path(source.base).is_dir():
        digest.update(f"{source.base} {source.revision}".encode())
    for name, path in _files(source):
        with path.open("rb") as file:
            digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def served_name(student: Path, iteration: str) -> str:
    """Return the model name under which a student must be served. Raises ModelError."""
    return f"student-{iteration}-{fingerprint(students.resolve(student))[:12]}"


def task_key(
    source: students.Source, inputs: Iterable[bytes], decisive: Any, code: Sequence[str]
) -> str:
    """Return the key of a task: 32 hexadecimal digits, a hash of what decides its result.

    `inputs` are hashed in order, each with its length; `decisive` holds the settings that decide,
    as values of JSON; `code` names the files that decide, by their paths in `lion`.
    """
    digest = hashlib.sha256(fingerprint(source).encode())
    for name in code:
        digest.update(hashlib.sha256((_PACKAGE / name).read_bytes()).digest())
    digest.update(json.dumps([decisive, _versions()], sort_keys=True).encode())
    for part in inputs:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_KEY_LENGTH]


def remove_other_tasks(folder: Path) -> None:
    """Remove the folders of other tasks next to `folder`: inputs, params or code have changed."""
    for other in folder.parent.glob("[0-9a-f]" * _KEY_LENGTH):
        if other != folder:
            shutil.rmtree(other)


def _files(source: students.Source) -> Iterator[tuple[str, Path]]:
    """Yield name and path of the files that loading reads.

    Of the folders inside only that of named chat templates: others hold what downloads left there
    (`.cache`, `original`).
    """
    for folder in (Path(source.base), source.adapter):
        if folder is None or not folder.is_dir():
            continue
        inside = [*folder.iterdir(), *(folder / _TEMPLATES).glob("*.jinja")]
        paths = sorted(path for path in inside if path.is_file())
        yield from ((path.relative_to(folder).as_posix(), path) for path in paths)


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
