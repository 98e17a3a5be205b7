"""`lion run`: check, run the pipeline, print the table and write the page."""

import os
import sys
import time
from pathlib import Path

import click

from lion import console
from lion.cli.check import checked_settings
from lion.cli.make_room import remove_students
from lion.cli.supervision import run_child
from lion.cli.table import print_table
from lion.config import project
from lion.errors import InterruptedRunError
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.pipeline import dvc_project, revisions
from lion.reporting import page


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("dvc_arguments", nargs=-1, type=click.UNPROCESSED)
def run_command(dvc_arguments: tuple[str, ...]) -> None:
    """Check, then run `dvc repro` with DVC_ARGUMENTS, then print the table and write the page.

    \b
    lion run
    lion run --pull --allow-missing
    lion run evaluate@2

    Ends with the code of the stage that stopped, which `dvc repro` does not pass on: 3 at the
    budget, 75 where batches are at work, 130 when interrupted. A SIGTERM stops it as Ctrl-C does.
    """
    with console.error_boundary():
        if dvc_project.mend_lock():
            console.say("dvc.lock was cut off, as a killed dvc leaves it: mended")
        keeps_all = checked_settings(offline=False).hardware.keep_students == "all"
    missing = [] if keeps_all or "--allow-missing" in dvc_arguments else ["--allow-missing"]
    command = [sys.executable, "-m", "dvc", "repro", *missing, *dvc_arguments]
    started = time.time()
    code, interrupted = run_child(command, _environment())
    if interrupted:
        sys.exit(_stopped_with(started) or InterruptedRunError.exit_code)
    if code == 0:
        print_table(as_json=False)
        _write_page()
        if not keeps_all:
            remove_students(dry_run=False)
    sys.exit((_stopped_with(started) or code) if code else 0)


def _environment() -> dict[str, str]:
    """Return an environment in which the stages' `python` is the running interpreter."""
    folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([folder, os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, project.TABLE_FOLLOWS: "1"}


def _stopped_with(since: float) -> int:
    """Return the highest exit code of stages that ended after `since` (epoch seconds), or 0."""
    records = project.run_record("").parent.glob("*.json")
    new = [files.read_metrics(path, RunRecord) for path in records if path.stat().st_mtime >= since]
    return max((record.exit_code for record in new), default=0)


def _write_page() -> None:
    """Write the report page, if there is a pool."""
    if not project.data(project.BASE, "cache_pool.jsonl").exists():
        return
    with console.error_boundary(), revisions.open_trees() as trees:
        page.write_page(trees.place(revisions.WORKSPACE), page.PAGE)
    console.say(f"{page.PAGE} has the figures, plots and rows: open it in a browser")
