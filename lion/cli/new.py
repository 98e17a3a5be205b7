"""`lion new`: a pipeline folder for another task, made from this one."""

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from lion import console
from lion.cli import profile as profiles
from lion.config import project
from lion.errors import DataError, SettingsError

_OWN = ("dvc.lock", str(project.PARAMS), ".dvc/config")  # of this project's runs and remotes
_BRANCH = "lion"  # of the new project: the code as it came, for later versions to be merged


@click.command("new")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--profile", "name", default="default", show_default=True, help="Its params.yaml.")
def new_command(target: Path, name: str) -> None:
    """Make a project for another task in the folder TARGET, with the code and prompts of this one.

    \b
    lion new ../tickets --profile narrow

    It has a git history, a DVC project and a ledger of its own, and none of this one's data. Its
    branch `lion` holds the code alone; docs/how-to/later-version.md merges a later version.
    """
    with console.error_boundary():
        make_project(target, name)
    console.say(f"{target} is a project with the profile {name}: put your files into its inputs/")


def make_project(target: Path, name: str) -> None:
    """Copy the code to `target` as a project of its own.

    Raises SettingsError where the profile is unknown or this folder is no project, and DataError
    where `target` is not empty, lies in this project, or git refuses.
    """
    _refuse(target, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lion-new-") as folder:
        made = Path(folder) / "project"
        for path in _code():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, made / path)
        _write_dvc_config(made)
        _git(made, "init", "--quiet", "--initial-branch", _BRANCH)
        _commit(made, "Lion, the code of a pipeline")
        _git(made, "checkout", "--quiet", "-b", "main")
        shutil.copyfile(profiles.PROFILES / f"{name}.yaml", made / project.PARAMS)
        _commit(made, f"The profile {name}")
        made.replace(target)  # all of it or nothing


def _refuse(target: Path, name: str) -> None:
    known = profiles.titles(profiles.PROFILES)
    if not known or not Path("dvc.yaml").exists():
        raise SettingsError("no dvc.yaml and no profiles/ here: run this in a project's folder")
    if name not in known:
        raise SettingsError(f"there is no profile {name}; there are {', '.join(known)}")
    if target.resolve().is_relative_to(Path.cwd()):
        raise DataError(f"{target} lies in this project. Name a folder beside it, as ../tickets")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is not empty. Name a new folder")


def _code() -> Iterator[Path]:
    """Yield the files that git tracks here, but for data and what belongs to this project alone."""
    listed = _git(Path(), "ls-files", "-z", "--cached")
    for name in filter(None, listed.split("\0")):
        path = Path(name)
        is_input = path.parts[0] == "inputs" and path.name != "README.md"
        if name not in _OWN and not is_input and path.is_file():
            yield path


def _write_dvc_config(made: Path) -> None:
    """Write DVC's settings of this project without its remotes."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(".dvc/config", encoding="utf-8")
    for section in config.sections():
        if section.strip("'").startswith("remote "):
            config.remove_section(section)
    if config.has_section("core"):
        config.remove_option("core", "remote")
    path = made / ".dvc" / "config"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        config.write(file)


def _commit(made: Path, message: str) -> None:
    _git(made, "add", "--all")
    _git(made, "commit", "--quiet", "--message", message)


def _git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`, as the user or as Lion; return what it prints. Raises DataError."""
    names = {"NAME": "Lion", "EMAIL": "lion@localhost"}
    unknown = not _has_identity(folder)
    identity = {
        f"GIT_{who}_{key}": value
        for who in ("AUTHOR", "COMMITTER")
        for key, value in names.items()
        if unknown
    }
    done = subprocess.run(  # noqa: S603 - the user's git
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        env={**os.environ, **identity},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise DataError(f"git {arguments[0]}: {words or 'failed'}")
    return done.stdout.decode(sys.getfilesystemencoding(), "surrogateescape")


def _has_identity(folder: Path) -> bool:
    command = ["git", "config", "user.email"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0  # noqa: S603
