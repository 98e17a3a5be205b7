"""The commit of a page: of the working folder, of a name, and where there is none."""

import subprocess
from pathlib import Path

import pytest

from lion.pipeline.commits import commit_of
from lion.pipeline.revisions import WORKSPACE

_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "2024-02-29T12:00:00+00:00",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_has_its_own_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the clock's, so that a page of the same commit is the same."""
    monkeypatch.chdir(tmp_path)
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    git("init", "--quiet")
    assert commit_of(WORKSPACE) is None
    Path("params.yaml").write_text("a: 1\n")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "one")
    git("tag", "v1")
    digits = git("rev-parse", "HEAD")[:8]
    for name in (WORKSPACE, "v1"):
        commit = commit_of(name)
        assert commit is not None
        assert (commit.digits, commit.date, commit.is_changed) == (digits, "2024-02-29", False)
    Path("params.yaml").write_text("a: 2\n")
    changed = [commit.is_changed for name in (WORKSPACE, "v1") if (commit := commit_of(name))]
    assert changed == [True, False]
    assert commit_of("no-such-name") is None
    assert commit_of("--all") is None


def test_outside_of_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(WORKSPACE) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(WORKSPACE) is None
