"""`lion trace`: everything known of one instruction."""

import click

from lion import console
from lion.pipeline import revisions
from lion.reporting import trace


@click.command("trace")
@click.argument("identity", metavar="ID")
@click.option("--at", "place", default="workspace:", metavar="PLACE", help="As far as here.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def trace_command(identity: str, place: str, as_json: bool) -> None:
    """Follow the instruction ID from its seed to its verdicts.

    Its seed, the generator's prompt and reply, the teacher's answer; then, by iteration, the
    student's answer, reviews and verdict, and whether that student was tuned on it.

    \b
    lion trace 6a7c7038c323c541
    lion trace 6a7c --at v1:2
    """
    with console.error_boundary():
        with revisions.open_trees() as trees:
            traced = trace.trace(trees.place(place), identity)
        if as_json:
            click.echo(trace.trace_as_json(traced))
        else:
            with console.paged():
                console.stdout.print(trace.trace_as_text(traced))
