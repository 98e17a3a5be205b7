"""`lion check`: problems that would stop a run."""

import click

from lion import console
from lion.config import project
from lion.config.settings import Settings
from lion.pipeline.checks import endpoint_rehearsal, task_declaration
from lion.pipeline.checks.answer_form import answer_form_notices
from lion.pipeline.checks.offline import offline_problems, refuse
from lion.pipeline.checks.removed_students import removed_student_notices
from lion.pipeline.checks.replay_notices import replay_notices
from lion.pipeline.checks.repository import repository_problems
from lion.pipeline.checks.student_notices import student_notices
from lion.reporting import input_rows


@click.command("check")
@click.option("--offline", is_flag=True, help="Ask no endpoint (no paid call).")
@click.option("--rows", type=click.IntRange(1), help="Show so many rows of each file, as read.")
def check_command(offline: bool, rows: int | None) -> None:
    """Find what would stop a run, before anything is spent or removed.

    Asks each role one question as its stage does, a paid call each; --offline asks none.

    \b
    lion check
    lion check --offline --rows 3
    """
    with console.error_boundary():
        if rows is not None:
            console.stdout.print(input_rows.first_rows(project.load_settings(), rows))
        _propose_task(project.load_settings())
        checked_settings(offline)
    console.say("all checks passed" + ("; no endpoint was asked" if offline else ""))


def _propose_task(settings: Settings) -> None:
    """Print the declaration of a narrow task that the rows share, where params have none."""
    proposal = task_declaration.proposed_task(settings)
    if proposal is not None:
        console.say(proposal.sentence())
        click.echo(proposal.as_yaml())


def checked_settings(offline: bool) -> Settings:
    """Return the settings. Raises SettingsError with all problems."""
    settings = project.load_settings()
    problems = [*offline_problems(settings), *repository_problems()]
    if not problems and not offline:
        problems = endpoint_rehearsal.probe_endpoints(settings)
    if not problems:
        for words in (
            *student_notices(settings, ask_hub=True),
            *removed_student_notices(settings),
            *answer_form_notices(settings),
            *replay_notices(settings),
        ):
            console.say(f"notice: {words}")
    refuse(problems, "\nNothing was spent or removed.")
    return settings
