"""`lion diff`, `lion show`, `lion trace` and `lion report`: what stands in the pools, and why."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lion import console

if TYPE_CHECKING:
    from lion.revisions import Place, Trees

_TROUBLE = 2  # as diff(1): 0 the same, 1 different, 2 trouble


@contextmanager
def _paged() -> Iterator[None]:
    """Page what is longer than a terminal, as git does; a pipe gets it as it is."""
    if not console.stdout.is_terminal:
        yield
        return
    os.environ.setdefault("LESS", "FRX")
    with console.stdout.pager(styles=True):
        yield


@click.command(short_help="Compare two pools: iterations, revisions, files.")
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option(
    "--pool",
    type=click.Choice(["cache", "train"]),
    default="cache",
    show_default=True,
    help="Everything so far, or only what an iteration brought.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Rows of each kind to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown, for a pull request.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where the pools differ.")
def diff(
    before: str | None,
    after: str | None,
    pool: Literal["cache", "train"],
    samples: int,
    as_json: bool,
    as_markdown: bool,
    exit_code: bool,
) -> None:
    """Compare the pools of BEFORE and AFTER, row by row.

    \b
    lion diff                  HEAD, and what lies in the workspace
    lion diff 2                iteration 2, and the one that it came from
    lion diff 1 2              two iterations
    lion diff HEAD~3 HEAD      two revisions, their last iterations
    lion diff v1:2 main:3      an iteration of each
    lion diff my-exp workspace:2 --md
    lion diff a.jsonl b.jsonl --json --exit-code

    Reads any commit, branch, tag or experiment without checkout, from the remote where the cache
    has it not. Exit codes: 0, with --exit-code 1 where rows, answers or verdicts differ; 2 where
    something could not be read.
    """
    from lion import changes, difference, gathering, revisions

    with console.error_boundary(exit_code=_TROUBLE):
        with revisions.opened() as trees:
            first, second = _pair(trees, before, after)
            found = difference.compare(
                gathering.side(first, pool), gathering.side(second, pool), samples
            )
        if as_json:
            click.echo(changes.as_json(found))
        elif as_markdown:
            click.echo(changes.as_markdown(found))
        else:
            with _paged():
                console.stdout.print(changes.as_text(found))
    sys.exit(int(exit_code and found.differs))


@click.command(short_help="Write the report page, one HTML file.")
@click.argument("place", default="workspace:")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report/index.html",
    show_default=True,
)
@click.option("--open", "opening", is_flag=True, help="Show it in the browser.")
def report(place: str, out: Path, opening: bool) -> None:
    """Write the page of a run: figures, plots, and every instruction with its answers.

    \b
    lion report                what lies in the workspace
    lion report 2              as far as iteration 2
    lion report v1 --out v1.html

    One file, which needs no network and no server: open it with a double click, send it by mail.
    """
    from lion import __version__, gathering, jsonl, overview, page, revisions

    with console.error_boundary():
        with revisions.opened() as trees:
            named = trees.place(place)
            iteration = revisions.iteration_of(named)
            run = overview.run(named.tree, iteration, gathering.judged(named))
            told = f"{named.tree.name}, iteration {iteration}. Made by lion {__version__}."
            text = page.render(overview.overview(run), run.rows, told)
        with jsonl.replacing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    console.say(f"{out}: {len(text) / 1e6:.1f} MB, {run.rows.height:,} instructions")
    if opening:
        click.launch(out.resolve().as_uri())


def _pair(trees: "Trees", before: str | None, after: str | None) -> tuple["Place", "Place"]:
    """Return the two places; what is not named is as `dvc diff` has it, or the predecessor."""
    from dataclasses import replace

    from lion import revisions

    if before is None:
        return trees.place("HEAD:"), trees.place("workspace:")
    first = trees.place(before)
    if after is not None:
        return first, trees.place(after)
    if first.iteration is None:
        return first, trees.place("workspace:")
    previous = revisions.iterations(first.tree)[revisions.iteration_of(first)]
    if previous is None:
        raise click.UsageError("the base came from no iteration; name AFTER as well")
    return replace(first, iteration=previous), first
