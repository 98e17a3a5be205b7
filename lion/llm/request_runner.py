"""The one retry policy: how often a request is sent again, and after how long (tenacity)."""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import tenacity

from lion import console
from lion.config.settings import Api
from lion.errors import BudgetError, EndpointError
from lion.llm import budget
from lion.llm.budget import CostEstimator, UsageStats
from lion.llm.concurrency import ConcurrencyLimiter
from lion.llm.ledger import Call, Entry, FailedCall, Ledger
from lion.llm.ledger_writer import Writer
from lion.llm.rate_limit import AdaptiveRateLimiter
from lion.llm.request_set import PreparedRequest
from lion.llm.transport import (
    CallError,
    DeniedError,
    EndpointRefusedError,
    RefusedError,
    RetryableError,
    ThrottledError,
    Transport,
)
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome, Usage


@dataclass(slots=True)
class RetryPolicy:
    """The tries of one request: `api.tries` calls, not counting a server's plea for patience.

    And no longer than `api.max_request_seconds` in all, whatever the calls say. None is begun where
    `has_ended`; `nap` sleeps between them.
    """

    api: Api
    has_ended: Callable[[], bool]
    nap: Callable[[float], Awaitable[None]]
    _throttled: int = 0

    def policy(
        self, before_sleep: Callable[[tenacity.RetryCallState], None]
    ) -> tenacity.AsyncRetrying:
        """Return the policy, to be used for this request alone."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=self._enough,
            wait=self._wait,
            sleep=self.nap,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        self._throttled += isinstance(_error(state), ThrottledError)
        return (
            self.has_ended()
            or (state.seconds_since_start or 0.0) > self.api.max_request_seconds
            or state.attempt_number - self._throttled >= self.api.tries
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, RetryableError) and error.after is not None:
            # a little jitter, or all wake in the same instant
            return min(error.after, self.api.max_wait) * random.uniform(1.0, 1.1)  # noqa: S311
        return float(tenacity.wait_random_exponential(multiplier=0.5, max=self.api.max_wait)(state))


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(
    work: asyncio.Task[None], begin_nothing_more: Callable[[], object], timeout: float
) -> Iterator[None]:
    """Let the first signal call `begin_nothing_more`, and the second cancel `work`.

    `timeout` is the seconds that a call takes at most, for the message. Used inside the loop of
    `work`; in a thread that is not the main one no signal arrives.
    """
    loop = asyncio.get_running_loop()
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            work.cancel()
            return
        begin_nothing_more()
        console.say(stopping(timeout))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def stopping(timeout: float) -> str:
    """Return the sentence that says what an orderly stop waits for, and how long."""
    return (
        f"stopping: calls in flight are waited for, {timeout:,.0f} s at most; "
        "Ctrl-C again abandons them"
    )


_TOO_SLOW = 3  # time-outs of a call that is alone in flight
_BYTES_A_TOKEN = 4  # to pace the first calls, until replies tell their tokens


@dataclass(slots=True)
class RequestBatch:
    """What the workers of one `ask` share; where `ended` is set, nothing more is begun.

    Replies are in the ledger by the time they are counted here; only failures are held. `on_end`
    wakes calls that wait for their turn. `answered` tells whether the endpoint ever answered,
    `troubles` counts the calls that brought nothing by their reason, `denied_in_a_row` those that
    were refused as forbidden or not found since the last reply.
    """

    queue: Iterator[PreparedRequest]
    writer: Writer
    slots: ConcurrencyLimiter
    failed: dict[bytes, Failure] = field(default_factory=dict)
    on_end: Callable[["RequestBatch"], None] = lambda _: None
    answered: bool = False
    troubles: Counter[str] = field(default_factory=Counter)
    denied_in_a_row: int = 0
    settled: int = 0
    in_flight: int = 0
    ended: Exception | None = None
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.ended is not None

    def end(self, reason: Exception | None) -> bool:
        """Begin nothing more, for the first reason given; tell whether this was it."""
        if reason is None or self.has_ended:
            return False
        self.ended = reason
        self._stopped.set()
        self.on_end(self)
        return True

    async def nap(self, seconds: float) -> None:
        """Sleep, but no longer than until the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)


@dataclass(slots=True)
class RequestRunner:
    """Makes the calls of one client and keeps their account."""

    api: Api
    transport: Transport
    pace: AdaptiveRateLimiter
    purse: CostEstimator
    ledger: Ledger
    stage: str
    usage: UsageStats

    async def settle(self, item: PreparedRequest, shared: RequestBatch) -> Outcome | None:
        """Return the outcome after the last try, durable by now; None where it was never sent."""
        tries = RetryPolicy(self.api, lambda: shared.has_ended, shared.nap)
        try:
            async for attempt in tries.policy(self._count_retry):
                with attempt:
                    return await self._once(item, shared)
        except CallError as error:
            return error.failure
        return None

    def _count_retry(self, _: object) -> None:
        self.usage.retries += 1

    async def _once(self, item: PreparedRequest, shared: RequestBatch) -> Outcome | None:
        """Make one call and record it. Raises CallError where it brought no usable reply."""
        await shared.slots.take()
        try:
            return await self._in_slot(item, shared)
        finally:
            shared.slots.give_back()

    async def _in_slot(self, item: PreparedRequest, shared: RequestBatch) -> Outcome | None:
        if shared.has_ended:
            return None
        began = await self.pace.start(len(item.body) // _BYTES_A_TOKEN)
        reservation = await self._reserve(item, shared)
        if shared.has_ended:
            if reservation is not None:
                await shared.writer.release(reservation)
            return None
        raw, headers = await self._send(item, shared, began, reservation)
        usage, outcome = protocol.usage(raw), protocol.parse(raw)
        self.pace.served(usage.prompt + usage.completion if usage else 0, headers)
        shared.slots.succeeded()
        charged, cost = self.purse.of_reply(item.body, usage)
        call = self._call(began, charged, cost, reservation)
        if isinstance(outcome, Failure) and not protocol.is_final(outcome):
            self.usage.wasted += 1
            self.usage.billed += 1
            await shared.writer.put(FailedCall(item.key, outcome.reason, outcome.detail, call))
            raise RetryableError(outcome)
        await shared.writer.put(Entry(item.key, item.body, item.sample, raw, call))
        return outcome

    async def _send(
        self, item: PreparedRequest, shared: RequestBatch, began: float, reservation: int | None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return a reply's bytes and headers. Raises CallError, and EndpointError; both recorded.

        Where the endpoint refuses whatever it is asked, nothing more is begun from here on.
        """
        self.usage.calls += 1
        shared.in_flight += 1
        try:
            return await self.transport.send(item.body)
        except CallError as error:
            if isinstance(error, DeniedError) and not shared.answered:
                shared.end(self.transport.misconfigured(error.failure))
            await self._record_failure(item, shared, error, began, reservation)
            raise
        except EndpointRefusedError as error:
            shared.end(error)
            refused = RefusedError(error.failure)
            await self._record_failure(item, shared, refused, began, reservation)
            raise refused from error
        finally:
            shared.in_flight -= 1

    async def _reserve(self, item: PreparedRequest, shared: RequestBatch) -> int | None:
        """Set aside the most that a call can cost; end the asking where the budget is reached."""
        if not self.purse.is_capped or shared.has_ended:
            return None
        try:
            most = self.purse.most(item.body)
        except BudgetError as error:
            shared.end(error)
            return None
        number = await shared.writer.reserve(most)
        if number is None:
            shared.end(budget.reached(self.ledger))
        return number

    async def _record_failure(
        self,
        item: PreparedRequest,
        shared: RequestBatch,
        error: CallError,
        began: float,
        reservation: int | None,
    ) -> None:
        if isinstance(error, ThrottledError):
            self.usage.throttled += 1
            self.pace.refused(began, error.after)
        else:
            self.pace.passed()
        self._note_timeout(error, shared, began)
        self.usage.wasted += 1
        self.usage.billed += error.billable
        usage, cost = self.purse.lost(item.body, billable=error.billable)
        call = self._call(began, usage, cost, reservation)
        failure = error.failure
        await shared.writer.put(FailedCall(item.key, failure.reason, failure.detail, call))

    def _note_timeout(self, error: CallError, shared: RequestBatch, began: float) -> None:
        """Have fewer calls in flight after a time-out; give up where one alone is too slow."""
        shared.troubles[error.failure.reason] += 1
        if error.failure.reason != "timeout":
            return
        shared.slots.timed_out(began)
        if shared.slots.timeouts_alone >= _TOO_SLOW:
            shared.end(
                EndpointError(
                    f"{self.transport.who}: no reply in {self.api.timeout:g} s, also with one call "
                    f"at a time ({shared.troubles['timeout']:,} time-outs). Raise api.timeout, or "
                    "have less written (`max_tokens` in `request`)."
                )
            )

    def _call(
        self, began: float, usage: Usage | None, cost: int | None, reservation: int | None
    ) -> Call:
        seconds = time.monotonic() - began
        self.usage.count_call(seconds, cost)
        prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
        endpoint = self.purse.endpoint
        who = (endpoint.base_url, endpoint.model, self.stage)
        return Call(*who, prompt, completion, cost, seconds, reservation)
