"""The project that faults are done to: finished once, undisturbed; compared with that ever after.

`forget` makes a stage as if it had never run (outputs, cache, lock, replies), so that one
`dvc repro` runs it, and what it asks is asked again. After the fault everything must be as before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import yaml
from fake_server.process import ServerProcess, running
from pipeline import ROOT, TINY, Project, descendant
from polling import wait_until

IN_FLIGHT = 8
BUSY = "runs already in another process"
CUT_OFF = ("'./dvc.lock' validation failed", "Unable to read RWLock-file")
_POLL = 0.02  # seconds
_LONGEST = 600.0  # seconds that the stages before one may take
_OUTPUTS = ("data", "metrics", "report")
_CHANGES: Mapping[str, Any] = {
    **TINY,
    "api.concurrency": IN_FLIGHT,
    "api.timeout": 4.0,
    "api.max_wait": 0.2,
    "hardware.save_every": 1,
    "answering.batch_size": 16,
    "calibrate.iterations": ["1"],
    "calibrate.anchors": "exam",
    "calibrate.anchor_rows": 20,
    "exams.students": ["1"],
    "exams.folders": ["inputs/bbh"],
    "exams.max_tokens": 4,
}
_GROWN = {
    "seeds": ["seeds/seeds.jsonl"],
    "size": 215,
    "classification": 0.4,
    "per_call": 5,
    "from_seeds": 2,
    "from_made": 1,
    "requests_per_round": 8,
    "generate": {"novelty": 0.7},
}
_BOOTSTRAP: Mapping[str, Any] = {
    "bootstrap": {"0": _GROWN},
    "seed.source": ["data/0/bootstrapped.jsonl"],
    "seed.depends_on": "data/0/bootstrapped.jsonl",
    "generator.model": "composer-1",
    "calibrate.iterations": [],
    "exams.students": [],
    "exams.folders": [],
}
_ITEMS = [
    {"input": f"Find {n}:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big", "target": f"({'ABC'[n % 3]})"}
    for n in range(9)
]


@contextmanager
def teaching(folder: Path) -> Iterator[ServerProcess]:
    """Yield the counting teacher, on a port that the campaign's folder remembers."""
    remembered = folder / "port"
    port = int(remembered.read_text()) if remembered.exists() else 0
    with running("faulting.teacher:teacher", port=port) as teacher:
        remembered.write_text(str(urlsplit(teacher.url).port))
        yield teacher


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the pipeline: as DVC calls it, its module, its iteration, and as it records."""

    name: str
    module: str
    key: str

    @property
    def recorded(self) -> str:
        """The name in ledger and records, as `teach@0`."""
        return f"{self.module.rpartition('.')[2]}@{self.key}"


@dataclass(slots=True)
class Site:
    """A finished project, what it held undisturbed, and the stages that faults are done to."""

    project: Project
    teacher: ServerProcess
    target: tuple[str, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    whole: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    # --- making it

    @classmethod
    def at(cls, root: Path, teacher: ServerProcess, *, bootstrap: bool = False) -> Site:
        """Return the site of `root`: made and run undisturbed where it is not there."""
        site = cls(Project(root), teacher, ("bootstrap",) if bootstrap else ())
        note = root.with_suffix(".json")
        if not note.exists():
            shutil.rmtree(root, ignore_errors=True)
            site._make(_BOOTSTRAP if bootstrap else {})
            whole = site.state()
            shutil.copytree(root, root.with_suffix(".pristine"), symlinks=True, dirs_exist_ok=True)
            note.write_text(json.dumps(whole))
        site.whole = json.loads(note.read_text())
        site.end_leftovers()
        if not site.is_whole():  # the campaign was ended in the middle of a fault
            site.restore()
        site.stages = list(site._stages())
        site.asked = site._asked()
        return site

    def _make(self, changes: Mapping[str, Any]) -> None:
        roles = ("teacher", "referee", "generator")
        asked = {f"{role}.base_url": self.teacher.url for role in roles}
        asked |= {f"{role}.api_key_env": None for role in roles}
        Project.of_working_tree(self.project.root, "ci")
        folder = self.project.root / "inputs" / "bbh"
        folder.mkdir()
        document = {"canary": "x", "examples": _ITEMS}
        (folder / "movie_recommendation.json").write_text(json.dumps(document))
        self.project.edit({**_CHANGES, **asked, **changes})
        self.project.commit()
        run = self.project.repro(*self.target)
        if run.code:
            sys.exit(f"the undisturbed run failed:\n{run.output[-3000:]}")

    def restore(self) -> None:
        """Put the undisturbed project back, after a fault that was not survived."""
        self.end_leftovers()
        shutil.rmtree(self.project.root)
        shutil.copytree(
            self.project.root.with_suffix(".pristine"), self.project.root, symlinks=True
        )

    def processes(self) -> list[psutil.Process]:
        """Return what runs in the project: the orphans of a fault, or of a killed campaign."""
        root = str(self.project.root)
        return [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == root]

    def end_leftovers(self) -> None:
        """End what still runs there."""
        ended = self.processes()
        for process in ended:
            process.kill()
        psutil.wait_procs(ended, timeout=10)

    def _stages(self) -> Iterator[Stage]:
        for name, body in self.lock()["stages"].items():
            *_, module, key = body["cmd"].split()
            yield Stage(name, module, key)

    def _asked(self) -> dict[str, int]:
        """Return how many requests each stage asked, by its recorded name."""
        ledger = self.project.root.with_suffix(".pristine") / ".lion" / "ledger.sqlite"
        with closing(sqlite3.connect(ledger)) as connection:
            query = "SELECT stage, count(DISTINCT key) FROM calls GROUP BY stage"
            return dict(connection.execute(query))

    def lock(self) -> dict[str, Any]:
        """Return dvc.lock, parsed."""
        return parsed(self.project.root / "dvc.lock")

    def pristine_lock(self) -> dict[str, Any]:
        """Return the dvc.lock of the undisturbed run."""
        return parsed(self.project.root.with_suffix(".pristine") / "dvc.lock")

    def write_lock(self, lock: Mapping[str, Any]) -> None:
        """Write dvc.lock."""
        text = yaml.dump(lock, Dumper=yaml.CSafeDumper, sort_keys=False)
        (self.project.root / "dvc.lock").write_text(text, encoding="utf-8")

    def is_cut_off(self) -> bool:
        """Tell whether a killed dvc left a dvc.lock or a list of paths that cannot be read."""
        in_use = self.project.root / ".dvc" / "tmp" / "rwlock"
        try:
            json.loads(in_use.read_bytes() if in_use.exists() else b"{}")
            return "stages" not in self.lock()
        except (TypeError, ValueError, yaml.YAMLError):
            return True

    def mend_lock(self) -> None:
        """Do what `lion run` begins with, and no more."""
        environment = self.project.environment()
        code = "from lion.pipeline import dvc_project; dvc_project.mend_lock(); "
        code += "dvc_project.remove_cut_off_rwlock()"
        subprocess.run(
            [sys.executable, "-c", code], cwd=self.project.root, env=environment, check=True
        )

    def mend(self) -> bool:
        """Do what `lion check` names where dvc.lock is cut off; tell whether it ended well."""
        return self.project.run("lion.cli", "run", *self.target).code == 0

    # --- what is compared

    def state(self) -> dict[str, Any]:
        """Return all that must be the same again: outputs as DVC has them, files, replies."""
        root = self.project.root
        with closing(sqlite3.connect(root / ".lion" / "ledger.sqlite", timeout=60)) as connection:
            rows = connection.execute("SELECT key, reply FROM replies").fetchall()
        replies = {key.hex(): hashlib.sha256(reply).hexdigest() for key, reply in rows}
        return {"outs": self.project.outs(), "files": self.files(), "replies": replies}

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of every file where outputs lie."""
        root = self.project.root
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in _OUTPUTS
            for path in sorted((root / folder).rglob("*"))
            if path.is_file() and path.name != ".gitignore"
        }

    def differences(self) -> list[str]:
        """Name what differs from the undisturbed run; stale temporary files are differences."""
        now = self.state()
        return [
            f"{part}: {name}"
            for part in ("outs", "files", "replies")
            for name in sorted(now[part] | self.whole[part])
            if now[part].get(name) != self.whole[part].get(name)
        ]

    def is_whole(self) -> bool:
        """Tell whether nothing differs from the undisturbed run."""
        try:
            return not self.differences()
        except (OSError, KeyError, TypeError, sqlite3.Error):
            return False

    def lost(self) -> int:
        """Count the replies of the undisturbed run that the ledger has not, or has otherwise."""
        now = self.state()["replies"]
        return sum(now.get(key) != reply for key, reply in self.whole["replies"].items())

    # --- before a fault

    def forget(self, stage: Stage) -> None:
        """Make as if `stage` had never run."""
        root = self.project.root
        lock = self.lock()
        lock["stages"].pop(stage.name, None)  # it is not there where an orphan kept dvc from it
        others = {out["md5"] for body in lock["stages"].values() for out in body.get("outs", [])}
        for out in self.pristine_lock()["stages"][stage.name]["outs"]:
            _remove(root / out["path"])
            if out["md5"] not in others:
                _remove(root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:])
        self.write_lock(lock)
        _remove(root / ".dvc" / "cache" / "runs")
        with closing(sqlite3.connect(root / ".lion" / "ledger.sqlite", timeout=60)) as connection:
            query = "DELETE FROM replies WHERE key IN (SELECT key FROM calls WHERE stage = ?)"
            connection.execute(query, (stage.recorded,))
            connection.commit()

    # --- running it

    @contextmanager
    def repro(self, *arguments: str, prefix: tuple[str, ...] = ()) -> Iterator[Repro]:
        """Start `dvc repro` in a process group of its own; everything of it is ended after."""
        log = self.project.root.with_suffix(".log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "dvc", "repro", *(arguments or self.target)],
                cwd=self.project.root,
                env=self.project.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            running = Repro(psutil.Process(process.pid), process, log)
            try:
                yield running
            finally:
                process.kill()
                process.wait()


@dataclass(slots=True)
class Repro:
    """A running `dvc repro`."""

    dvc: psutil.Process
    process: subprocess.Popen[bytes]
    log: Path

    def stage(self, stage: Stage) -> psutil.Process | None:
        """Wait for the process of `stage`; None where dvc ends before."""
        found: list[psutil.Process] = []

        def started_or_ended() -> bool:
            process = descendant(self.dvc, stage.module, stage.key)
            found.extend([process] if process else [])
            return process is not None or self.process.poll() is not None

        wait_until(started_or_ended, f"dvc starts {stage.name}", timeout=_LONGEST, interval=_POLL)
        return found[0] if found else None

    def wait(self, seconds: float = 300.0) -> int:
        """Return how it ended. Raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def parsed(path: Path) -> dict[str, Any]:
    """Return a YAML file, parsed."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return document


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


__all__ = [
    "BUSY",
    "CUT_OFF",
    "IN_FLIGHT",
    "ROOT",
    "Repro",
    "Site",
    "Stage",
    "parsed",
    "teaching",
]
