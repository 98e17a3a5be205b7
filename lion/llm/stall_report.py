"""A sentence for a person who waits: why no reply came for two minutes, and what would help."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lion import console
from lion.config.settings import Api
from lion.llm.request_runner import RequestBatch

QUIET_SECONDS = 120.0
"""The first sentence comes after this time without a reply; the next after twice as long."""

_ADVICE = {
    "timeout": "calls took longer than api.timeout = {timeout:g} s: raise it, or lower "
    "api.concurrency",
    "http_429": "the server asks for patience: set api.requests_per_minute to your limit",
    "connection": "connections failed: is the server up?",
}


@asynccontextmanager
async def watched(shared: RequestBatch, api: Api) -> AsyncIterator[None]:
    """Say from time to time why nothing comes, until the block ends."""
    watching = asyncio.create_task(_watch(shared, api))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(shared: RequestBatch, api: Api) -> None:
    quiet, waited = QUIET_SECONDS, 0.0
    settled, before = shared.settled, Counter[str]()
    while True:
        await asyncio.sleep(QUIET_SECONDS / 12)
        waited += QUIET_SECONDS / 12
        if shared.settled != settled:
            settled, before = shared.settled, Counter(shared.troubles)
            quiet, waited = QUIET_SECONDS, 0.0
        elif waited >= quiet:
            console.say(why_quiet(shared, api, waited, shared.troubles - before))
            quiet *= 2


def why_quiet(shared: RequestBatch, api: Api, waited: float, troubles: Counter[str]) -> str:
    """Return the sentence for a person after `waited` seconds without a reply."""
    start = f"no reply for {waited / 60:.0f} min, {shared.in_flight:,} calls in flight"
    if not troubles:
        return f"{start}: the server is slow (a call may take api.timeout = {api.timeout:g} s)"
    counted = ", ".join(f"{reason} {count:,}" for reason, count in troubles.most_common(3))
    advice = _ADVICE.get(troubles.most_common(1)[0][0], "the server refuses or breaks off")
    return f"{start}; {counted}: {advice.format(timeout=api.timeout)}"
