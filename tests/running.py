"""Pipelines that run beside the other tests: two at a time, from the session's first moment.

A whole run takes half a minute of one core, most of it imports, so the runs that tests ask for are
started before any test, and the tests that wait for them come last. Each runs once for all workers
of pytest-xdist. conftest.py offers the fixtures to every file.
"""

import gc
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pipeline
import pytest
from filelock import FileLock
from pipeline import Project, Run
from polling import is_alive, wait_until

T = TypeVar("T")

PAID_BEFORE_THE_KILL = 20  # replies


@dataclass(frozen=True)
class Finished:
    """A project whose pipeline ran, what the first `dvc repro` did, and what a second one did."""

    project: Project
    run: Run
    replies: int
    again: Run


@dataclass(frozen=True)
class Changed:
    """A copy of the finished project that was changed and run again."""

    project: Project
    run: Run


@dataclass(frozen=True)
class Killed(Changed):
    """A clone whose first run was killed; `code` is how that run ended, `paid` what it had."""

    code: int
    paid: int


def _added(project: Project) -> None:
    project.append_iteration("2", "1")


def _branched(project: Project) -> None:
    project.append_iteration("1b", "0", "{learning_rate: 0.001}")


def _prompted(project: Project) -> None:
    """Edit the referee's prompt so that it finds all answers alike: nothing is hard any more."""
    path = project.root / "prompts" / "referee" / "user.txt"
    text = path.read_text(encoding="utf-8")
    assert "\n$question\n" in text
    path.write_text(text.replace("\n$question\n", "\nIt says:\n$question\n"), encoding="utf-8")
    project.append_iteration("2", "1")


def _slower(project: Project) -> None:
    project.edit({"iterations.1.tune": {"learning_rate": 0.001}})


def _graded(project: Project) -> None:
    """Give evaluation a referee of its own: the embedded one, by another name."""
    same = {"base_url": "embedded", "api_key_env": None, "send_seed": True, "form": "text"}
    judge = {**same, "model": "oracle-1", "request": {"temperature": 1.0, "max_tokens": 512}}
    project.edit({"evaluate.referee": judge, "evaluate.samples": 2})


def _ranked(project: Project) -> None:
    """Let the student's likelihood judge, and choose by it what is replayed."""
    tune = {"replay_choice": "forgotten"}
    project.edit({"review.judge": "likelihood", "iterations.1.tune": tune})


def _compared(project: Project) -> None:
    """Declare both baselines of iteration 1, and keep what the plan says of them."""
    lines = {
        f"{name}-1": {"previous": "0", "like": "1", "rows": rows}
        for name, rows in (("given", "given"), ("one-way", "uniform"))
    }
    project.edit({"baselines": lines})
    plan = project.run("lion.cli", "plan", "--json").output
    (project.root / "plan.json").write_text(plan, encoding="utf-8")


EDITS = {
    "added": _added,
    "slower": _slower,
}


PIPELINES = (
    "finishing",
    "killing",
    "changing",
    "branching",
    "grading",
    "ranking",
    "prompting",
    "comparing",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that wait for a pipeline come last, in the order in which pipelines end."""

    def last(item: pytest.Item) -> int:
        names = getattr(item, "fixturenames", ())
        return max((PIPELINES.index(name) + 1 for name in names if name in PIPELINES), default=0)

    items.sort(key=last)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected, a million objects, out of every later collection."""
    gc.freeze()
    gc.enable()  # environment.py disables it


@pytest.fixture(scope="session", autouse=True)
def _start_at_once(request: pytest.FixtureRequest) -> None:
    """Start what the collected tests will ask for."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in PIPELINES:
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Yield two threads: pipelines of one thread each run side by side on two cores."""
    pool = ThreadPoolExecutor(2)
    yield pool
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this test run, which all its workers (pytest-xdist) share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "common"
    folder.mkdir(exist_ok=True)
    return folder


def once(folder: Path, make: Callable[[], T]) -> T:
    """Return what `make` returns: the first worker that asks makes it, the others wait for it.

    `folder` is for `make` to fill; the result is kept beside it.
    """
    kept = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            kept.write_bytes(pickle.dumps(make()))
        result: T = pickle.loads(kept.read_bytes())
        return result


@pytest.fixture(scope="session")
def tiny_project(common: Path) -> Project:
    """Return a committed tiny project, which is cloned and never run."""
    folder = common / "tiny"
    return once(folder, lambda: pipeline.tiny(folder / "project"))


@pytest.fixture(scope="session")
def finishing(
    tiny_project: Project, common: Path, threads: ThreadPoolExecutor
) -> "Future[Finished]":
    """Start the first run, in a clone."""
    folder = common / "finished"
    return threads.submit(once, folder, lambda: _finish(tiny_project.clone(folder / "project")))


@pytest.fixture(scope="session")
def finished(finishing: "Future[Finished]") -> Finished:
    """Return the finished project; tests that change it work on a copy."""
    return finishing.result()


@pytest.fixture(scope="session")
def killing(tiny_project: Project, common: Path, threads: ThreadPoolExecutor) -> "Future[Killed]":
    """Start a second clone, whose stages are killed twice."""
    folder = common / "killed"
    return threads.submit(
        once, folder, lambda: _kill_and_rerun(tiny_project.clone(folder / "project"))
    )


@pytest.fixture(scope="session")
def changing(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "dict[str, Future[Changed]]":
    """Queue every change, each on a copy of the finished project."""
    return {name: _queue(finishing, common / name, threads, edit) for name, edit in EDITS.items()}


@pytest.fixture(scope="session")
def branching(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "Future[Changed]":
    """Queue a branch of the first iteration."""
    return _queue(finishing, common / "branched", threads, _branched)


@pytest.fixture(scope="session")
def grading(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "Future[Changed]":
    """Queue another referee of evaluation."""
    return _queue(finishing, common / "graded", threads, _graded)


@pytest.fixture(scope="session")
def ranking(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "Future[Changed]":
    """Queue the likelihood as judge."""
    return _queue(finishing, common / "ranked", threads, _ranked)


@pytest.fixture(scope="session")
def comparing(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "Future[Changed]":
    """Queue both baselines."""
    return _queue(finishing, common / "compared", threads, _compared)


@pytest.fixture(scope="session")
def prompting(
    finishing: "Future[Finished]", common: Path, threads: ThreadPoolExecutor
) -> "Future[Changed]":
    """Queue another prompt of the referee, under which the loop stops."""
    return _queue(finishing, common / "prompted", threads, _prompted)


def _queue(
    finishing: "Future[Finished]",
    folder: Path,
    threads: ThreadPoolExecutor,
    edit: Callable[[Project], None],
) -> "Future[Changed]":
    def make() -> Changed:
        return _change_and_run(finishing.result().project, folder / "project", edit)

    return threads.submit(once, folder, make)


def _finish(project: Project) -> Finished:
    run = project.repro()
    assert run.code == 0, run.output
    replies = project.replies()
    return Finished(project, run, replies, project.repro())


def _change_and_run(finished: Project, root: Path, edit: Callable[[Project], None]) -> Changed:
    project = finished.copy(root)
    edit(project)
    run = project.repro()
    assert run.code == 0, run.output
    return Changed(project, run)


def _kill_and_rerun(project: Project) -> Killed:
    # no stage declares these: slower, and the same outputs
    project.edit({"api.concurrency": 2, "hardware.save_every": 1})
    code = _kill(project, "stages.teach", lambda: project.replies() >= PAID_BEFORE_THE_KILL)
    paid = project.replies()
    _kill(project, "stages.tune", lambda: len(project.states("tune@0")) > 0)
    return Killed(project, project.repro(), code, paid)


def _kill(project: Project, module: str, ripe: Callable[[], bool]) -> int:
    """Kill a stage of iteration 0 with -9 once it is `ripe`; return how DVC ended."""
    with project.repro_in_background() as dvc:
        stage = pipeline.stage_process(dvc, module, "0")

        def ripe_and_running() -> bool:
            assert is_alive(stage), "the stage ended before it could be killed"
            return ripe()

        wait_until(ripe_and_running, f"{module} comes so far", interval=0.005)
        stage.kill()
        return dvc.wait(60)
