"""`lion report`: the report page, one HTML file."""

from pathlib import Path

import click

from lion import console
from lion.pipeline import revisions
from lion.reporting import page


@click.command("report")
@click.argument("place", default="workspace:")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report/index.html",
    show_default=True,
)
@click.option("--open", "opening", is_flag=True, help="Show it in the browser.")
def report_command(place: str, out: Path, opening: bool) -> None:
    """Write the page of a run: figures, plots, and every instruction with its answers.

    \b
    lion report                what lies in the workspace
    lion report 2              as far as iteration 2
    lion report v1 --out v1.html

    One file, which needs no network and no server.
    """
    with console.error_boundary(), revisions.open_trees() as trees:
        written = page.write_page(trees.place(place), out)
    console.say(f"{out}: {written.size / 1e6:.1f} MB, {written.rows:,} instructions")
    if opening:
        click.launch(out.resolve().as_uri())
