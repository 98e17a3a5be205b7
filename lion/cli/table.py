"""`lion table`: the iterations side by side."""

import json
from collections.abc import Callable, Sequence

import click
import msgspec
from rich.console import RenderableType
from rich.text import Text

from lion import console, iterations
from lion.config import project
from lion.errors import LionError
from lion.iterations import IterationMetrics
from lion.pipeline.stale_outputs import StaleOutputs
from lion.reporting import certificates, column_words, table
from lion.reporting.worth import MarkedRun, comparisons, worth_sentences


@click.command("table")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def table_command(as_json: bool) -> None:
    """Print the iterations side by side, as far as they have come with the params at hand."""
    with console.error_boundary():
        print_table(as_json)


def print_table(as_json: bool) -> None:
    """Print the iterations of params.yaml, as a table or as JSON. Raises SettingsError."""
    settings = project.load_settings()
    stale = StaleOutputs.of_workspace()
    previous = {name: entry.previous for name, entry in settings.iterations.items()}
    lines = iterations.lines(previous, stale.read_current)
    workspace = MarkedRun(settings, stale.read_current, stale.has_current)
    if as_json:
        rows = [
            {**msgspec.to_builtins(line), "comparisons": comparisons(line, workspace)}
            for line in lines
        ]
        click.echo(json.dumps(msgspec.to_builtins(rows), indent=2))
    else:
        sentences = certificates.closing_sentences(lines, settings, stale.read_current)
        explained: list[RenderableType] = [
            column_words.legend(lines, settings.grader),
            *map(Text, _readable(column_words.change_reasons, lines, workspace)),
        ]
        worth = _readable(worth_sentences, lines, workspace)
        console.stdout.print(table.closing(lines, sentences, worth, explained))
    if (sentence := stale.sentence()) is not None:
        console.say(sentence)


def _readable(
    sentences: Callable[[Sequence[IterationMetrics], MarkedRun], list[str]],
    lines: Sequence[IterationMetrics],
    run: MarkedRun,
) -> list[str]:
    """Return the sentences, or why their rows cannot be read: the figures above need no rows."""
    try:
        return sentences(lines, run)
    except LionError as error:
        return [f"Rows cannot be read, so what they explain is left out: {error}"]
