"""A remote that dies while DVC pushes to it or pulls from it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import Project
from polling import wait_until

from faulting.cycle import Row
from faulting.site import Site
from faulting.trouble import AS_A_USER

KILLS = 3
_LONGEST = 120.0  # seconds


class Remote:
    """A folder that the site's outputs are pushed to, and a clone that pulls them."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        """Begin with an empty remote and no clone."""
        self.site, self.rng = site, rng
        self.folder = site.project.root.with_suffix(".remote")
        self.clone = site.project.root.with_suffix(".clone")
        site_cache = self.clone.with_name(f"{self.clone.name}.site")
        for path in (self.folder, self.clone, site_cache):
            shutil.rmtree(path, ignore_errors=True)
        self.folder.mkdir()
        site.project.dvc(
            "remote", "add", "--local", "--force", "--default", "spare", str(self.folder)
        )
        self.notes: Row = {}

    def pull(self, project: Project) -> int:
        """Pull into a clone; return how it ended."""
        pulled = project.dvc("pull")
        self.notes["pulled"] = pulled.output[-600:] if pulled.code else "well"
        return pulled.code

    def cloned(self) -> Project:
        """Return a fresh clone that knows the remote and the lock, and has no output."""
        project = self.site.project.clone(self.clone)
        for name in ("dvc.lock", ".dvc/config.local"):
            shutil.copy(self.site.project.root / name, project.root / name)
        return project

    def disturb(self, project: Project, command: str, disturbance: Callable[[], None]) -> bool:
        """Start `dvc push` or `dvc pull`, disturb it after some files; tell whether it ran."""
        to = self.folder if command == "push" else project.root / ".dvc" / "cache"
        goal = _count(to) + self.rng.randint(1, 15)
        process = subprocess.Popen(
            [*AS_A_USER, sys.executable, "-m", "dvc", command],
            cwd=project.root,
            env=project.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(
            lambda: process.poll() is not None or _count(to) >= goal,
            f"dvc {command} moves {goal} files",
            interval=0.0005,
        )
        hit = process.poll() is None
        if disturbance is _KILL:
            process.kill()
        else:
            disturbance()
        process.wait(_LONGEST)
        return hit

    def row(self, project: Project, codes: list[int]) -> Row:
        """Compare a clone's outputs with the undisturbed run's."""
        clone = Site(project, self.site.teacher, whole=self.site.whole)
        files = clone.files()
        whole = self.site.whole["files"]
        differing = [name for name in files | whole if files.get(name) != whole.get(name)]
        survived = not differing and not any(codes)
        return {
            "survived": survived,
            "recovery": codes,
            "differences": differing[:10],
            **self.notes,
        }


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _nothing() -> None:
    """Stand for kill -9."""


_KILL = _nothing


def push_killed(remote: Remote) -> Row:
    """Kill `dvc push` three times, then push, and pull into a clone."""
    project = remote.site.project
    remote.notes["hits"] = [
        {"who": "dvc push", "hit": remote.disturb(project, "push", _KILL)} for _ in range(KILLS)
    ]
    pushed = project.dvc("push").code
    clone = remote.cloned()
    return remote.row(clone, [pushed, remote.pull(clone)])


def pull_killed(remote: Remote) -> Row:
    """Kill `dvc pull` three times, then pull."""
    pushed = remote.site.project.dvc("push").code
    clone = remote.cloned()
    remote.notes["hits"] = [
        {"who": "dvc pull", "hit": remote.disturb(clone, "pull", _KILL)} for _ in range(KILLS)
    ]
    return remote.row(clone, [pushed, remote.pull(clone)])


def push_refused(remote: Remote) -> Row:
    """Make the remote unwritable while `dvc push` works, and writable again."""
    project = remote.site.project
    remote.disturb(project, "push", lambda: _mode(remote.folder, 0o555))
    _mode(remote.folder, 0o755)
    pushed = project.dvc("push").code
    clone = remote.cloned()
    return remote.row(clone, [pushed, remote.pull(clone)])


def pull_gone(remote: Remote) -> Row:
    """Take the remote away while `dvc pull` works, and bring it back."""
    pushed = remote.site.project.dvc("push").code
    clone = remote.cloned()
    away = remote.folder.with_suffix(".away")
    remote.disturb(clone, "pull", lambda: _ignore(remote.folder.rename(away)))
    shutil.rmtree(remote.folder, ignore_errors=True)
    away.rename(remote.folder)
    return remote.row(clone, [pushed, remote.pull(clone)])


def _ignore(_: object) -> None:
    """Return nothing."""


def _mode(folder: Path, mode: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(mode)


FAULTS: dict[str, Callable[[Remote], Row]] = {
    "kill -9 of dvc push": push_killed,
    "kill -9 of dvc pull": pull_killed,
    "remote unwritable during push": push_refused,
    "remote gone during pull": pull_gone,
}


def run(site: Site, name: str, seed: str) -> Row:
    """Do one and return its line."""
    began = time.monotonic()
    row = FAULTS[name](Remote(site, random.Random(seed)))
    (site.project.root / ".dvc" / "config.local").unlink()
    return {"fault": name, "stage": "-", **row, "lost": 0, "twice": 0, "bound": 0,
            "problem": "", "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
