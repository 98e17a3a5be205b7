"""`lion profile`: complete params files in profiles/, one of which is copied to params.yaml."""

import subprocess
from pathlib import Path

import click

from lion import console
from lion.config import project
from lion.errors import SettingsError
from lion.pipeline.stale_outputs import StaleOutputs
from lion.records import jsonl

PROFILES = Path("profiles")


@click.command("profile")
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Overwrite uncommitted changes of params.yaml.")
def profile_command(name: str | None, force: bool) -> None:
    """Write the profile NAME to params.yaml; without NAME, list the profiles.

    \b
    lion profile             list them
    lion profile ci          one small iteration
    """
    with console.error_boundary():
        if name is None:
            for profile, title in titles(PROFILES).items():
                click.echo(f"{profile:16}{title}")
            return
        use(PROFILES, name, force)
        console.say(f"params.yaml is now the profile {name}; `lion run` runs it")
        if (sentence := StaleOutputs.of_workspace().sentence()) is not None:
            console.say(sentence)


def titles(folder: Path) -> dict[str, str]:
    """Return the profiles' names, each with the first sentence of its file's comment."""
    return {path.stem: _title(path) for path in sorted(folder.glob("*.yaml"))}


def use(folder: Path, name: str, force: bool) -> None:
    """Copy the profile `name` to params.yaml. Raises SettingsError.

    Without `force`, changes of params.yaml that no commit and no profile holds are not overwritten.
    """
    source = folder / f"{name}.yaml"
    if name not in titles(folder):
        raise SettingsError(f"there is no profile {name}; there are {', '.join(titles(folder))}")
    project.load_settings(source)
    content = source.read_bytes()
    if not force and _would_be_lost(folder):
        raise SettingsError(
            "params.yaml has changes that no commit holds. Commit them, or use --force."
        )
    with jsonl.replacing(project.PARAMS) as temporary:
        temporary.write_bytes(content)


def _title(path: Path) -> str:
    """Return the first sentence of the file's opening comment."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
    return first.removeprefix(f"{path.stem}: ").split(". ")[0].rstrip(".")


def _would_be_lost(folder: Path) -> bool:
    if not project.PARAMS.exists():
        return False
    content = project.PARAMS.read_bytes()
    if any(path.read_bytes() == content for path in folder.glob("*.yaml")):
        return False
    held = subprocess.run(
        ["git", "show", "HEAD:./params.yaml"],  # noqa: S607 - the user's git
        capture_output=True,
        check=False,
    )
    return held.returncode != 0 or held.stdout != content
