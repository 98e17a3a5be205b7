"""Pipelines that run beside the other tests: two at a time, from the session's first moment.

A whole run takes a minute of one core, most of it the imports of transformers, so the runs that
tests ask for are started before any test, and each test waits for its own. conftest.py offers the
fixtures to every file.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pipeline
import pytest
from pipeline import Project, Run
from polling import is_alive, wait_until

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


EDITS = {
    "added": _added,
    "slower": _slower,
}


@pytest.fixture(scope="session", autouse=True)
def _start_at_once(request: pytest.FixtureRequest) -> None:
    """Start what the collected tests will ask for."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in ("finishing", "killing", "changing", "branching", "prompting"):
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture(scope="session")
def workers() -> Iterator[ThreadPoolExecutor]:
    """Yield two threads: pipelines of one thread each run side by side on two cores."""
    pool = ThreadPoolExecutor(2)
    yield pool
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a committed tiny project that is not run yet; only `finishing` runs it."""
    return pipeline.tiny(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture(scope="session")
def finishing(tiny_project: Project, workers: ThreadPoolExecutor) -> "Future[Finished]":
    """Start the first run."""
    return workers.submit(_finish, tiny_project)


@pytest.fixture(scope="session")
def finished(finishing: "Future[Finished]") -> Finished:
    """Return the finished project; tests that change it work on a copy."""
    return finishing.result()


@pytest.fixture(scope="session")
def killing(tiny_project: Project, workers: ThreadPoolExecutor) -> "Future[Killed]":
    """Start a second clone, which is killed once."""
    clone = tiny_project.clone(tiny_project.root.with_name("clone"))
    return workers.submit(_kill_and_rerun, clone)


@pytest.fixture(scope="session")
def changing(
    finishing: "Future[Finished]",
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> "dict[str, Future[Changed]]":
    """Queue every change, each on a copy of the finished project."""
    folder = tmp_path_factory.mktemp("changed")
    return {
        name: workers.submit(_change_and_run, finishing, folder / name, edit)
        for name, edit in EDITS.items()
    }


@pytest.fixture(scope="session")
def branching(
    finishing: "Future[Finished]",
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> "Future[Changed]":
    """Queue a branch of the first iteration."""
    root = tmp_path_factory.mktemp("branched") / "project"
    return workers.submit(_change_and_run, finishing, root, _branched)


@pytest.fixture(scope="session")
def prompting(
    finishing: "Future[Finished]",
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> "Future[Changed]":
    """Queue another prompt of the referee, under which the loop stops."""
    root = tmp_path_factory.mktemp("prompted") / "project"
    return workers.submit(_change_and_run, finishing, root, _prompted)


def _finish(project: Project) -> Finished:
    run = project.repro()
    assert run.code == 0, run.output
    replies = project.replies()
    return Finished(project, run, replies, project.repro())


def _change_and_run(
    finishing: "Future[Finished]", root: Path, edit: Callable[[Project], None]
) -> Changed:
    project = finishing.result().project.copy(root)
    edit(project)
    run = project.repro()
    assert run.code == 0, run.output
    return Changed(project, run)


def _kill_and_rerun(project: Project) -> Killed:
    # no stage declares these: slower, and the same outputs
    project.edit({"api.concurrency": 2, "hardware.save_every": 1})
    code = _kill(
        project, "stages.imitation.teach", lambda: project.replies() >= PAID_BEFORE_THE_KILL
    )
    paid = project.replies()
    _kill(project, "stages.imitation.tune", lambda: len(project.states("tune@0")) > 0)
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
