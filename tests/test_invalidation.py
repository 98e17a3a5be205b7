"""What a change of the code reruns: the stages that declare its folder, and no other."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from pipeline import Project
from running import Finished
from test_contract import RUNTIME

ROOT = Path(__file__).parents[1]
DECIDING: Mapping[str, set[str]] = {
    "lion/certify": set(),  # certify is optional
    "lion/conversations.py": {
        "seed", "teach", "review", "evaluate", "generate", "tune", "respond"
    },
    "lion/discrimination": {"teach", "review", "split", "evaluate"},
    "lion/evaluation": {"evaluate"},
    "lion/generation": {"seed", "generate"},
    "lion/generation/teach.py": {"seed", "generate", "teach"},
    "lion/inference": {"respond", "evaluate"},
    "lion/inference/answer_schema.py": {"respond", "evaluate"},
    "lion/iterations.py": {"report"},
    "lion/pools.py": {
        "seed", "teach", "tune", "evaluate", "respond", "review", "split", "generate"
    },
    "lion/prompting": {"teach", "evaluate", "review", "generate"},
    "lion/prompting/protocol.py": {"teach", "evaluate", "review", "generate", "respond"},
    "lion/prompting/replies.py": {"teach", "evaluate", "review", "generate", "respond"},
    "lion/prompting/reply_document.py": {"teach", "evaluate", "review", "generate", "respond"},
    "lion/prompting/reply_logprobs.py": {"teach", "evaluate", "review", "generate", "respond"},
    "lion/prompting/token_counts.py": {"teach", "evaluate", "review", "generate", "respond"},
    "lion/readers": {"seed"},
    "lion/simulator": {"seed"},
    "lion/statistics.py": {"evaluate", "review", "split"},
    "lion/student": {"seed", "tune", "evaluate", "respond"},
    "lion/training": {"tune"},
    "lion/words.py": {"seed", "generate"},
}  # fmt: skip
"""What is changed -> the kinds of stages that are stale by it, in a default pipeline."""


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of a finished project, up to date."""
    return finished.project.copy(tmp_path_factory.mktemp("changed") / "project")


def stale(project: Project, *places: str) -> set[str]:
    """Return the kinds of stages that a comment in a file at each place makes stale."""
    roots = [project.root / place for place in places]
    paths = [root if root.is_file() else sorted(root.glob("[a-z]*.py"))[0] for root in roots]
    before = [path.read_bytes() for path in paths]
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content + b"\n# a comment\n")
    try:
        with Repo(str(project.root)) as repo:
            changed = repo.status()
    finally:
        for path, content in zip(paths, before, strict=True):
            path.write_bytes(content)
    return {
        name.rpartition(":")[2].removeprefix("base-").partition("@")[0]
        for name, reasons in changed.items()
        if any("changed deps" in reason for reason in reasons if isinstance(reason, dict))
    }


def test_what_only_runs_or_shows_a_stage_reruns_none(project: Project) -> None:
    assert stale(project, *RUNTIME) == set()


@pytest.mark.parametrize("place", DECIDING)
def test_what_decides_an_output_reruns_the_stages_that_declare_it(
    project: Project, place: str
) -> None:
    assert stale(project, place) == DECIDING[place]


def test_every_part_of_the_code_is_of_one_of_the_two() -> None:
    parts = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "lion").iterdir()
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    }
    assert parts == {place for place in {*RUNTIME, *DECIDING} if place.count("/") == 1}
    declared = {
        dep
        for body in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
        for dep in body.get("do", body)["deps"]
        if dep.startswith("lion")
    }
    assert declared == set(DECIDING)
