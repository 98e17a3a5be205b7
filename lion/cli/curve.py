"""`lion curve`: accuracy against the number of given rows."""

import click

from lion import console
from lion.config import project
from lion.llm.prices import Prices
from lion.reporting.curve import curve_as_json, curve_table, read_curve
from lion.reporting.worth import MarkedRun


@click.command("curve")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def curve_command(as_json: bool) -> None:
    """Print accuracy against given rows and dollars, and what twice the rows would bring.

    `curve: [50, 100, 200]` in params.yaml declares the points; `lion run` measures them. The last
    point is the base student.
    """
    with console.error_boundary():
        run = MarkedRun.of_workspace()
        curve = read_curve(run, Prices.load(project.PRICES))
        if as_json:
            click.echo(curve_as_json(curve))
        else:
            console.stdout.print(curve_table(curve, declared=bool(run.settings.curve)))
