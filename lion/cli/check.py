"""`lion check`: problems that would stop a run."""

import click

from lion import console
from lion.config import project
from lion.config.settings import Settings
from lion.pipeline.checks import endpoints
from lion.pipeline.checks.offline import offline_problems, refuse
from lion.pipeline.checks.repository import repository_problems


@click.command("check")
@click.option("--offline", is_flag=True, help="Ask no endpoint (no paid call).")
def check_command(offline: bool) -> None:
    """Find what would stop a run, before anything is spent or removed.

    Asks each endpoint one short question, which costs one paid call each; --offline asks none.
    """
    with console.error_boundary():
        checked_settings(offline)
    console.say("nothing stands in the way")


def checked_settings(offline: bool) -> Settings:
    """Return the settings. Raises SettingsError with all problems."""
    settings = project.load_settings()
    problems = [*offline_problems(settings), *repository_problems()]
    if not problems and not offline:
        problems = endpoints.probe_endpoints(settings)
    refuse(problems, "\nNothing was spent or removed.")
    return settings
