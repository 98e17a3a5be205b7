"""Sending what the ledger lacks: many requests in flight, and when to stop.

One request is `request_runner`'s, one call `transport`'s, the rate `rate_limit`'s; batches are
`batch_api`'s.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from lion import console
from lion.config.settings import Api, Endpoint
from lion.errors import InterruptedRunError, LionError
from lion.llm.batch_api import BatchRunner, BuildRequest
from lion.llm.batch_client import BatchClient
from lion.llm.budget import CostEstimator
from lion.llm.call_errors import CallError
from lion.llm.caps import Cap
from lion.llm.concurrency import ConcurrencyLimiter
from lion.llm.denials import DenialCheck
from lion.llm.ledger import Ledger
from lion.llm.ledger_writer import LedgerWriter
from lion.llm.odd_replies import odd_sentences
from lion.llm.prices import Prices
from lion.llm.rate_limit import AdaptiveRateLimiter
from lion.llm.request_batch import RequestBatch, handle_signals, stopping_notice
from lion.llm.request_runner import RequestRunner
from lion.llm.request_set import PreparedRequest, RequestSet
from lion.llm.reservations import Reservations
from lion.llm.stall_report import report_stalls
from lion.llm.transport import RETRYABLE_STATUS, Transport
from lion.llm.usage import UsageStats
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome

Progress = Callable[[int, int], None]
_FIRST_REFUSALS = 8
_FIRST_IN_FLIGHT = 64
"""Calls in flight before the first reply, where no limit is known: each reply adds one more."""


@dataclass(slots=True)
class Sender:
    """Sends the requests of one client and counts what happened. Raises as `LLMClient` does."""

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    stage: str
    prices: Prices
    cap: Cap
    usage: UsageStats
    _transport: Transport = field(init=False)
    _runner: RequestRunner = field(init=False)
    _reservations: Reservations = field(init=False)
    _denials: DenialCheck = field(init=False)
    _answered: bool = False

    def __post_init__(self) -> None:
        """Prepare; the HTTP client is created at the first call."""
        self._transport = Transport(self.endpoint, self.api)
        estimator = CostEstimator(self.endpoint, self.prices, self.cap)
        self._reservations = Reservations(estimator, self.ledger)
        self._runner = RequestRunner(
            self.api,
            self._transport,
            AdaptiveRateLimiter(self.api.requests_per_minute, self.api.tokens_per_minute),
            estimator,
            self._reservations,
            self.stage,
            self.usage,
        )
        self._denials = DenialCheck(self.endpoint, self.ledger, self._transport, self._runner)

    async def close(self) -> None:
        """Close connections and, where there is one, the embedded teacher."""
        await self._transport.close()

    async def probe(self, request: PreparedRequest) -> Outcome:
        """Send one request, once; its latency is in `usage`."""
        self.usage.calls += 1
        self._transport.open()  # a server of our own starts, which is no latency
        started = time.monotonic()
        try:
            raw, _ = await self._transport.send(request.body)
        except CallError as error:
            return error.failure
        self.usage.count_call(time.monotonic() - started, None)
        return protocol.parse(raw)

    async def check_batch_api(self) -> None:
        """Raise EndpointError where the endpoint has no Batch API."""
        await BatchClient(self._transport, self.api).check()

    async def complete_in_batches(
        self, missing: Sequence[bytes], build: BuildRequest, distinct: int
    ) -> None:
        """Complete what batches can of `missing` (see `BatchRunner.complete`)."""
        self._transport.open()
        runner = BatchRunner(
            self.api,
            self._transport,
            CostEstimator(self.endpoint, self.prices, self.cap, batch=True),
            self.ledger,
            self.stage,
            self.usage,
        )
        await runner.complete(missing, build, distinct)

    async def send(
        self, queue: Iterator[PreparedRequest], requests: RequestSet, advance: Progress
    ) -> None:
        """Send the requests of `queue`; call `advance` with (settled, all) after each."""
        self._transport.open()
        async with LedgerWriter(self.ledger, self.cap) as writer:
            limiter = ConcurrencyLimiter(min(self.api.concurrency, len(requests.missing)))
            batch = RequestBatch(queue, writer, limiter, self._on_stop, self._answered)
            work = asyncio.create_task(self._work_all(batch, requests, advance))
            interrupt = partial(self._interrupt, batch)
            with _infrequent_gc(), handle_signals(work, interrupt, self.api.timeout):
                try:
                    async with report_stalls(batch, self.api, self._reservations.obstacle):
                        await work
                except asyncio.CancelledError:
                    if not batch.is_stopping:
                        raise
        for sentence in odd_sentences(batch.odd_replies, self.endpoint):
            console.say(sentence)
        if batch.stop_reason is not None:
            raise batch.stop_reason

    async def _work_all(self, batch: RequestBatch, requests: RequestSet, advance: Progress) -> None:
        """Run the workers: all at once where a limit is known, else one more after each reply."""
        maximum = min(self.api.concurrency, len(requests.missing))
        first = maximum if self._runner.rate_limiter.rate else min(maximum, _FIRST_IN_FLIGHT)
        spare = iter(range(maximum - first))
        async with asyncio.TaskGroup() as group:

            async def work() -> None:
                for request in batch.queue:
                    await self._settle_safely(request, batch, requests, advance)
                    if next(spare, None) is not None:
                        group.create_task(work())
                    if batch.is_stopping:  # calls in flight are billed: waited for and kept
                        return

            for _ in range(first):
                group.create_task(work())
        await self._denials.conclude(batch)

    async def _settle_safely(
        self,
        request: PreparedRequest,
        batch: RequestBatch,
        requests: RequestSet,
        advance: Progress,
    ) -> None:
        """Settle one request; an error stops the batch, once calls in flight are kept."""
        try:
            await self._settle(request, batch, requests, advance)
        except Exception as error:  # raised by `send` after the calls in flight were kept
            batch.stop(error)

    async def _settle(
        self,
        request: PreparedRequest,
        batch: RequestBatch,
        requests: RequestSet,
        advance: Progress,
    ) -> None:
        outcome = await self._runner.run(request, batch)
        if outcome is None:  # never sent: the batch stops
            return
        batch.settled += 1
        outcome = protocol.without_thoughts(outcome, self.endpoint.thinking)
        requests.record_outcome(request.key, request.index, outcome)
        await self._denials.record(request, outcome, batch)
        self._answered = self._answered or batch.answered
        batch.stop(self._reason_to_stop(batch, requests))
        advance(requests.stored + batch.settled, requests.distinct)

    def _on_stop(self, batch: RequestBatch) -> None:
        """Wake the calls that wait for their turn, and say what is waited for."""
        self._reservations.stop()
        self._runner.rate_limiter.release_all()
        batch.limiter.release_all()
        if batch.in_flight and not isinstance(batch.stop_reason, InterruptedRunError):
            console.say(stopping_notice(self.api.timeout))

    def _interrupt(self, batch: RequestBatch) -> None:
        stored = self.ledger.count()
        batch.stop(
            InterruptedRunError(
                f"interrupted. {stored:,} replies are kept; run again to ask for the rest."
            )
        )

    def _reason_to_stop(self, batch: RequestBatch, requests: RequestSet) -> LionError | None:
        """Return why no further request is sent, or None.

        One refused request may be at fault itself; the endpoint is given up only where the first
        few, or all there are, were refused.
        """
        failed = requests.failed
        enough = len(failed) >= min(_FIRST_REFUSALS, requests.distinct)
        if enough and not (batch.answered or requests.stored):
            refused = [failure for failure in failed.values() if _is_refusal(failure)]
            if len(refused) == len(failed):
                return self._transport.misconfigured(refused[0])
        return requests.too_many()


def _is_refusal(failure: Failure) -> bool:
    """Return whether asking the same again is pointless: a client error, or another protocol."""
    if failure.reason == "foreign_reply":
        return True
    status = failure.reason.removeprefix("http_")
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in RETRYABLE_STATUS


_GC_THRESHOLDS = (20_000, 20, 20)


@contextmanager
def _infrequent_gc() -> Iterator[None]:
    """Collect garbage a thirtieth as often as usual.

    A full collection visits all that is in flight: with 3,000 calls it stalls the event loop for
    0.3 to 0.8 s, and takes a fifth of the CPU. It frees little (1.7 KB a call).
    """
    usual = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
