"""`lion table`: the iterations side by side."""

import click

from lion import console, iterations
from lion.config import project
from lion.reporting import certificates, table


@click.command("table")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def table_command(as_json: bool) -> None:
    """Print the iterations side by side, as far as they have come."""
    with console.error_boundary():
        print_table(as_json)


def print_table(as_json: bool) -> None:
    """Print the iterations of params.yaml, as a table or as JSON. Raises SettingsError."""
    settings = project.load_settings()
    lines = iterations.lines({name: entry.previous for name, entry in settings.iterations.items()})
    if as_json:
        click.echo(iterations.as_json(lines))
    else:
        console.stdout.print(table.closing(lines, certificates.closing_sentences(lines, settings)))
