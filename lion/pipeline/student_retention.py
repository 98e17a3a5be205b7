"""Full students over iterations: which stay on this machine (`hardware.keep`), which make room.

What goes is the folder in the workspace and, in DVC's cache, the files that no other output of
this workspace names. dvc.lock still has the hashes: `dvc repro --allow-missing` goes on without
the student, `dvc pull` or a rerun of its stage brings it back.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lion.config import project
from lion.metrics.iterations import Line
from lion.pipeline import repository

if TYPE_CHECKING:
    from dvc.output import Output

Keep = Literal["all", "best", "last"]


@dataclass(frozen=True, slots=True)
class FreedStudent:
    """A student that made room: `freed` bytes of the workspace and of the cache."""

    iteration: str
    freed: int


@dataclass(frozen=True, slots=True)
class EvaluatedStudent:
    """An iteration whose student is tuned and has sat the exam, with its score there."""

    iteration: str
    previous: str | None
    score: float | None


def tuned(lines: Sequence[Line]) -> list[EvaluatedStudent]:
    """Return the iterations that sat the exam; the score is accuracy, else quality."""
    scores = {line.iteration: _score(line) for line in lines}
    done = [line for line in lines if project.metrics(line.iteration, "evaluate").exists()]
    return [
        EvaluatedStudent(line.iteration, line.previous, scores[line.iteration]) for line in done
    ]


def going(keep: Keep, done: Sequence[EvaluatedStudent]) -> list[str]:
    """Return the iterations whose students make room.

    The last student of each line of work always stays: a next iteration goes on from it. The best
    is the first of those with the highest score.
    """
    if keep == "all":
        return []
    staying = {student.iteration for student in done} - {student.previous for student in done}
    if keep == "best":
        scored = {student.iteration: student.score for student in done if student.score is not None}
        staying |= {max(scored, key=lambda name: scored[name])} if scored else set()
    return [student.iteration for student in done if student.iteration not in staying]


def make_room(iterations: Sequence[str], *, dry_run: bool) -> list[FreedStudent]:
    """Remove the students of `iterations`, and return what each freed (would free, if `dry_run`).

    One that differs from dvc.lock, or that no dvc.lock names, is left alone: nothing could bring
    it back. Raises DataError outside a project, and dvc.exceptions.DvcException where DVC cannot
    read its files.
    """
    with repository.opened() as repo, repo.lock:
        outs = {out.fspath: out for out in repo.index.outs if out.use_cache}
        paths = [(name, str(project.data(name, "student").resolve())) for name in iterations]
        tracked = [(name, outs.pop(path)) for name, path in paths if path in outs]
        safe = [(name, out) for name, out in tracked if out.exists and not out.changed_checksum()]
        named = {oid for out in outs.values() for oid, _ in _objects(out)}
        return [FreedStudent(name, _remove(out, named, dry_run=dry_run)) for name, out in safe]


def _objects(out: "Output") -> list[tuple[str, int]]:
    """Return (hash, bytes) of each cached file of an output, its listing first."""
    cached = out.get_obj()
    if cached is None or cached.oid is None:
        return []
    files = [
        (entry.value, meta.size or 0)
        for _, meta, entry in (cached if out.is_dir_checksum else ())
        if entry and entry.value and meta
    ]
    return [(cached.oid, 0 if files else out.meta.size or 0), *files]


def _remove(out: "Output", named: set[str], *, dry_run: bool) -> int:
    folder = Path(out.fspath)
    freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    alone = [(oid, size) for oid, size in _objects(out) if oid not in named]
    cached = [(oid, size) for oid, size in alone if out.cache.exists(oid)]
    if not dry_run:
        shutil.rmtree(folder)
        for oid, _ in cached:
            out.cache.delete(oid)
    return freed + sum(size for _, size in cached)


def _score(line: Line) -> float | None:
    return line.quality_percent if line.accuracy_share is None else line.accuracy_share
