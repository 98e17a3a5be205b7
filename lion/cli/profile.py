"""`lion profile`: list the profiles, or switch to one."""

from pathlib import Path

import click

from lion import console
from lion.config import profiles

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
            for profile, title in profiles.listed(PROFILES).items():
                click.echo(f"{profile:16}{title}")
            return
        profiles.use(PROFILES, name, force)
        console.say(f"params.yaml is now the profile {name}; `lion run` runs it")
