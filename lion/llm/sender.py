"""Sending what the ledger lacks: many requests in flight, and when to stop.

One request is `request_runner`'s, one call `transport`'s, the pace `rate_limit`'s; batches are
`batch_api`'s.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from lion import console
from lion.config.settings import Api, Endpoint
from lion.errors import InterruptedRunError, LionError
from lion.llm.batch_api import BatchRunner, Make
from lion.llm.batch_client import BatchClient
from lion.llm.budget import CostEstimator, UsageStats
from lion.llm.concurrency import ConcurrencyLimiter
from lion.llm.ledger import Cap, Ledger
from lion.llm.ledger_writer import Writer
from lion.llm.prices import Prices
from lion.llm.rate_limit import AdaptiveRateLimiter
from lion.llm.request_runner import RequestBatch, RequestRunner, interruptible, stopping
from lion.llm.request_set import PreparedRequest, RequestSet
from lion.llm.stall_report import watched
from lion.llm.transport import RETRYABLE_STATUS, CallError, Transport
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome

Progress = Callable[[int, int], None]
_FIRST_REFUSALS = 8
_DENIED = ("http_403", "http_404")
"""Forbidden, not found: of one request where others are answered, as in moderation; of the key or
the model where several in a row are."""
_FIRST_IN_FLIGHT = 64
"""Calls in flight before the first reply, where no limit is known: each reply adds one more."""


@dataclass(slots=True)
class Sender:
    """What sends the requests of one client, and keeps its account. Raises as `LLMClient` does."""

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    stage: str
    prices: Prices
    cap: Cap
    usage: UsageStats
    _transport: Transport = field(init=False)
    _caller: RequestRunner = field(init=False)
    _answered: bool = False

    def __post_init__(self) -> None:
        """Prepare; the client is made at the first call."""
        self._transport = Transport(self.endpoint, self.api)
        self._caller = RequestRunner(
            self.api,
            self._transport,
            AdaptiveRateLimiter(self.api.requests_per_minute, self.api.tokens_per_minute),
            CostEstimator(self.endpoint, self.prices, self.cap),
            self.ledger,
            self.stage,
            self.usage,
        )

    async def close(self) -> None:
        """Close connections and, where there is one, the embedded teacher."""
        await self._transport.close()

    async def probe(self, item: PreparedRequest) -> Outcome:
        """Send one request, once."""
        self.usage.calls += 1
        try:
            raw, _ = await self._transport.send(item.body)
        except CallError as error:
            return error.failure
        return protocol.parse(raw)

    async def check_batch_api(self) -> None:
        """Raise EndpointError where there is no Batch API."""
        await BatchClient(self._transport, self.api).look()

    async def bring(self, missing: Sequence[bytes], make: Make, distinct: int) -> None:
        """Let batches bring what they can of `missing` (see `Batching.bring`)."""
        self._transport.open()
        batching = BatchRunner(
            self.api,
            self._transport,
            CostEstimator(self.endpoint, self.prices, self.cap, batch=True),
            self.ledger,
            self.stage,
            self.usage,
        )
        await batching.bring(missing, make, distinct)

    async def send(
        self, items: Iterator[PreparedRequest], asked: RequestSet, advance: Progress
    ) -> None:
        """Ask for what is missing, and tell `advance` (settled, all)."""
        self._transport.open()
        async with Writer(self.ledger, self.cap) as writer:
            answered = self._answered or asked.answered
            slots = ConcurrencyLimiter(min(self.api.concurrency, len(asked.missing)))
            shared = RequestBatch(items, writer, slots, asked.failed, self._ending, answered)
            work = asyncio.create_task(self._work_all(shared, asked, advance))
            interrupt = partial(self._interrupt, shared)
            with interruptible(work, interrupt, self.api.timeout):
                try:
                    async with watched(shared, self.api):
                        await work
                except asyncio.CancelledError:
                    if not shared.has_ended:
                        raise
        if shared.ended is not None:
            raise shared.ended

    async def _work_all(self, shared: RequestBatch, asked: RequestSet, advance: Progress) -> None:
        """Start workers: all that may be in flight where a limit is known, else more by and by."""
        most = min(self.api.concurrency, len(asked.missing))
        first = most if self._caller.pace.rate else min(most, _FIRST_IN_FLIGHT)
        spare = iter(range(most - first))
        async with asyncio.TaskGroup() as group:

            async def work() -> None:
                for item in shared.queue:
                    await self._settle_safely(item, shared, asked, advance)
                    if next(spare, None) is not None:
                        group.create_task(work())
                    if shared.has_ended:  # what is in flight is billed: waited for and kept
                        return

            for _ in range(first):
                group.create_task(work())

    async def _settle_safely(
        self, item: PreparedRequest, shared: RequestBatch, asked: RequestSet, advance: Progress
    ) -> None:
        """Settle one request; whatever ends it ends the asking, once the others are kept."""
        try:
            await self._settle(item, shared, asked, advance)
        except Exception as error:  # raised by `send` after what is in flight was kept
            shared.end(error)

    async def _settle(
        self, item: PreparedRequest, shared: RequestBatch, asked: RequestSet, advance: Progress
    ) -> None:
        outcome = await self._caller.settle(item, shared)
        if outcome is None:  # never sent: asking has ended
            return
        shared.settled += 1
        outcome = protocol.without_thoughts(outcome, self.endpoint.thinking)
        if isinstance(outcome, Failure):  # those that are billed too
            shared.failed[item.key] = outcome
            shared.denied_in_a_row += outcome.reason in _DENIED
        else:
            self._answered = shared.answered = True
            shared.denied_in_a_row = 0
        advance(asked.known + shared.settled, asked.distinct)
        shared.end(self._reason_to_end(shared, asked))

    def _ending(self, shared: RequestBatch) -> None:
        """Wake what waits for its turn, and say what is waited for."""
        self._caller.pace.release()
        shared.slots.open_all()
        if shared.in_flight and not isinstance(shared.ended, InterruptedRunError):
            console.say(stopping(self.api.timeout))

    def _interrupt(self, shared: RequestBatch) -> None:
        kept = self.ledger.count()
        shared.end(
            InterruptedRunError(
                f"interrupted. {kept:,} replies are kept; run again to ask for the rest."
            )
        )

    def _reason_to_end(self, shared: RequestBatch, asked: RequestSet) -> LionError | None:
        """Return why no further request is sent, or None.

        One refused request may be at fault itself; the endpoint is given up only where the first
        few, or all there are, were refused.
        """
        if shared.denied_in_a_row >= _FIRST_REFUSALS:  # a key that was revoked meanwhile
            denied = next(one for one in reversed(asked.failed.values()) if one.reason in _DENIED)
            return self._transport.misconfigured(denied)
        failed = asked.failed
        enough = len(failed) >= min(_FIRST_REFUSALS, asked.distinct)
        if enough and not shared.answered:
            refused = [one for one in failed.values() if _is_refusal(one)]
            if len(refused) == len(failed):
                return self._transport.misconfigured(refused[0])
        return asked.too_many()


def _is_refusal(failure: Failure) -> bool:
    """Tell a client error of the request's own: 400, 413, 422 and their like."""
    status = failure.reason.removeprefix("http_")
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in RETRYABLE_STATUS
