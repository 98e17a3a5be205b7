"""A student's bytes as one hash: what keys of tasks and names of served students are made of."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from lion.student import checkpoint as students


def fingerprint(source: students.Source) -> str:
    """Return a hash of the student's bytes; of a hub's base, of its id and commit."""
    digest = hashlib.sha256()
    if not Path(source.base).is_dir():
        digest.update(f"{source.base} {source.revision}".encode())
    for path in _files(source):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def served_name(student: Path, iteration: str) -> str:
    """Return the name under which a student must be served. Raises ModelError."""
    return f"student-{iteration}-{fingerprint(students.resolve(student))[:12]}"


def _files(source: students.Source) -> Iterator[Path]:
    for folder in (Path(source.base), source.adapter):
        if folder is not None and folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())
