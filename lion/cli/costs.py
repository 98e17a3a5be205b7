"""`lion costs`: what was paid, by stage."""

import click

from lion import console
from lion.config import project
from lion.llm import ledger_maintenance
from lion.reporting import costs


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
