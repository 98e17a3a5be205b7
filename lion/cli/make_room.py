"""`lion make-room`: remove the students that `hardware.keep_students` does not keep.

A student's folder is removed from the workspace, and from DVC's cache the files that no other
output of this workspace names. dvc.lock still has the hashes: `dvc repro --allow-missing` goes on
without the student, and `dvc pull` or a rerun of its stage brings it back.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lion import console, iterations
from lion.config import project
from lion.config.settings import Settings
from lion.iterations import IterationMetrics
from lion.pipeline import dvc_project

if TYPE_CHECKING:
    from dvc.output import Output


Keep = Literal["all", "best", "last"]


@dataclass(frozen=True, slots=True)
class FreedStudent:
    """A removed student: `freed` bytes of the workspace and of the cache."""

    iteration: str
    freed: int


@dataclass(frozen=True, slots=True)
class EvaluatedStudent:
    """An iteration whose student is evaluated, with its score."""

    iteration: str
    previous: str | None
    score: float | None


@click.command("make-room")
@click.option("--dry-run", is_flag=True, help="Only say what it would free.")
def make_room_command(dry_run: bool) -> None:
    """Remove students from the workspace and from DVC's cache, as `hardware.keep_students` says.

    \b
    lion make-room --dry-run
    lion make-room

    `lion run` ends with this. One that dvc.lock does not know is left alone. `dvc push` before it,
    and `dvc pull data/1/student` brings one back; without a remote a rerun of its stage does.
    """
    with console.error_boundary():
        remove_students(dry_run)


def remove_students(dry_run: bool) -> None:
    """Remove what `hardware.keep_students` does not keep, and print the freed bytes."""
    settings = project.load_settings()
    lines = iterations.lines({name: entry.previous for name, entry in settings.iterations.items()})
    names = superseded(settings.hardware.keep_students, evaluated(lines))
    free = [name for name in names if name not in needed_by_baselines(settings)]
    for student in free_disk(free, dry_run=dry_run):
        verb = "would free" if dry_run else "freed"
        console.say(f"student {student.iteration}: {verb} {student.freed / 1e9:,.3f} GB")


def needed_by_baselines(settings: Settings) -> set[str]:
    """Return the students that baselines without a student of their own start from."""
    return {
        baseline.previous
        for name, baseline in settings.baselines.items()
        if not project.data(name, "student").is_dir()
    }


def evaluated(lines: Sequence[IterationMetrics]) -> list[EvaluatedStudent]:
    """Return the evaluated iterations; the score is accuracy, else quality."""
    scores = {line.iteration: _score(line) for line in lines}
    done = [line for line in lines if project.metrics(line.iteration, "evaluate").exists()]
    return [
        EvaluatedStudent(line.iteration, line.previous, scores[line.iteration]) for line in done
    ]


def superseded(keep: Keep, done: Sequence[EvaluatedStudent]) -> list[str]:
    """Return the iterations whose students are removed.

    The last student of each lineage always stays: a next iteration starts from it. The best is the
    first with the highest score.
    """
    if keep == "all":
        return []
    staying = {student.iteration for student in done} - {student.previous for student in done}
    if keep == "best":
        scored = {student.iteration: student.score for student in done if student.score is not None}
        staying |= {max(scored, key=lambda name: scored[name])} if scored else set()
    return [student.iteration for student in done if student.iteration not in staying]


def free_disk(names: Sequence[str], *, dry_run: bool) -> list[FreedStudent]:
    """Remove the students of the iterations `names`; return what each freed, or would free.

    A student that differs from dvc.lock, or that dvc.lock does not name, is kept, since nothing
    could restore it. Raises DataError outside a project, and dvc.exceptions.DvcException where DVC
    cannot read its files.
    """
    with dvc_project.open_repository() as repo, repo.lock:
        outs = {out.fspath: out for out in repo.index.outs if out.use_cache}
        paths = [(name, str(project.data(name, "student").resolve())) for name in names]
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


def _score(line: IterationMetrics) -> float | None:
    return line.quality_percent if line.accuracy_share is None else line.accuracy_share
