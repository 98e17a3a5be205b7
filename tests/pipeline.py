"""A real project in a folder of its own: cloned, tiny, run by a real `dvc repro`.

Tests and `bench/pipeline.py` start here. Nothing is replaced: DVC runs the stages as processes, and
they ask the embedded teacher over a socket. Claims nothing itself.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from polling import wait_until

from lion.metrics import files
from lion.metrics.files import M, RunRecord

ROOT = Path(__file__).parents[1]
BASE_STAGES = ("seed", "base-teach", "base-tune", "base-evaluate")
LOOP_STAGES = ("respond", "review", "split", "generate", "teach", "tune", "evaluate")

TINY: Mapping[str, Any] = {
    "seed.size": 300,
    "exam.size": 60,
    "respond.limit": 60,
    "split.tau": 7.0,  # the student is hardly trained: at 1.0 everything would be hard
    "generate.hard": 12,
    "generate.easy": 6,
    "generate.requests_per_round": 16,
    "tune.steps": 6,
    "base.tune.steps": 10,
    "evaluate.quality": 10,
    "evaluate.resamples": 50,
}
"""What makes the profile `ci` still smaller."""

_RUNNING = re.compile(r"^Running stage '([^']+)':", re.MULTILINE)
_SCRUBBED = ("OPENAI_", "DVC_", "GIT_", "HF_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
_LONGEST = 600.0  # seconds that the stages before one may take


def loop(key: str) -> list[str]:
    """Return the names of an iteration's stages, in an order that respects the graph."""
    return [f"{stage}@{key}" for stage in LOOP_STAGES]


@dataclass(frozen=True, slots=True)
class Run:
    """What one `dvc` command did."""

    code: int
    output: str
    seconds: float

    @property
    def stages(self) -> list[str]:
        """The stages whose commands ran, in their order."""
        return _RUNNING.findall(self.output)


@dataclass(frozen=True, slots=True)
class Project:
    """A project folder with its own git, DVC cache and ledger; `threads` None: torch decides."""

    root: Path
    threads: int | None = 1

    # --- making one

    @classmethod
    def of_working_tree(cls, root: Path, profile: str, threads: int | None = 1) -> "Project":
        """Copy what git tracks or would track of this working tree, as it is now; commit it."""
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            # the lock of a run in this checkout is not part of the code
            if (ROOT / name).is_file() and name != "dvc.lock":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        shutil.copy2(ROOT / "profiles" / f"{profile}.yaml", root / "params.yaml")
        project = cls(root, threads)
        project.git("init", "--quiet")
        return project

    def commit(self) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "as the test wants it")

    def clone(self, root: Path) -> "Project":
        """Return a fresh `git clone`: the last commit, no cache, no ledger, no outputs."""
        subprocess.run(
            ["git", "clone", "--quiet", self.root, root], check=True, env=self._git_env()
        )
        return Project(root, self.threads)

    def copy(self, root: Path) -> "Project":
        """Return a copy of everything: outputs, DVC's cache and `.lion/` too."""
        passing = str(self.root / ".dvc" / "tmp")  # files of commands that run there just now
        shutil.copytree(
            self.root,
            root,
            symlinks=True,
            ignore=lambda at, names: names if at == passing else [],
        )
        return Project(root, self.threads)

    # --- changing it

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Set parameters by their dotted names; comments are lost."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            *parents, last = name.split(".")
            section = document
            for parent in parents:
                section = section[parent]
            section[last] = value
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def append_iteration(self, key: str, previous: str, tune: str = "{}") -> None:
        """Add one line at the end of params.yaml, where `iterations` stands."""
        with (self.root / "params.yaml").open("a", encoding="utf-8") as file:
            file.write(f'  "{key}": {{previous: "{previous}", generate: {{}}, tune: {tune}}}\n')

    # --- running it

    def repro(self, *arguments: str) -> Run:
        """Run `dvc repro` to its end."""
        return self.dvc("repro", *arguments)

    def dvc(self, *arguments: str) -> Run:
        """Run a DVC command to its end."""
        return self.run("dvc", *arguments)

    def run(self, module: str, *arguments: str) -> Run:
        """Run `python -m module` to its end."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout, time.monotonic() - started)

    @contextmanager
    def repro_in_background(self) -> Iterator["subprocess.Popen[str]"]:
        """Yield a running `dvc repro`; it is ended with the block."""
        command = [sys.executable, "-m", "dvc", "repro"]
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def environment(self) -> dict[str, str]:
        """Return a scrubbed environment in which `python` is the one that runs this."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_SCRUBBED)}
        folder = str(Path(sys.executable).parent)
        threads = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {
            **kept,
            **threads,
            "PATH": os.pathsep.join([folder, kept.get("PATH", "")]),
            "HF_HUB_OFFLINE": "1",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / f"{self.root.name}.site"),
        }

    def git(self, *arguments: str) -> str:
        """Run git there, as nobody in particular."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=self._git_env(),
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    def _git_env(self) -> dict[str, str]:
        names = {"NAME": "A tester", "EMAIL": "tester@example.invalid"}
        whose = {
            f"GIT_{who}_{key}": value
            for who in ("AUTHOR", "COMMITTER")
            for key, value in names.items()
        }
        quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return {**self.environment(), **whose, **quiet}

    # --- looking at it

    def settings(self) -> dict[str, Any]:
        """Return params.yaml, parsed."""
        document: dict[str, Any] = yaml.safe_load(
            (self.root / "params.yaml").read_text(encoding="utf-8")
        )
        return document

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a JSONL file under data/."""
        # not splitlines: U+2028 and its kind stand in texts as they are
        lines = (self.root / "data" / name).read_bytes().split(b"\n")
        rows = [json.loads(line) for line in lines if line]
        return [] if rows and rows[0].get("rows") == 0 else rows  # `NoRows`

    def metrics(self, key: str, kind: type[M]) -> M:
        """Return metrics of an iteration."""
        return files.read_metrics(self.root / "metrics" / key / f"{kind.FILE}.json", kind)

    def record(self, stage: str) -> RunRecord:
        """Return what really happened in the last run of a stage such as `teach@0`."""
        return files.read_metrics(self.root / ".lion" / "runs" / f"{stage}.json", RunRecord)

    def calls(self, stage: str) -> int:
        """Return how often the last run of a stage called an endpoint."""
        return sum(asked.calls for asked in self.record(stage).asked.values())

    def outs(self) -> dict[str, str]:
        """Return the MD5 of every output, as dvc.lock has it."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))
        return {
            out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
        }

    def states(self, stage: str) -> list[Path]:
        """Return the complete states that a killed stage such as `tune@0` could go on from."""
        return list((self.root / ".lion" / "unfinished" / stage).glob("*/*/complete.json"))

    def replies(self) -> int:
        """Return how many replies the ledger holds; 0 where there is none yet."""
        return self._count("replies")

    def failures(self) -> int:
        """Return how many failed calls the ledger tells of."""
        return self._count("calls WHERE outcome != 'answered'")

    def requests(self) -> set[bytes]:
        """Return the keys of all requests that were answered."""
        with closing(sqlite3.connect(self._ledger())) as connection:
            return {key for (key,) in connection.execute("SELECT key FROM replies")}

    def _count(self, table: str) -> int:
        if not self._ledger().exists():
            return 0
        with closing(sqlite3.connect(self._ledger(), timeout=60)) as connection:
            try:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            except sqlite3.OperationalError:  # its tables are just being made
                return 0

    def _ledger(self) -> Path:
        return self.root / ".lion" / "ledger.sqlite"


def tiny(root: Path) -> Project:
    """Return a committed project small enough for a test, with the one iteration of `ci`."""
    project = Project.of_working_tree(root, "ci")
    project.edit(TINY)
    project.commit()
    return project


def stage_process(dvc: "subprocess.Popen[str]", module: str, key: str) -> psutil.Process:
    """Wait for the process of a stage that `dvc` starts and return it."""

    def started() -> psutil.Process | None:
        assert dvc.poll() is None, f"dvc ended (exit {dvc.returncode}) before {module} {key} ran"
        return descendant(psutil.Process(dvc.pid), module, key)

    return wait_until(started, f"dvc starts {module} {key}", timeout=_LONGEST, interval=0.05)


def descendant(dvc: psutil.Process, module: str, key: str) -> psutil.Process | None:
    """Return the process of a stage among those that `dvc` started; None where there is none."""
    with suppress(psutil.Error):  # one that ends while it is looked at
        for child in dvc.children(recursive=True):
            if child.cmdline()[-2:] == [module, key]:
                return child
    return None


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document
