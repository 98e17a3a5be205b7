"""The frame of every stage: arguments, lock, settings, progress, run record, errors.

A stage is a function from its `Work` to one closing sentence: it loads, calls a phase function, and
writes. What it reads and writes is in its file under `stages/`.
"""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from lion import console
from lion.certify import looks
from lion.config import project
from lion.config.settings import BASELINE_NAME, ITERATION_NAME, Baseline, Endpoint, Settings
from lion.errors import BusyError, DataError, InterruptedRunError, LionError, SettingsError
from lion.failure_limit import frequent_reason
from lion.llm.client import open_client
from lion.locks import held_by
from lion.metrics import files as metrics_files
from lion.metrics.certificates import CertificateMetrics
from lion.metrics.files import CallStats, RunRecord
from lion.metrics.units import Metrics
from lion.pipeline import dvc_project
from lion.pipeline.run_progress import RunOrder, recorded_seconds
from lion.prompting import templates
from lion.prompting.templates import PromptRole, Prompts
from lion.records import jsonl, output_marks
from lion.records.rows import Dropped, NoRows, Record, Row, Tally
from lion.stage_table import STAGES, Role

if TYPE_CHECKING:
    from lion.llm.protocols import Client

_WAY_BACK = (
    "DVC removed this stage's outputs before it ran; `dvc checkout` brings the last ones back. "
    "`lion check` looks for such things before anything is removed."
)


R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=Metrics)


class Disk:
    """The files of a stage, where DVC expects them."""

    def read(self, path: Path, kind: type[R]) -> list[R]:
        """Return the rows of a file. Raises DataError."""
        return jsonl.read(path, kind)

    def write(self, path: Path, rows: Sequence[Record]) -> None:
        """Write rows, one line each."""
        jsonl.write(path, rows)

    def read_document(self, path: Path) -> Row:
        """Return a JSON object. Raises DataError."""
        return jsonl.read_document(path)

    def write_document(self, path: Path, document: Row) -> None:
        """Write a JSON object."""
        jsonl.write_document(path, document)

    def read_metrics(self, path: Path, kind: type[M]) -> M:
        """Return a file of metrics. Raises DataError."""
        return metrics_files.read_metrics(path, kind)

    def write_metrics(self, path: Path, metrics: Metrics) -> None:
        """Write a file of metrics."""
        metrics_files.write_metrics(path, metrics)


@dataclass(slots=True)
class Work:
    """One run of one stage: its iteration ("0" is the base), settings and paths.

    `call_stats` counts the calls of its clients, by role; `warning` begins its closing sentence.
    """

    stage: str
    iteration: str
    settings: Settings
    files: Disk = field(default_factory=Disk)
    call_stats: dict[str, CallStats] = field(default_factory=dict)
    warning: str = ""

    @property
    def name(self) -> str:
        """The stage as DVC calls it, as `teach@1`."""
        return f"{self.stage}@{self.iteration}"

    @property
    def previous(self) -> str:
        """The iteration before this one."""
        return self.settings.previous(self.iteration)

    @property
    def baseline(self) -> Baseline | None:
        """What the line of a baseline says; None of an iteration."""
        return self.settings.baselines.get(self.iteration)

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

    def metrics(self, kind: type[M], iteration: str | None = None) -> M:
        """Return metrics of this iteration, or of another; `kind` is the file's struct.

        Raises DataError.
        """
        return self.files.read_metrics(
            project.metrics(iteration or self.iteration, kind.FILE), kind
        )

    def write_metrics(self, metrics: Metrics) -> None:
        """Write metrics of this iteration; they depend on the stage's inputs only."""
        self.files.write_metrics(project.metrics(self.iteration, metrics.FILE), metrics)

    def count_look(self, certificate: CertificateMetrics) -> int:
        """Note that a student was certified on its rows; return how many students were so far."""
        return looks.count_look(certificate)

    def write_rows(self, name: str, rows: Sequence[Record]) -> None:
        """Write the rows of an artifact of this iteration; `NoRows` where there are none."""
        self.files.write(self.data(name), rows or [NoRows(self.stage, 0)])

    def write_dropped(self, dropped: Sequence[Dropped], count: int) -> None:
        """Write the dropped rows, of `count` rows or calls, with their reasons, and their number.

        The number is a row of its own, so that no file is empty, as in `write_rows`.
        """
        path = self.data(f"dropped.{self.stage}.jsonl")
        self.files.write(path, [*dropped, Tally(self.stage, len(dropped))])
        self.warning = frequent_reason(dropped, count)

    def prompts(self, *roles: PromptRole, good: str | None = None) -> dict[PromptRole, Prompts]:
        """Return the prompts of `roles`; `good` is what a good answer is. Raises DataError."""
        return {role: templates.load(project.PROMPTS / role, role, good) for role in roles}

    @property
    def unfinished(self) -> Path:
        """The path of what a killed stage resumes from; removed when the stage ends well."""
        return project.unfinished(self.name)

    def progress(self) -> AbstractContextManager[console.Update]:
        """Return a progress bar of the student's responses."""
        return console.progress(f"{self.name}: student")

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator["Client"]:
        """Yield a client of `endpoint` with a progress bar; record what it did."""
        with open_client(self.settings, role, endpoint, self.name) as client:
            try:
                yield client
            finally:
                self.call_stats[role] = client.usage.call_stats()


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(stage: str, main: Callable[[Work], str]) -> None:
    """Run a stage as a process: `python -m stages.NAME ITERATION`."""
    signal.signal(signal.SIGTERM, _interrupt)  # a stage stops in order, as at Ctrl-C
    with console.error_boundary(_WAY_BACK):
        work = _work(stage)
        name = work.name
        with _alone(name), _recorded(work, project.run_record(name)):
            dvc_project.keep_lock()
            output_marks.forget_outputs()
            refuse_problems(work)
            _say_place(work)
            sentence = main(work)
            _refuse_changed(name)
            shutil.rmtree(project.unfinished(name), ignore_errors=True)
        console.say(f"{name}: {work.warning}{sentence}")


def _say_place(work: Work) -> None:
    """Say which stage of the run this is, under `lion run`."""
    order = RunOrder.of_environment()
    place = order and order.sentence(work.name, recorded_seconds(work.settings))
    if place:
        console.say(place)


def refuse_problems(work: Work) -> None:
    """Raise SettingsError with all problems of a run, before anything is spent.

    A bare `dvc repro` is checked, too. The hub is asked only by stages that look up the base
    student.
    """
    stage = STAGES[work.stage]
    if stage.asks or stage.looks_up_student:
        from lion.pipeline.checks import (
            offline,  # reads every file that params name; other stages need none
        )

        offline.refuse(offline.without_keys(work.settings, ask_hub=stage.looks_up_student))


def _refuse_changed(name: str) -> None:
    output_marks.keep_dvc_out(
        lambda: console.say(
            f"{name}: done; waiting for another `dvc` to end"
            f"{held_by(output_marks.DVC_LOCK)}: `dvc checkout`, `push` or `pull` perhaps"
        )
    )
    changed = output_marks.changed_outputs()
    if changed:
        raise DataError(
            f"{', '.join(map(str, changed))}: changed while {name} ran, by `dvc checkout` perhaps. "
            "Run `dvc repro` again, and nothing else meanwhile."
        )


@contextmanager
def _recorded(work: Work, path: Path) -> Iterator[None]:
    """Write the run record, whether or not the stage finishes.

    A resumed run adds the figures of the unfinished run before it.
    """
    before = metrics_files.read_if(path, RunRecord)
    started, code = time.monotonic(), 1
    try:
        yield
        code = 0
    except LionError as error:
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        code = InterruptedRunError.exit_code
        raise
    finally:
        seconds, happened = round(time.monotonic() - started, 3), dict(work.call_stats)
        if before is not None and not before.finished:
            seconds += before.seconds
            happened = before.asked | {
                role: now.add_earlier(before.asked[role]) if role in before.asked else now
                for role, now in happened.items()
            }
        metrics_files.write_metrics(path, RunRecord(not code, code, seconds, happened))


def _work(stage: str) -> Work:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if not (ITERATION_NAME.match(name) or BASELINE_NAME.match(name)):
        raise SettingsError(f"usage: python -m {_module()} ITERATION; found {sys.argv[1:]}")
    settings = project.load_settings()
    names = (project.BASE, *settings.iterations, *settings.baselines, *settings.curve_points)
    if name not in names:
        raise SettingsError(f"there is no iteration {name}; params.yaml has {', '.join(names)}")
    return Work(stage, name, settings)


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else sys.argv[0]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold the stage's lock: after `kill -9` of dvc the stage may still run in an orphan."""
    path = project.lock(name.replace("/", "_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"{name} runs already in another process{held_by(path)}, an orphan of a killed dvc "
            f"perhaps. Wait for it or end it; the lock is {path}."
        ) from error
    try:
        yield
    finally:
        lock.release()
