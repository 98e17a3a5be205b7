"""`lion run`: check, run the pipeline, print the table and write the page."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from lion import console
from lion.cli.check import checked_settings
from lion.cli.make_room import remove_students
from lion.cli.supervision import run_child
from lion.cli.table import print_table
from lion.config import project
from lion.config.settings import Settings
from lion.errors import InterruptedRunError
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.pipeline import dvc_project, halts, revisions
from lion.pipeline.checks import offline
from lion.reporting import page


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.option("--until", metavar="K", help="End after the exam of iteration K; 0 is the base.")
@click.option(
    "--stop-on-validation",
    is_flag=True,
    help="End after an iteration whose loss on validation rows is no smaller than the one before.",
)
@click.argument("dvc_arguments", nargs=-1, type=click.UNPROCESSED)
def run_command(
    until: str | None, stop_on_validation: bool, dvc_arguments: tuple[str, ...]
) -> None:
    """Check, then run `dvc repro` with DVC_ARGUMENTS, then print the table and write the page.

    \b
    lion run
    lion run --until 1
    lion run --pull --allow-missing
    lion run evaluate@2

    Ends with the code of the stage that stopped, which `dvc repro` does not pass on: 3 at the
    budget, 75 where batches are at work, 130 when interrupted. A SIGTERM stops it as Ctrl-C does.
    """
    with console.error_boundary():
        if dvc_project.mend_lock():
            console.say("dvc.lock was cut off, as a killed dvc leaves it: mended")
        settings = checked_settings(offline=False)
        steps = list(_steps(settings, until, stop_on_validation=stop_on_validation))
    keeps_all = settings.hardware.keep_students == "all"
    missing = [] if keeps_all or "--allow-missing" in dvc_arguments else ["--allow-missing"]
    command = [sys.executable, "-m", "dvc", "repro", *missing, *dvc_arguments]
    halted = _run_steps(command, steps, settings)
    print_table(as_json=False)
    _write_page()
    if not keeps_all:
        remove_students(dry_run=False)
    if halted is not None:
        console.say(f"{halted}. `lion run` goes on; `lion plan` has what that costs.")


_Step = tuple[str | None, list[str]]  # an iteration, after which the loop may halt, and targets


def _steps(settings: Settings, until: str | None, *, stop_on_validation: bool) -> Iterator[_Step]:
    """Yield what `dvc repro` is called for, one after the other. Raises SettingsError."""
    if not stop_on_validation:
        yield until, [] if until is None else [halts.exam_target(settings, until)]
        return
    offline.refuse(list(halts.validation_problems(settings)))
    last = None if until is None else halts.exam_target(settings, until)
    for name, target in halts.exam_targets(settings):
        yield name, [target]
        if target == last:
            return
    yield None, []


def _run_steps(command: Sequence[str], steps: Sequence[_Step], settings: Settings) -> str | None:
    """Run the steps; return why the last one was not reached. Exits where a step fails."""
    for number, (name, targets) in enumerate(steps, start=1):
        started = time.time()
        code, interrupted = run_child([*command, *targets], _environment())
        if interrupted:
            sys.exit(_stopped_with(started) or InterruptedRunError.exit_code)
        if code:
            sys.exit(_stopped_with(started) or code)
        if number < len(steps) and name is not None:
            with console.error_boundary():
                halted = halts.halt_sentence(settings, name)
            if halted is not None:
                return halted
    last = steps[-1][0]
    return None if last is None else f"ended after the exam of iteration {last}, as --until says"


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
