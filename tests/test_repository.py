"""git, DVC and the folder around a project: what DVC would refuse later is found by check."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pipeline import Project

from lion.cli import main
from lion.pipeline.checks.repository import repository_problems

# pygtrie warns DVC, not us
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def project(tiny_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a fresh clone in a path with spaces and accents, as the working folder."""
    clone = tiny_project.clone(tmp_path / "my team" / "pröject 1")
    monkeypatch.chdir(clone.root)
    for name, value in clone.environment().items():
        monkeypatch.setenv(name, value)
    return clone


@pytest.mark.usefixtures("project")
def test_a_fresh_clone_has_no_problem() -> None:
    assert repository_problems() == []


def test_a_repository_without_a_commit_is_enough(project: Project) -> None:
    shutil.rmtree(project.root / ".git")
    project.git("init", "--quiet")
    assert repository_problems() == []


def _without_git(root: Path) -> None:
    shutil.rmtree(root / ".git")


def _without_dvc(root: Path) -> None:
    shutil.rmtree(root / ".dvc")


def _dvc_above(root: Path) -> None:
    shutil.rmtree(root / ".git")
    shutil.move(root / ".dvc", root.parent / ".dvc")
    subprocess.run(["git", "init", "--quiet", root.parent], check=True)


def _tracked_output(root: Path) -> None:
    (root / "data/0").mkdir(parents=True)
    (root / "data/0/train_pool.jsonl").write_text("{}\n")
    Project(root).git("add", "--force", "data/0/train_pool.jsonl")


def _absent_code(root: Path) -> None:
    shutil.rmtree(root / "scorers")


def _overlap(root: Path) -> None:
    path = root / "dvc.yaml"
    text = path.read_text()
    path.write_text(text.replace("outs: [report/progress.csv,", "outs: [data/0, report/p.csv,"))


def _foreign_lock(root: Path) -> None:
    (root / "dvc.lock").write_text("schema: '9.0'\nstages: {}\n")


DEFECTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no git": (_without_git, "`git init`"),
    "no dvc": (_without_dvc, "`git init && dvc init`"),
    "dvc above": (_dvc_above, "`dvc init --subdir`"),
    "an output in git": (_tracked_output, "`git rm -r --cached`"),
    "a missing dependency": (_absent_code, "scorers: "),
    "outputs that overlap": (_overlap, "overlap"),
    "a lock of another version": (_foreign_lock, "dvc.lock: "),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_what_dvc_would_refuse_is_found_by_check(name: str, project: Project) -> None:
    """Part of it DVC finds after the stage has run, and been paid."""
    spoil, named = DEFECTS[name]
    spoil(project.root)
    result = lion("check", "--offline")
    assert result.exit_code == 2
    assert named in " ".join(result.stderr.split())
    assert result.stderr.count("\n") == 3  # a head, the one problem, the end


@pytest.mark.usefixtures("project")
def test_beside_another_dvc_commands_work_or_say_so() -> None:
    """DVC's lock is held: what reads goes on, what would write says so (DVC waits 3 s first)."""
    holding = "from dvc.repo import Repo\nwith Repo().lock: print('held', flush=True); input()"
    with subprocess.Popen(
        ["python", "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        results = {name: lion(name) for name in ("plan", "table", "costs")}
        (problem,) = repository_problems()
        holder.communicate("\n")
    assert {name: result.exit_code for name, result in results.items()} == dict.fromkeys(results, 0)
    assert "teach@0" in results["plan"].stdout
    assert problem.startswith("another `dvc` holds the project's lock")


def test_a_folder_that_may_not_be_written_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != Path(".dvc"))
    (problem,) = repository_problems()
    assert problem.startswith(f"{project.root / '.dvc'}: this user cannot write there.")


def test_a_project_may_be_a_folder_of_a_larger_repository(project: Project, tmp_path: Path) -> None:
    """Files of a revision are found below git's root."""
    shutil.rmtree(project.root / ".git")
    above = Project(tmp_path)
    above.git("init", "--quiet")
    above.commit()
    assert repository_problems() == []
    project.edit({"split.tau": 3.0})
    named = "HEAD has no such file: no run made it"  # its params were read
    for command in ("show HEAD", "diff HEAD", "report HEAD"):
        assert named in " ".join(lion(*command.split()).stderr.split()), command
