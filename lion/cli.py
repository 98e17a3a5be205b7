"""The `lion` command. Imports what a command needs when it runs, so that each starts at once."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lion import __version__, console
from lion.commands import batch, exam, money, pools, remote, student

if TYPE_CHECKING:
    from lion.settings import Settings

PROFILES = Path("profiles")


class _InOrder(click.Group):
    """Lists commands in the order in which they are used, not in the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names as they were added."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lion")
def main() -> None:
    """Lion: distil an LLM behind an API into a small student of your own.

    \b
    lion run                 check, then `dvc repro`, then the table
    lion profile lab         another params.yaml
    lion check               what would stop a run, before anything is spent
    """


@main.command(
    short_help="Check, run the pipeline, print the table.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("dvc_arguments", nargs=-1, type=click.UNPROCESSED)
def run(dvc_arguments: tuple[str, ...]) -> None:
    """Check, then run `dvc repro` with DVC_ARGUMENTS, then print the table and write the page.

    \b
    lion run
    lion run --pull --allow-missing
    lion run evaluate@2

    Ends with the code of the stage that stopped, which `dvc repro` does not pass on: 3 at the
    budget, 75 where batches are at work, 130 when interrupted.
    """
    from lion import lockfile

    with console.error_boundary():
        if lockfile.mend():
            console.say("dvc.lock was cut off, as a killed dvc leaves it: mended")
        keeps_all = _refuse_problems(offline=False).hardware.keep == "all"
    missing = [] if keeps_all or "--allow-missing" in dvc_arguments else ["--allow-missing"]
    command = [sys.executable, "-m", "dvc", "repro", *missing, *dvc_arguments]
    started = time.time()
    code = subprocess.run(command, env=_environment(), check=False).returncode  # noqa: S603 - dvc, with the user's own arguments
    if code == 0:
        _print_table(as_json=False)
        _write_page()
        if not keeps_all:
            _make_room(dry_run=False)
    sys.exit((_stopped_with(started) or code) if code else 0)


@main.command(short_help="Find what would stop a run.")
@click.option("--offline", is_flag=True, help="Ask no endpoint (no paid call).")
def check(offline: bool) -> None:
    """Find what would stop a run, before anything is spent or removed.

    Asks each endpoint one short question, which costs one paid call each; --offline asks none.
    """
    with console.error_boundary():
        _refuse_problems(offline)
    console.say("nothing stands in the way")


@main.command("make-room", short_help="Remove the students that `hardware.keep` does not keep.")
@click.option("--dry-run", is_flag=True, help="Only say what it would free.")
def make_room(dry_run: bool) -> None:
    """Remove students from the workspace and from DVC's cache, as `hardware.keep` says.

    \b
    lion make-room --dry-run
    lion make-room

    `lion run` ends with this. One that dvc.lock does not know is left alone. `dvc push` before it,
    and `dvc pull data/1/student` brings one back; without a remote a rerun of its stage does.
    """
    with console.error_boundary():
        _make_room(dry_run)


@main.command(short_help="Print the iterations side by side.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def table(as_json: bool) -> None:
    """Print the iterations side by side, as far as they have come."""
    with console.error_boundary():
        _print_table(as_json)


@main.command(short_help="List the profiles, or switch to one.")
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Overwrite uncommitted changes of params.yaml.")
def profile(name: str | None, force: bool) -> None:
    """Write the profile NAME to params.yaml; without NAME, list the profiles.

    \b
    lion profile             list them
    lion profile ci          one small iteration
    """
    from lion.commands import profiles

    with console.error_boundary():
        if name is None:
            for found, title in profiles.listed(PROFILES).items():
                click.echo(f"{found:16}{title}")
            return
        profiles.use(PROFILES, name, force)
        console.say(f"params.yaml is now the profile {name}; `lion run` runs it")


@main.command("serve-teacher", short_help="Serve the embedded teacher to any client.")
@click.option("--port", type=click.IntRange(0, 65535), default=8099, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_teacher(port: int, host: str) -> None:
    """Serve the embedded teacher to any client of the chat-completions protocol.

    \b
    lion serve-teacher --port 8099
    curl localhost:8099/v1/chat/completions -d '{"model": "oracle-1", "messages":
      [{"role": "user", "content": "Reverse the letters: c a f b"}]}'

    On another address than loopback clients have to send the token in LION_SERVER_TOKEN.
    """
    from lion.addresses import TOKEN
    from lion.embedded import application

    with console.error_boundary():
        application.serve(host, port, os.environ.get(TOKEN))


main.add_command(pools.diff)
main.add_command(pools.show)
main.add_command(pools.trace)
main.add_command(pools.report)
main.add_command(student.chat)
main.add_command(student.export)
main.add_command(student.delta)
main.add_command(student.serve_student)
main.add_command(money.plan)
main.add_command(money.ledger)
main.add_command(money.costs)
main.add_command(batch.batch)
main.add_command(remote.verify_remote)
main.add_command(exam.exam)


def _environment() -> dict[str, str]:
    """Return the environment in which the stages' `python` is the one that runs this command."""
    from lion import project

    folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([folder, os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, project.TABLE_FOLLOWS: "1"}


def _stopped_with(since: float) -> int:
    """Return the exit code of a stage that stopped after `since`, in seconds of the epoch, or 0."""
    from lion import project
    from lion.metrics import files
    from lion.metrics.runs import RunRecord

    records = project.run_record("").parent.glob("*.json")
    new = [files.read(path, RunRecord) for path in records if path.stat().st_mtime >= since]
    return max((one.exit_code for one in new), default=0)


def _refuse_problems(offline: bool) -> "Settings":
    """Return the settings. Raises SettingsError with everything that was found."""
    from lion import check as checks
    from lion import project

    settings = project.load_settings()
    problems = checks.offline(settings)
    if not problems and not offline:
        problems = checks.endpoints(settings)
    checks.refuse(problems, "\nNothing was spent or removed.")
    return settings


def _make_room(dry_run: bool) -> None:
    """Remove the students that `hardware.keep` does not keep, and say what that freed."""
    from lion import project
    from lion.commands import keeping
    from lion.views import summary

    settings = project.load_settings()
    lines = summary.lines({name: one.previous for name, one in settings.iterations.items()})
    going = keeping.going(settings.hardware.keep, keeping.tuned(lines))
    for room in keeping.make_room(going, dry_run=dry_run):
        verb = "would free" if dry_run else "freed"
        console.say(f"student {room.iteration}: {verb} {room.freed / 1e9:,.3f} GB")


def _write_page() -> None:
    """Write the report page, where there is a pool to show."""
    from lion import project
    from lion.views import reporting, revisions

    if not project.data(project.BASE, "cache_pool.jsonl").exists():
        return
    with console.error_boundary(), revisions.opened() as trees:
        reporting.write(trees.place(revisions.WORKSPACE), reporting.PAGE)
    console.say(f"{reporting.PAGE} shows it: open it with a double click")


def _print_table(as_json: bool) -> None:
    from lion import project
    from lion.views import summary, tables

    settings = project.load_settings()
    lines = summary.lines({name: one.previous for name, one in settings.iterations.items()})
    if as_json:
        click.echo(summary.as_json(lines))
    else:
        console.stdout.print(tables.closing(lines))


if __name__ == "__main__":
    main()
