"""`lion verify-remote`: whether what a team shares is whole."""

import json
import sys
from dataclasses import asdict

import click
from rich.table import Table

from lion import console
from lion.escape import DASH
from lion.pipeline import remote_check
from lion.pipeline.remote_check import Damage, Verified


@click.command("verify-remote")
@click.option("--remote", metavar="NAME", help="Of `dvc remote list`; else the default one.")
@click.option(
    "--rev", "revisions", multiple=True, help="Also what this revision names; repeatable."
)
@click.option("--repair", is_flag=True, help="Mend each from the cache, or the cache from there.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def verify_remote_command(
    remote: str | None, revisions: tuple[str, ...], repair: bool, as_json: bool
) -> None:
    """Hash every object that dvc.lock names, in DVC's cache and in the remote.

    \b
    lion verify-remote
    lion verify-remote --repair
    lion verify-remote --remote team --rev v1 --rev v2 --json

    Reads all of it: what the remote bills for reading is billed. Missing, truncated and corrupted
    objects are named by file and iteration. DVC itself notices none that is merely damaged: a pull
    of it ends with 0. Exit codes: 0 all is whole (or was mended), 1 something is not.
    """
    with console.error_boundary():
        result = remote_check.verify_objects(remote, revisions, repair=repair)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    elif result.damaged:
        console.stdout.print(_table(result))
    left = [damage for damage in result.damaged if not damage.mended]
    console.say(_told(result, left))
    sys.exit(int(bool(left)))


def _table(result: Verified) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("where", "state", "iteration", "stage", "file", "object"):
        table.add_column(name, overflow="fold")
    for damage in result.damaged:
        state = f"{damage.state}, mended" if damage.mended else damage.state
        for use in damage.uses:
            key = use.iteration or DASH
            table.add_row(damage.where, state, key, use.stage, use.path, damage.oid[:12])
    return table


def _told(result: Verified, left: list[Damage]) -> str:
    if not result.damaged:
        return f"{result.objects:,} objects: all is whole"
    mended = len(result.damaged) - len(left)
    summary = (
        f"{result.objects:,} objects: {len(result.damaged):,} damaged, {mended:,} of them mended"
    )
    if not left:
        return summary
    return (
        f"{summary}. `dvc push` brings what was never pushed; `lion verify-remote --repair` mends "
        "what is whole in the cache or in the remote; else rerun the stage."
    )
