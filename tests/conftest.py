"""What several test modules share: one tiny project, run once by `dvc repro`."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pipeline
import pytest
from fixtures import (  # noqa: F401 - pytest finds fixtures by name
    _scrubbed,
    chat_server,
    configure,
    document,
    settings,
    workplace,
)


@dataclass(frozen=True)
class Finished:
    """A project whose pipeline ran, what the first `dvc repro` did, and what a second one did."""

    project: pipeline.Project
    run: pipeline.Run
    replies: int
    again: pipeline.Run


@pytest.fixture(scope="session")
def workers() -> Iterator[ThreadPoolExecutor]:
    """Yield two threads: pipelines of one thread each run side by side on two cores."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Project:
    """Return a committed tiny project that is not run yet; only `finishing` runs it."""
    return pipeline.tiny(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture(scope="session")
def finishing(tiny_project: pipeline.Project, workers: ThreadPoolExecutor) -> "Future[Finished]":
    """Start the run, so that others may start beside it."""
    return workers.submit(_finish, tiny_project)


@pytest.fixture(scope="session")
def finished(finishing: "Future[Finished]") -> Finished:
    """Return the finished project; tests that change it work on a copy."""
    return finishing.result()


def _finish(project: pipeline.Project) -> Finished:
    run = project.repro()
    assert run.code == 0, run.output
    replies = project.replies()
    return Finished(project, run, replies, project.repro())
