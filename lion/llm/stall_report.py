"""Sentences for a person who waits: why no reply came for two minutes, and what would help."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from lion import console
from lion.config.settings import Api
from lion.llm.request_batch import RequestBatch

STALL_SECONDS = 120.0
"""The first sentence comes after this time without a reply; the next after twice as long."""

_ADVICE = {
    "timeout": "calls took longer than api.timeout = {timeout:g} s: raise it, or lower "
    "api.concurrency",
    "http_429": "the server asks for patience: set api.requests_per_minute to your limit",
    "connection": "connections failed: is the server up?",
}


@asynccontextmanager
async def report_stalls(
    batch: RequestBatch, api: Api, obstacle: Callable[[], str]
) -> AsyncIterator[None]:
    """Say from time to time why no reply comes, until the block ends.

    `obstacle` returns what of the budget keeps every call from being sent, or "".
    """
    watch = asyncio.create_task(_watch(batch, api, obstacle))
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(batch: RequestBatch, api: Api, obstacle: Callable[[], str]) -> None:
    interval, waited = STALL_SECONDS, 0.0
    settled, before = batch.settled, Counter[str]()
    while True:
        await asyncio.sleep(STALL_SECONDS / 12)
        waited += STALL_SECONDS / 12
        if batch.settled != settled:
            settled, before = batch.settled, Counter(batch.failure_reasons)
            interval, waited = STALL_SECONDS, 0.0
        elif waited >= interval:
            failures = batch.failure_reasons - before
            console.say(stall_sentence(batch, api, waited, failures, obstacle()))
            interval *= 2


def stall_sentence(
    batch: RequestBatch, api: Api, waited: float, failures: Counter[str], obstacle: str
) -> str:
    """Return the sentence after `waited` seconds without a reply; `failures` since then."""
    start = f"no reply for {waited / 60:.0f} min, {batch.in_flight:,} calls in flight"
    if obstacle and not batch.in_flight:
        return f"{start}: {obstacle}"
    if not batch.in_flight and not failures:
        return f"{start}: the limits allow no call now (requests or tokens per minute, or a day)"
    if not failures:
        return f"{start}: the server is slow (a call may take api.timeout = {api.timeout:g} s)"
    counted = ", ".join(f"{reason} {count:,}" for reason, count in failures.most_common(3))
    advice = _ADVICE.get(failures.most_common(1)[0][0], "the server refuses or breaks off")
    return f"{start}; {counted}: {advice.format(timeout=api.timeout)}"
