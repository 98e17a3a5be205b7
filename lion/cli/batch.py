"""`lion batch`: the open batches of this project at their providers."""

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
from lion.llm.batch_api import BatchRunner, batches_lock
from lion.llm.batch_client import BatchClient, BatchState
from lion.llm.batch_store import BatchStore, Submission
from lion.llm.budget import CostEstimator
from lion.llm.caps import Cap
from lion.llm.ledger import Ledger
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
            states = asyncio.run(_states(ledger, api))
    if as_json:
        click.echo(json.dumps([_figures(*entry) for entry in states], indent=2))
    elif states:
        console.stdout.print(_table(states))
    else:
        console.say("no batch is at work")
    for submission, _, problem in states:
        if problem:
            console.say(f"{submission.batch}: {problem}")
    if any(problem for _, _, problem in states):
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
    with console.error_boundary(), Ledger(project.ledger()) as ledger, batches_lock(ledger):
        book = BatchStore(ledger)
        matches = [
            submission for submission in book.open() if name in (submission.batch, submission.token)
        ]
        if not matches:
            raise DataError(f"{name}: no such batch is at work; `lion batch` lists them")
        count = book.forget(matches[0])
    console.say(f"{name}: {count:,} requests are forgotten; the next run asks them again")


async def _states(ledger: Ledger, api: Api) -> list[tuple[Submission, BatchState | None, str]]:
    """Return every open batch with its provider's state, or with the error of asking for it."""
    states: list[tuple[Submission, BatchState | None, str]] = []
    for submission in BatchStore(ledger).open():
        if submission.batch is None:
            states.append((submission, None, ""))
            continue
        transport = Transport(submission.who, api)
        try:
            states.append(
                (submission, await BatchClient(transport, api).state(submission.batch), "")
            )
        except AskError as error:
            states.append((submission, None, str(error)))
        finally:
            await transport.close()
    return states


async def _fetch_all(ledger: Ledger, api: Api) -> int:
    """Fetch once from every endpoint and model; return the count of batches still open."""
    prices, left = Prices.load(project.PRICES), 0
    with batches_lock(ledger):
        for who in {
            (submission.endpoint, submission.model): submission.who
            for submission in BatchStore(ledger).open()
        }.values():
            transport = Transport(who, api)
            try:
                estimator = CostEstimator(who, prices, Cap(), batch=True)
                left += len(await BatchRunner(api, transport, estimator, ledger).fetch())
            finally:
                await transport.close()
    return left


def _figures(submission: Submission, state: BatchState | None, problem: str) -> dict[str, object]:
    """Return a batch for `--json`; null where the provider states nothing."""
    reported = asdict(state) if state else {}
    return {
        "batch": submission.batch,
        "token": submission.token,
        "stage": submission.stage,
        "endpoint": submission.endpoint,
        "model": submission.model,
        "submitted": submission.at,
        "requests": submission.requests,
        "status": state.status if state else submission.status,
        **{name: reported.get(name) for name in ("done", "failed", "expires_at")},
        "problem": problem or None,
    }


def _table(states: Sequence[tuple[Submission, BatchState | None, str]]) -> Table:
    table = grid("stage", "model", "batch", "status", "requests", "done", "failed", "until (UTC)")
    for submission, state, _ in states:
        until = state.expires_at if state else None
        table.add_row(
            submission.stage or DASH,
            submission.model,
            submission.batch or DASH,
            state.status if state else submission.status,
            f"{submission.requests:,}",
            f"{state.done:,}" if state else DASH,
            f"{state.failed:,}" if state else DASH,
            f"{datetime.fromtimestamp(until, UTC):%m-%d %H:%M}" if until else DASH,
        )
    return table
