"""`lion plan`, `lion ledger` and `lion costs`: what is paid, what was, and what it is kept in."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lion import console


@click.command(short_help="What is still to be asked, and what it will cost.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--rows", type=click.IntRange(1), help="Of another base pool: the whole loop then.")
@click.option("--student", metavar="SIZE", help="With --rows: its weights, as 600M or 8B.")
def plan(as_json: bool, rows: int | None, student: str | None) -> None:
    """Print what `dvc repro` would ask, with calls, tokens, money and time. Asks nobody.

    \b
    lion plan
    lion plan --rows 1000000 --student 8B

    What the ledger has is free. An unknown price is unknown, never zero; prices.yaml adds what the
    price package lacks. With --rows: the loop of params.yaml from nothing, at another size, with
    hours of GPU and disk (docs/scaling.md has the assumptions).
    """
    if (rows is None) != (student is None):
        raise click.UsageError("--rows and --student go together")
    if rows is not None and student is not None:
        _reach(rows, _weights(student), as_json)
        return
    from lion import project
    from lion.asking.ledger import Ledger
    from lion.asking.pricing import Prices
    from lion.model import disk
    from lion.views import money, planning

    with console.error_boundary():
        settings = project.load_settings()
        prices = Prices.load(project.PRICES)
        with Ledger(project.ledger()) as ledger:
            needs = planning.plan(settings, planning.remaining_stages(), ledger, prices)
            spent, reserved = ledger.spent()
        if as_json:
            click.echo(money.needs_as_json(needs))
        else:
            console.stdout.print(money.needs(needs, spent, reserved, settings.budget))
            console.stdout.print(money.room(disk.needed(settings, ask_hub=False)))


def _weights(size: str) -> int:
    """Return the number of weights that a size such as 8B names."""
    from decimal import Decimal, InvalidOperation

    factors = {"M": 10**6, "B": 10**9}
    try:
        found = Decimal(size[:-1]) * factors[size[-1:].upper()]
    except (InvalidOperation, KeyError):
        raise click.UsageError(f"--student: 600M or 8B is expected, not {size!r}") from None
    return int(found)


def _reach(rows: int, parameters: int, as_json: bool) -> None:
    from lion import project
    from lion.asking.pricing import Prices
    from lion.views import money, scaling

    with console.error_boundary():
        found = scaling.reach(
            project.load_settings(), rows, parameters, Prices.load(project.PRICES)
        )
    if as_json:
        click.echo(json.dumps(scaling.as_json(found), indent=2))
        return
    table = money.grid(f"{rows:,} rows, {parameters / 1e9:g} B weights", "about")
    for name, figure in scaling.as_rows(found):
        table.add_row(name, figure)
    console.stdout.print(table)


@click.group(invoke_without_command=True, short_help="The replies already paid for.")
@click.pass_context
def ledger(context: click.Context) -> None:
    """Show the ledger: size, replies, calls and money by model, failures by reason.

    \b
    lion ledger verify
    lion ledger export replies.jsonl
    lion ledger import colleague.sqlite
    lion ledger prune
    """
    if context.invoked_subcommand is not None:
        return
    from lion import project
    from lion.asking import maintenance
    from lion.asking.ledger import Ledger
    from lion.views import money

    with console.error_boundary():
        path = project.ledger()
        groups, failures = maintenance.by_model(path), maintenance.failures(path)
        with Ledger(path) as opened:
            counts = opened.count(), *opened.spent()
        hits = maintenance.hit_rate(project.home() / "runs")
        console.stdout.print(money.ledger(path, counts, groups, failures, hits))


@ledger.command()
def verify() -> None:
    """Check the file, every row's key, and every reply. Exit code 1 where something is wrong."""
    from lion import project
    from lion.asking import maintenance

    with console.error_boundary():
        problems = maintenance.verify(project.ledger())
    for problem in problems:
        console.say(problem)
    if problems:
        sys.exit(1)
    console.say("every reply belongs to its request and can be read")


@ledger.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def export(out: Path) -> None:
    """Write every reply to OUT, .jsonl or .parquet."""
    from lion import project
    from lion.asking import maintenance

    with console.error_boundary():
        count = maintenance.export(project.ledger(), out)
    console.say(f"{count:,} replies in {out}")


@ledger.command("import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def import_(sources: Sequence[Path]) -> None:
    """Add colleagues' ledgers or exports: what they paid for is not paid again."""
    from lion import project
    from lion.asking import maintenance
    from lion.asking.ledger import Ledger

    with console.error_boundary(), Ledger(project.ledger()) as opened:
        for source in sources:
            new, known = maintenance.take_in(opened, source)
            console.say(f"{source}: {new:,} new replies, {known:,} known already")


@ledger.command()
def prune() -> None:
    """Forget failed calls, and count interrupted ones as spent; no reply is lost."""
    from lion import project
    from lion.asking.ledger import Ledger

    with console.error_boundary(), Ledger(project.ledger()) as opened:
        console.say(f"{opened.prune():,} failed or interrupted calls forgotten")


@click.command(short_help="What was paid, by stage.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def costs(as_json: bool) -> None:
    """Print what every stage was asked and paid, over all revisions that this ledger served.

    Wasted calls brought nothing: refused, cut, empty, broken. The last line is the money per hard
    instruction that entered a pool, of the iterations in params.yaml.
    """
    from lion import project
    from lion.asking import maintenance
    from lion.views import money

    with console.error_boundary():
        stages = maintenance.by_stage(project.ledger())
        iterations = list(project.load_settings().iterations)
        if as_json:
            click.echo(money.costs_as_json(stages, iterations))
        else:
            console.stdout.print(money.costs(stages, iterations))
