"""`lion run`: check, run the pipeline, print the table and write the page."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from lion import console
from lion.cli.check import checked_settings
from lion.cli.make_room import remove_students
from lion.cli.supervision import run_child
from lion.cli.table import print_table
from lion.config import project
from lion.config.settings import Settings
from lion.errors import BusyError, DataError, InterruptedRunError
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.pipeline import dvc_graph, dvc_project, halts, revisions
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
            console.say("dvc.lock was cut off, as a killed dvc leaves it: repaired")
        if dvc_project.remove_cut_off_rwlock():
            console.say(".dvc/tmp/rwlock was cut off, as a killed dvc leaves it: removed")
        settings = checked_settings(offline=False)
        if until is not None or stop_on_validation:
            offline.refuse(list(_target_problems(dvc_arguments)))
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
    yield from ((name, [target]) for name, target in halts.exam_targets(settings, until))
    if until is None:
        yield None, []


def _target_problems(dvc_arguments: Sequence[str]) -> Iterator[str]:
    """Yield a problem where DVC is given targets, which it would run in every step."""
    targets = [argument for argument in dvc_arguments if not argument.startswith("-")]
    if targets:
        yield (
            f"{' '.join(targets)}: --until and --stop-on-validation choose the stages; leave these "
            "out, or the options"
        )


def _run_steps(command: Sequence[str], steps: Sequence[_Step], settings: Settings) -> str | None:
    """Run the steps; return why some were left out. Exits where a step fails.

    Behind an iteration that halts, its descendants are left out, and all that is no iteration's.
    """
    environment = {**_environment(), **_order(command, steps)}
    halted = dict[str, str]()
    for number, (name, targets) in enumerate(steps, start=1):
        if halted and (name is None or halts.is_behind(settings, name, halted)):
            continue
        _run_step([*command, *targets], environment)
        if number < len(steps) and name is not None:
            with console.error_boundary():
                sentence = halts.halt_sentence(settings, name)
            halted |= {} if sentence is None else {name: sentence}
    if halted:
        return "; ".join(halted.values())
    last = steps[-1][0]
    return None if last is None else f"ended after the exam of iteration {last}, as --until says"


def _run_step(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run `dvc repro`. Exits where a stage fails or is interrupted, with that stage's code."""
    started = time.time()
    code, interrupted = run_child(command, environment)
    if interrupted:
        sys.exit(_stopped_with(started) or InterruptedRunError.exit_code)
    if code:
        sys.exit(_stopped_with(started) or code)


def _environment() -> dict[str, str]:
    """Return an environment in which the stages' `python` is the running interpreter."""
    folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([folder, os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, project.TABLE_FOLLOWS: "1"}


def _order(command: Sequence[str], steps: Sequence[_Step]) -> Mapping[str, str]:
    """Return the variable by which a stage says its place in the run; empty where it is unknown."""
    arguments = command[command.index("repro") + 1 :]
    try:
        order = dvc_graph.run_order([*arguments, *targets] for _, targets in steps)
    except (BusyError, DataError):  # `dvc repro` itself reports it, in its own words
        return {}
    return {} if order is None else order.as_environment()


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
