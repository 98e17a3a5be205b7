"""The frame that every stage runs in: arguments, lock, settings, progress, record, errors.

A stage is a function from its `Work` to one closing sentence; what it reads and writes stands in
its own file under `stages/`.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from lion import console, jsonl, lockfile, project, written
from lion.errors import BusyError, DataError, LionError, SettingsError, TooManyDroppedError
from lion.records import Dropped, Row, Tally
from lion.settings import ITERATION_NAME, Endpoint, Settings

if TYPE_CHECKING:
    from lion.asking.api import Asker

_WAY_BACK = (
    "DVC removed this stage's outputs before it ran; `dvc checkout` brings the last ones back. "
    "`lion check` looks for such things before anything is removed."
)


@dataclass(slots=True)
class Work:
    """One run of one stage: its iteration ("0" is the base), settings, and where things lie."""

    stage: str
    iteration: str
    settings: Settings
    happened: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stage as DVC calls it, as `teach@1`."""
        return f"{self.stage}@{self.iteration}"

    @property
    def previous(self) -> str:
        """The iteration before this one."""
        return self.settings.iterations[self.iteration].previous

    @property
    def depth(self) -> int:
        """How many iterations lie between this one and the base."""
        return self.settings.depth(self.iteration)

    def data(self, name: str) -> Path:
        """Return the path of an artifact of this iteration."""
        return project.data(self.iteration, name)

    def before(self, name: str) -> Path:
        """Return the path of an artifact of the iteration before."""
        return project.data(self.previous, name)

    def write_metrics(self, document: Row) -> None:
        """Write this stage's metrics: functions of its inputs alone."""
        jsonl.write_document(project.metrics(self.iteration, self.stage), document)

    def write_dropped(self, dropped: Sequence[Dropped]) -> None:
        """Write the rows that this stage dropped, with their reasons, and their number.

        The number makes no file empty: DVC warns of each empty one.
        """
        path = self.data(f"dropped.{self.stage}.jsonl")
        jsonl.write(path, [*dropped, Tally(self.stage, len(dropped))])

    @contextmanager
    def asker(self, role: str, endpoint: Endpoint) -> Iterator[Asker]:
        """Yield an asker of `endpoint` with a progress bar; record what it did."""
        self.check()
        from lion.asking.api import (
            Asker,  # brings the HTTP client, which half of the stages do not need
        )
        from lion.asking.ledger import Ledger, cap
        from lion.asking.pricing import Prices

        settings = self.settings
        with (
            Ledger(project.ledger()) as ledger,
            console.progress(f"{self.stage}@{self.iteration}: {role}") as update,
            Asker(
                endpoint,
                settings.api,
                ledger,
                settings.random_seed,
                progress=update,
                stage=f"{self.stage}@{self.iteration}",
                prices=Prices.load(project.PRICES),
                cap=cap(settings.budget),
                mode=getattr(settings.api.mode, role, "live"),  # a served student has no Batch API
            ) as asker,
        ):
            try:
                yield asker
            finally:
                self.happened[role] = asker.account.happened()

    def check(self, *, ask_hub: bool = False) -> None:
        """Raise SettingsError with all that would stop the run, before anything is spent.

        So that a bare `dvc repro`, too, pays for nothing that a later stage cannot use. The hub is
        asked where the base student is looked up, and not again by every stage after that.
        """
        from lion.checks import offline

        offline.refuse(offline.without_keys(self.settings, ask_hub=ask_hub))


def allowed_failures(share: float, count: int) -> int:
    """Return how many of `count` rows may fail."""
    return int(share * count + 1e-9)  # 0.29 * 100 is a little less than 29


def check_dropped(dropped: Sequence[Dropped], share: float, count: int, parameter: str) -> None:
    """Raise TooManyDroppedError where more than `share` of `count` rows were dropped."""
    if len(dropped) > allowed_failures(share, count):
        reasons = Counter(row.reason for row in dropped).most_common()
        told = ", ".join(f"{reason} {number}" for reason, number in reasons)
        example = dropped[0].detail or dropped[0].text or ""
        raise TooManyDroppedError(
            f"{len(dropped)} of {count} rows dropped ({told}), {parameter} = {share:g} allows "
            f"{allowed_failures(share, count)}; the first: {dropped[0].id}: {example[:200]}. "
            f"Mend the cause or raise {parameter}; every reply is kept, so running again is free."
        )


def main(stage: str, run: Callable[[Work], str]) -> None:
    """Run a stage as a process: `python -m stages... ITERATION`."""
    with console.error_boundary(_WAY_BACK):
        work = _work(stage)
        name = work.name
        with _alone(name), _recorded(work, project.run_record(name)):
            lockfile.keep()
            written.forget()
            sentence = run(work)
            _refuse_changed(name)
            shutil.rmtree(project.kept_answers(name), ignore_errors=True)
        console.say(f"{name}: {sentence}")


def _refuse_changed(name: str) -> None:
    written.keep_dvc_out(lambda: console.say(f"{name}: done; waiting for another `dvc` to end"))
    changed = written.changed()
    if changed:
        raise DataError(
            f"{', '.join(map(str, changed))}: changed while {name} ran, by `dvc checkout` perhaps. "
            "Run `dvc repro` again, and nothing else meanwhile."
        )


@contextmanager
def _recorded(work: Work, path: Path) -> Iterator[None]:
    """Write what really happened, whether or not the stage finishes.

    A run that goes on where an unfinished one stopped counts what that one did, too.
    """
    before: Row = jsonl.read_document(path) if path.exists() else {"finished": True}
    started, code = time.monotonic(), 1
    try:
        yield
        code = 0
    except LionError as error:
        code = error.exit_code
        raise
    finally:
        seconds, asked = round(time.monotonic() - started, 3), dict(work.happened)
        if not before.get("finished", True):
            seconds += before["seconds"]
            asked = {
                role: _added(before["asked"].get(role, {}), asked.get(role, {}))
                for role in (before["asked"] | asked)
            }
        document = {"finished": not code, "exit_code": code, "seconds": seconds, "asked": asked}
        jsonl.write_document(path, document)


def _added(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Add up; latencies and what the inputs need are those of the later run."""
    latest = ("needed", "p50", "p90", "p99")
    return {
        name: now.get(name, before.get(name, 0))
        if name in latest
        else before.get(name, 0) + now.get(name, 0)
        for name in before | now
    }


def _work(stage: str) -> Work:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if not ITERATION_NAME.match(name):
        raise SettingsError(f"usage: python -m {_module()} ITERATION; found {sys.argv[1:]}")
    settings = project.load_settings()
    if name != project.BASE and name not in settings.iterations:
        raise SettingsError(
            f"there is no iteration {name}; params.yaml has 0 (the base), "
            f"{', '.join(settings.iterations)}"
        )
    return Work(stage, name, settings)


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else sys.argv[0]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold the stage's lock: after `kill -9` of dvc its stage runs on, and two must not write."""
    path = project.lock(name.replace("/", "_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"{name} runs already in another process (an orphan of a killed dvc?). "
            f"Wait for it or end it; the lock is {path}."
        ) from error
    try:
        yield
    finally:
        lock.release()
