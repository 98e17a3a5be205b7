"""A team of two over a folder, a bucket and a server with SSH: docs/tutorials/sharing.md, done."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline import Project
from remotes import REMOTES, Remote
from running import Finished

pytestmark = pytest.mark.slow


@pytest.fixture(params=REMOTES)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    with REMOTES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def mine(remote: Remote, finished: Finished, tmp_path: Path) -> Project:
    """Return a project whose run is in the remote and in git."""
    project = finished.project.copy(tmp_path / "mine")
    remote.name_in(project)
    remote.unlock_in(project)
    pushed = project.dvc("push")
    assert pushed.code == 0, pushed.output
    project.commit()
    return project


def cloned(project: Project, remote: Remote, root: Path) -> Project:
    clone = project.clone(root)
    remote.unlock_in(clone)
    return clone


def test_two_clones_share_a_remote_and_a_line_of_work(
    mine: Project, remote: Remote, tmp_path: Path
) -> None:
    """Push, clone, pull, nothing to do; an iteration there is pulled here, and asks nobody."""
    theirs = cloned(mine, remote, tmp_path / "theirs")
    assert theirs.dvc("pull").code == 0
    again = theirs.repro()
    assert (again.code, again.stages, theirs.replies()) == (0, [], 0), again.output

    theirs.append_iteration("2", "1")
    more = theirs.repro("--pull", "--allow-missing")
    assert more.code == 0, more.output
    assert {stage.partition("@")[2] for stage in more.stages} == {"2", ""}
    assert theirs.dvc("push").code == 0
    theirs.commit()

    mine.git("pull", "--quiet", "--no-rebase", str(theirs.root), "HEAD")
    paid = mine.replies()
    assert mine.dvc("pull").code == 0
    done = mine.repro()
    assert (done.code, done.stages) == (0, []), done.output
    assert mine.replies() == paid
    assert mine.outs() == theirs.outs()


def test_a_clone_that_pulled_nothing_goes_on(mine: Project, remote: Remote, tmp_path: Path) -> None:
    """`--pull --allow-missing` fetches what the next iteration reads, and runs nothing older."""
    theirs = cloned(mine, remote, tmp_path / "theirs")
    theirs.append_iteration("2", "1")
    done = theirs.repro("--pull", "--allow-missing")
    assert done.code == 0, done.output
    assert {stage.partition("@")[2] for stage in done.stages} <= {"2", ""}
    assert not (theirs.root / "data" / "0" / "student").exists()  # nothing needed it
    mine.append_iteration("2", "1")
    assert mine.repro().code == 0
    assert mine.outs() == theirs.outs()  # the table of all iterations, too


@pytest.mark.parametrize("remote", ["folder"], indirect=True)
def test_two_lines_of_work_are_merged(mine: Project, remote: Remote, tmp_path: Path) -> None:
    """As docs/tutorials/sharing.md says: both lines of params.yaml, either dvc.lock; no calls."""
    theirs = cloned(mine, remote, tmp_path / "theirs")
    for side, key in ((mine, "2a"), (theirs, "2b")):
        side.append_iteration(key, "1")
        done = side.repro("--pull", "--allow-missing")
        assert done.code == 0, done.output
        assert side.dvc("push", "--run-cache").code == 0
        side.commit()

    with pytest.raises(subprocess.CalledProcessError):
        mine.git("pull", "--quiet", "--no-rebase", str(theirs.root), "HEAD")
    conflicts = mine.git("diff", "--name-only", "--diff-filter=U").split()
    assert conflicts == ["dvc.lock", "params.yaml"]
    mine.git("checkout", "--quiet", "--ours", "params.yaml")
    mine.append_iteration("2b", "1")
    told = mine.run("lion.cli", "run")
    assert (told.code, told.stages) == (2, []), told.output
    assert "git checkout --ours dvc.lock" in told.output
    mine.git("checkout", "--quiet", "--ours", "dvc.lock")
    paid = mine.replies()
    done = mine.repro("--pull", "--allow-missing")
    assert (done.code, done.stages) == (0, ["report"]), done.output  # the rest: the run-cache
    assert mine.replies() == paid
    mine.commit()

    ours = mine.outs()
    assert ours["data/2a/train_pool.jsonl"] != ours["data/2b/train_pool.jsonl"]
    other = theirs.outs()
    assert [path for path in other if "/2b/" in path and ours[path] != other[path]] == []
    again = mine.repro()
    assert (again.code, again.stages) == (0, []), again.output


def test_a_damaged_object_is_found_and_mended(mine: Project) -> None:
    """Through DVC's own file system of that kind of remote: one object cut, one gone."""
    from dvc.repo import Repo

    with Repo(str(mine.root)) as repo:
        there = repo.cloud.get_remote_odb("team")
        cut, gone = [one for one in sorted(there.all()) if not one.endswith(".dir")][:2]
        whole = there.fs.cat_file(there.oid_to_path(cut))
        there.fs.remove(there.oid_to_path(cut))
        there.fs.pipe_file(there.oid_to_path(cut), whole[:-1])
        there.fs.remove(there.oid_to_path(gone))
    found = mine.run("lion.cli", "verify-remote", "--json")
    assert found.code == 1, found.output
    assert {one["oid"]: one["state"] for one in damaged(found.output)} == {
        cut: "truncated",
        gone: "absent",
    }
    repaired = mine.run("lion.cli", "verify-remote", "--json", "--repair")
    assert (repaired.code, all(one["repaired"] for one in damaged(repaired.output))) == (0, True)
    assert damaged(mine.run("lion.cli", "verify-remote", "--json").output) == []


def damaged(output: str) -> list[dict[str, object]]:
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])["damaged"]
    assert isinstance(found, list)
    return found


def test_no_password_is_in_git(mine: Project, remote: Remote) -> None:
    committed = mine.git("grep", "--cached", "-I", "--name-only", "-e", "team")
    assert ".dvc/config" in committed.split()
    for secret in remote.private.values():
        assert secret not in mine.git("show", "HEAD:.dvc/config")
