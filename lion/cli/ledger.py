"""`lion ledger` and `lion costs`: the replies already paid for, and what they cost by stage."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lion import console
from lion.config import project
from lion.llm import ledger_maintenance
from lion.llm.ledger import Ledger
from lion.reporting import costs


@click.group("ledger", invoke_without_command=True)
@click.pass_context
def ledger_group(context: click.Context) -> None:
    """Show the ledger: size, replies, calls and money by model, failures by reason.

    \b
    lion ledger verify
    lion ledger export replies.jsonl
    lion ledger import colleague.sqlite
    lion ledger prune
    """
    if context.invoked_subcommand is not None:
        return
    with console.error_boundary():
        path = project.ledger()
        groups, failures = ledger_maintenance.by_model(path), ledger_maintenance.failures(path)
        with Ledger(path) as opened:
            counts = opened.count(), *opened.spent()
        hits = ledger_maintenance.hit_rate(project.home() / "runs")
        console.stdout.print(costs.ledger_table(path, counts, groups, failures, hits))


@ledger_group.command("verify")
def verify_ledger() -> None:
    """Check the file, every row's key, and every reply. Exit code 1 where something is wrong."""
    with console.error_boundary():
        problems = ledger_maintenance.ledger_problems(project.ledger())
    for problem in problems:
        console.say(problem)
    if problems:
        sys.exit(1)
    console.say("every reply belongs to its request and can be read")


@ledger_group.command("export")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def export_ledger(out: Path) -> None:
    """Write every reply to OUT, .jsonl or .parquet."""
    with console.error_boundary():
        count = ledger_maintenance.export_replies(project.ledger(), out)
    console.say(f"{count:,} replies in {out}")


@ledger_group.command("import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def import_ledgers(sources: Sequence[Path]) -> None:
    """Add colleagues' ledgers or exports: what they paid for is not paid again."""
    with console.error_boundary(), Ledger(project.ledger()) as opened:
        for source in sources:
            new, present = ledger_maintenance.import_replies(opened, source)
            console.say(f"{source}: {new:,} new replies, {present:,} known already")


@ledger_group.command("prune")
def prune_ledger() -> None:
    """Forget failed calls, and count interrupted ones as spent; no reply is lost."""
    with console.error_boundary(), Ledger(project.ledger()) as opened:
        console.say(f"{opened.prune():,} failed or interrupted calls forgotten")


@click.command("costs")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def costs_command(as_json: bool) -> None:
    """Print what every stage was asked and paid, over all revisions that this ledger served.

    Wasted calls brought nothing: refused, cut, empty, broken. The last line is the money per hard
    instruction that entered a pool, of the iterations in params.yaml.
    """
    with console.error_boundary():
        stages = ledger_maintenance.by_stage(project.ledger())
        iterations = list(project.load_settings().iterations)
        if as_json:
            click.echo(costs.costs_as_json(stages, iterations))
        else:
            console.stdout.print(costs.costs(stages, iterations))
