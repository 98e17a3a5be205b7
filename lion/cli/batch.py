"""`lion batch`: what batches at providers are at work for this project."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.table import Table

from lion import console
from lion.config import project
from lion.config.settings import Api
from lion.errors import AskError, DataError
from lion.escape import DASH
from lion.llm.batch_api import Batching, alone
from lion.llm.batch_provider import BatchState, Provider
from lion.llm.batch_state import Submission, Submitted
from lion.llm.budget import Purse
from lion.llm.ledger import Cap, Ledger
from lion.llm.prices import Prices
from lion.llm.transport import Transport
from lion.reporting.costs import grid


@click.group("batch", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.pass_context
def batch_group(context: click.Context, as_json: bool) -> None:
    """Ask how far each batch is, which costs nothing, and print it.

    \b
    lion batch
    lion batch fetch         keep what is done, whichever stage it was for
    lion batch forget ID     give up one that the provider does not know any more
    """
    if context.invoked_subcommand is not None:
        return
    with console.error_boundary():
        api = project.load_settings().api
        with Ledger(project.ledger()) as ledger:
            found = asyncio.run(_states(ledger, api))
    if as_json:
        click.echo(json.dumps([_figures(*one) for one in found], indent=2))
    elif found:
        console.stdout.print(_table(found))
    else:
        console.say("no batch is at work")
    for one, _, problem in found:
        if problem:
            console.say(f"{one.batch}: {problem}")
    if any(problem for _, _, problem in found):
        sys.exit(1)


@batch_group.command("fetch")
def fetch_batches() -> None:
    """Keep the replies of every batch that is done, also of those that no stage waits for."""
    with console.error_boundary():
        settings = project.load_settings()
        with Ledger(project.ledger()) as ledger:
            before = ledger.count()
            left = asyncio.run(_fetch_all(ledger, settings.api))
            new = ledger.count() - before
    console.say(f"{new:,} new replies; {left:,} batches are still at work")


@batch_group.command("forget")
@click.argument("name", metavar="ID")
def forget_batch(name: str) -> None:
    """Give up the batch ID: its requests are asked again, and paid again where it was billed.

    For a batch that the provider does not know any more, or of an account that is gone.
    """
    with console.error_boundary(), Ledger(project.ledger()) as ledger, alone(ledger):
        book = Submitted(ledger)
        found = [one for one in book.open() if name in (one.batch, one.token)]
        if not found:
            raise DataError(f"{name}: no such batch is at work; `lion batch` lists them")
        count = book.forget(found[0])
    console.say(f"{name}: {count:,} requests are forgotten; the next run asks them again")


async def _states(ledger: Ledger, api: Api) -> list[tuple[Submission, BatchState | None, str]]:
    """Return every open batch with what its provider says of it, or why that is not known."""
    found: list[tuple[Submission, BatchState | None, str]] = []
    for one in Submitted(ledger).open():
        if one.batch is None:
            found.append((one, None, ""))
            continue
        transport = Transport(one.who, api)
        try:
            found.append((one, await Provider(transport, api).state(one.batch), ""))
        except AskError as error:
            found.append((one, None, str(error)))
        finally:
            await transport.close()
    return found


async def _fetch_all(ledger: Ledger, api: Api) -> int:
    """Fetch from every endpoint and model once; return how many batches go on."""
    prices, left = Prices.load(project.PRICES), 0
    with alone(ledger):
        for who in {
            (one.endpoint, one.model): one.who for one in Submitted(ledger).open()
        }.values():
            transport = Transport(who, api)
            try:
                purse = Purse(who, prices, Cap(), batch=True)
                left += len(await Batching(api, transport, purse, ledger).fetch())
            finally:
                await transport.close()
    return left


def _figures(one: Submission, state: BatchState | None, problem: str) -> dict[str, object]:
    """Return one batch for `--json`; what the provider did not say is null."""
    told = asdict(state) if state else {}
    return {
        "batch": one.batch,
        "token": one.token,
        "stage": one.stage,
        "endpoint": one.endpoint,
        "model": one.model,
        "submitted": one.at,
        "requests": one.requests,
        "status": state.status if state else one.status,
        **{name: told.get(name) for name in ("done", "failed", "expires_at")},
        "problem": problem or None,
    }


def _table(found: Sequence[tuple[Submission, BatchState | None, str]]) -> Table:
    table = grid("stage", "model", "batch", "status", "requests", "done", "failed", "until (UTC)")
    for one, state, _ in found:
        until = state.expires_at if state else None
        table.add_row(
            one.stage or DASH,
            one.model,
            one.batch or DASH,
            state.status if state else one.status,
            f"{one.requests:,}",
            f"{state.done:,}" if state else DASH,
            f"{state.failed:,}" if state else DASH,
            f"{datetime.fromtimestamp(until, UTC):%m-%d %H:%M}" if until else DASH,
        )
    return table
