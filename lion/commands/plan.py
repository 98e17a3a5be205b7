"""`lion plan`: what is still to be asked, and what it will cost."""

import json
from decimal import Decimal, InvalidOperation

import click

from lion import console, project
from lion.asking.ledger import Ledger
from lion.asking.pricing import Prices
from lion.model import disk
from lion.views import money, planning, scaling


@click.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--rows", type=click.IntRange(1), help="Of another base pool: the whole loop then.")
@click.option("--student", metavar="SIZE", help="With --rows: its weights, as 600M or 8B.")
def plan_command(as_json: bool, rows: int | None, student: str | None) -> None:
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
    factors = {"M": 10**6, "B": 10**9}
    try:
        found = Decimal(size[:-1]) * factors[size[-1:].upper()]
    except (InvalidOperation, KeyError):
        raise click.UsageError(f"--student: 600M or 8B is expected, not {size!r}") from None
    return int(found)


def _reach(rows: int, parameters: int, as_json: bool) -> None:
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
