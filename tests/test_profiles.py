"""Switching to another params.yaml without losing one."""

import subprocess
from pathlib import Path

import pytest
from fixtures import ROOT, Workplace

from lion.cli import profile as profiles
from lion.errors import SettingsError

FOLDER = ROOT / "profiles"
PARAMS = Path("params.yaml")


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def profile(name: str) -> bytes:
    return (FOLDER / f"{name}.yaml").read_bytes()


def test_profiles_are_listed_with_what_they_are() -> None:
    listed = profiles.titles(FOLDER)
    assert {"default", "ci"} <= set(listed)
    assert list(listed) == sorted(listed)
    assert all(title and not title.startswith("#") for title in listed.values())


def test_a_profile_replaces_another(workplace: Workplace) -> None:
    profiles.use(FOLDER, "ci", force=False)
    assert (workplace.path / PARAMS).read_bytes() == profile("ci")
    profiles.use(FOLDER, "default", force=False)
    assert PARAMS.read_bytes() == profile("default")


def test_a_profile_makes_params_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    profiles.use(FOLDER, "ci", force=False)
    assert PARAMS.read_bytes() == profile("ci")


def test_changes_that_no_commit_holds_are_not_overwritten(workplace: Workplace) -> None:
    workplace.params({"split.tau": 2.0})
    mine = PARAMS.read_bytes()
    with pytest.raises(SettingsError, match="no commit holds"):
        profiles.use(FOLDER, "ci", force=False)  # not even a repository
    git("init", "-q")
    git("add", "params.yaml")
    with pytest.raises(SettingsError, match="--force"):
        profiles.use(FOLDER, "ci", force=False)  # staged is not committed
    assert PARAMS.read_bytes() == mine
    git("commit", "-qm", "mine")
    profiles.use(FOLDER, "ci", force=False)
    assert PARAMS.read_bytes() == profile("ci")


def test_force_overwrites(workplace: Workplace) -> None:
    workplace.params({"split.tau": 2.0})
    profiles.use(FOLDER, "ci", force=True)
    assert PARAMS.read_bytes() == profile("ci")


@pytest.mark.parametrize("name", ["nope", "../params", "", "ci.yaml"])
def test_a_profile_that_is_none_is_refused(workplace: Workplace, name: str) -> None:
    before = (workplace.path / PARAMS).read_bytes()
    with pytest.raises(SettingsError, match=r"there is no profile .*default"):
        profiles.use(FOLDER, name, force=True)
    assert PARAMS.read_bytes() == before


def test_a_broken_profile_is_refused(workplace: Workplace) -> None:
    folder = workplace.path / "profiles"
    folder.mkdir()
    (folder / "broken.yaml").write_text("# broken\nseed: 3\n")
    before = PARAMS.read_bytes()
    with pytest.raises(SettingsError, match="not usable"):
        profiles.use(folder, "broken", force=True)
    assert PARAMS.read_bytes() == before
