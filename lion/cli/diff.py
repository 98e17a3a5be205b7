"""`lion diff`: two pools, row by row."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import click

from lion import console
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Trees
from lion.reporting import pool_diff, pool_diff_text, snapshot
from lion.reporting.pool_diff import Side

_TROUBLE = 2  # as diff(1): 0 the same, 1 different, 2 trouble
_FILES: Mapping[snapshot.PoolName, tuple[str, ...]] = {
    "cache": ("cache_pool.jsonl", "verdicts.jsonl"),
    "train": ("train_pool.jsonl", "verdicts.jsonl"),
}


@click.command("diff")
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
def diff_command(
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
    with console.error_boundary(exit_code=_TROUBLE):
        with revisions.open_trees() as trees:
            first, second = _pair(trees, before, after)
            notices = [revisions.stale_notice(place, *_FILES[pool]) for place in (first, second)]
            before_side, after_side = (
                _side(place, notice, pool)
                for place, notice in zip((first, second), notices, strict=True)
            )
            comparison = pool_diff.compare(before_side, after_side, samples)
        if as_json:
            click.echo(pool_diff_text.comparison_as_json(comparison))
        elif as_markdown:
            click.echo(pool_diff_text.comparison_as_markdown(comparison))
        else:
            with console.paged():
                console.stdout.print(pool_diff_text.comparison_as_text(comparison))
    for notice in dict.fromkeys(filter(None, notices)):
        console.say(notice)
    sys.exit(int(exit_code and comparison.differs))


def _side(place: Place, notice: str | None, pool: snapshot.PoolName) -> Side:
    """Return a side of the comparison, under a name that says whether it is stale."""
    side = snapshot.side(place, pool)
    return side if notice is None else replace(side, name=f"{side.name} (stale)")


def _pair(trees: Trees, before: str | None, after: str | None) -> tuple[Place, Place]:
    """Return the two places; an omitted one is HEAD, the workspace, or the predecessor."""
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
