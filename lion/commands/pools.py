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
    from lion.views.revisions import Place, Trees

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
    from lion.views import changes, difference, gathering, revisions

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


@click.command(short_help="Browse a pool: filter, sort, search.")
@click.argument("place", default="workspace:")
@click.option("--pool", type=click.Choice(["cache", "train"]), default="cache", show_default=True)
@click.option("--hard", "difficulty", flag_value="hard", help="Where the gap reached tau.")
@click.option("--easy", "difficulty", flag_value="easy", help="Where it did not.")
@click.option("--undecided", "difficulty", flag_value="undecided", help="Without a verdict's gap.")
@click.option("--gap", metavar="RANGE", help="As 3.. or ..2 or 1..3.")
@click.option("--origin", type=click.Choice(["seed", "hard", "easy"]), help="How it was made.")
@click.option("--iteration", help="The iteration that brought it.")
@click.option("--domain", help="What it is about.")
@click.option("--category", help="Its task, where the file said so.")
@click.option("--parent", metavar="ID", help="Made from this one; the first digits do.")
@click.option("--id", "identity", metavar="ID", help="This one, whole; the first digits do.")
@click.option("--search", metavar="TEXT", help="In instruction or answers, upper case or lower.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["pool", "gap", "-gap", "length", "-length"]),
    default="pool",
    show_default=True,
    help="With a minus the largest first.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(0), default=20, show_default=True, help="0: all of them."
)
@click.option("--whole", is_flag=True, help="Cut no text.")
@click.option("--json", "as_json", is_flag=True, help="Print rows as JSON lines, whole.")
def show(
    place: str,
    pool: Literal["cache", "train"],
    order: str,
    limit: int,
    whole: bool,
    as_json: bool,
    identity: str | None,
    **wanted: str | None,
) -> None:
    """Browse the pool of PLACE: each row with its answers and its latest verdict.

    \b
    lion show --hard --gap 3.. --sort=-gap
    lion show 2 --domain writing --search "haiku"
    lion show HEAD~3:1 --origin hard --json | jq .instruction
    lion show --id 6a7c
    """
    import orjson

    from lion.views import browsing, gathering, revisions

    with console.error_boundary():
        with revisions.opened() as trees:
            rows = gathering.judged(trees.place(place), pool)
        found = browsing.chosen(rows, browsing.Wanted(id=identity, **wanted), order)
        shown = found if limit == 0 else found.head(limit)
        if as_json:
            for row in shown.iter_rows(named=True):
                click.echo(orjson.dumps(browsing.as_row(row)))
        else:
            with _paged():
                console.stdout.print(browsing.as_text(shown, whole or identity is not None))
    console.say(f"{shown.height:,} of {found.height:,} rows; the pool has {rows.height:,}")


@click.command(short_help="Follow one instruction through its life.")
@click.argument("identity", metavar="ID")
@click.option("--at", "place", default="workspace:", metavar="PLACE", help="As far as here.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def trace(identity: str, place: str, as_json: bool) -> None:
    """Follow the instruction ID through its life.

    Its seed, the generator's prompt and reply, the teacher's answer; then, by iteration, the
    student's answer, reviews and verdict, and whether that student was tuned on it.

    \b
    lion trace 6a7c7038c323c541
    lion trace 6a7c --at v1:2
    """
    from lion.views import lives, revisions, tracing

    with console.error_boundary():
        with revisions.opened() as trees:
            life = tracing.trace(trees.place(place), identity)
        if as_json:
            click.echo(lives.as_json(life))
        else:
            with _paged():
                console.stdout.print(lives.as_text(life))


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
    from lion.views import reporting, revisions

    with console.error_boundary(), revisions.opened() as trees:
        written = reporting.write(trees.place(place), out)
    console.say(f"{out}: {written.size / 1e6:.1f} MB, {written.rows:,} instructions")
    if opening:
        click.launch(out.resolve().as_uri())


def _pair(trees: "Trees", before: str | None, after: str | None) -> tuple["Place", "Place"]:
    """Return the two places; what is not named is as `dvc diff` has it, or the predecessor."""
    from dataclasses import replace

    from lion.views import revisions

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
