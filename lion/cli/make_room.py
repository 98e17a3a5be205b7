"""`lion make-room`: remove the students that `hardware.keep` does not keep."""

import click

from lion import console
from lion.config import project
from lion.metrics import iterations
from lion.pipeline import student_retention


@click.command("make-room")
@click.option("--dry-run", is_flag=True, help="Only say what it would free.")
def make_room_command(dry_run: bool) -> None:
    """Remove students from the workspace and from DVC's cache, as `hardware.keep` says.

    \b
    lion make-room --dry-run
    lion make-room

    `lion run` ends with this. One that dvc.lock does not know is left alone. `dvc push` before it,
    and `dvc pull data/1/student` brings one back; without a remote a rerun of its stage does.
    """
    with console.error_boundary():
        remove_students(dry_run)


def remove_students(dry_run: bool) -> None:
    """Remove the students that `hardware.keep` does not keep, and say what that freed."""
    settings = project.load_settings()
    lines = iterations.lines({name: entry.previous for name, entry in settings.iterations.items()})
    going = student_retention.going(settings.hardware.keep, student_retention.tuned(lines))
    for room in student_retention.make_room(going, dry_run=dry_run):
        verb = "would free" if dry_run else "freed"
        console.say(f"student {room.iteration}: {verb} {room.freed / 1e9:,.3f} GB")
