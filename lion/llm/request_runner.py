"""One request, from its first call to its last: reserved, paced, sent, recorded."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lion.config.settings import Api
from lion.errors import BudgetError, EndpointError
from lion.llm.budget import Charge, CostEstimator
from lion.llm.call_errors import (
    CallError,
    EndpointRefusedError,
    RefusedError,
    RetryableError,
    ThrottledError,
)
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.caps import Amount
from lion.llm.error_replies import reports_account_trouble
from lion.llm.odd_replies import oddities
from lion.llm.rate_limit import AdaptiveRateLimiter
from lion.llm.request_batch import RequestBatch
from lion.llm.request_set import PreparedRequest
from lion.llm.reservations import Reservation, Reservations
from lion.llm.retry import RetryPolicy
from lion.llm.transport import Transport
from lion.llm.usage import UsageStats
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome

_LONG_WAITS = 3  # refusals since the last reply with a Retry-After that no request outlasts
_TOO_SLOW = 3  # time-outs of a call that has the server to itself
_BYTES_PER_TOKEN = 4  # to pace the first calls, until replies count their tokens


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call: its request, when it started (seconds, monotonic), and what is reserved for it."""

    request: PreparedRequest
    started: float
    reservation: Reservation | None

    @property
    def reserved(self) -> Amount | None:
        """What is set aside for it."""
        return None if self.reservation is None else self.reservation.amount


@dataclass(slots=True)
class RequestRunner:
    """Makes the calls of one client and records each."""

    api: Api
    transport: Transport
    rate_limiter: AdaptiveRateLimiter
    estimator: CostEstimator
    reservations: Reservations
    stage: str
    usage: UsageStats

    async def run(self, request: PreparedRequest, batch: RequestBatch) -> Outcome | None:
        """Return the outcome after the last attempt, durable by now; None where it was not sent."""
        policy = RetryPolicy(self.api, lambda: batch.is_stopping, batch.sleep)
        try:
            async for attempt in policy.attempts(self._count_retry):
                with attempt:
                    return await self._in_slot(request, batch)
        except CallError as error:
            return error.failure
        return None

    def _count_retry(self, _: object) -> None:
        self.usage.retries += 1

    async def _in_slot(self, request: PreparedRequest, batch: RequestBatch) -> Outcome | None:
        await batch.limiter.acquire()
        try:
            return await self._attempt(request, batch)
        finally:
            batch.limiter.release()

    async def _attempt(self, request: PreparedRequest, batch: RequestBatch) -> Outcome | None:
        """Make one call and record it. Raises CallError where it brought no usable reply."""
        if batch.is_stopping:
            return None
        await self.rate_limiter.acquire(len(request.body) // _BYTES_PER_TOKEN)
        if batch.is_stopping:
            return None
        reservation = await self._reserve(request, batch)
        try:
            if batch.is_stopping:
                if reservation is not None:
                    await batch.writer.release(reservation.number)
                return None
            # not before the wait for the budget: a time-out since the last cut has to count
            attempt = _Attempt(request, time.monotonic(), reservation)
            raw, headers = await self._send(attempt, batch)
            return await self._record_reply(attempt, batch, raw, headers)
        finally:
            self.reservations.settle(reservation)

    async def _reserve(self, request: PreparedRequest, batch: RequestBatch) -> Reservation | None:
        """Reserve what the call may cost; stop the batch where the budget is reached."""
        try:
            return await self.reservations.reserve(request.body, batch.writer)
        except BudgetError as error:
            batch.stop(error)
            return None

    async def _send(
        self, attempt: _Attempt, batch: RequestBatch
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return a reply's bytes and headers. Raises CallError, recorded by then.

        Where the endpoint refuses whatever it is asked, the batch stops.
        """
        self.usage.calls += 1
        batch.in_flight += 1
        try:
            return await self.transport.send(attempt.request.body)
        except CallError as error:
            await self._record_failure(attempt, batch, error)
            raise
        except EndpointRefusedError as error:
            batch.stop(error)
            refused = RefusedError(error.failure)
            await self._record_failure(attempt, batch, refused)
            raise refused from error
        finally:
            batch.in_flight -= 1

    async def _record_reply(
        self, attempt: _Attempt, batch: RequestBatch, raw: bytes, headers: Mapping[str, str]
    ) -> Outcome:
        """Write a reply to the ledger. Raises CallError where it is no usable one."""
        request = attempt.request
        usage, outcome = protocol.usage(raw), protocol.parse(raw)
        # before it is durable: a denial may arrive meanwhile
        batch.answered = batch.answered or not isinstance(outcome, Failure)
        batch.odd_replies.update(oddities(request.body, outcome, self.estimator.endpoint))
        self.rate_limiter.record_reply(usage.prompt + usage.completion if usage else 0, headers)
        batch.limiter.record_success()
        batch.consecutive_long_waits = 0
        charge = self.estimator.charge_reply(
            request.body, usage, attempt.reserved, self.reservations.largest_ratio
        )
        self.reservations.learn(charge.ratio)
        call = self._call(attempt, charge)
        if isinstance(outcome, Failure) and not protocol.is_final(outcome):
            self.usage.wasted += 1
            self.usage.billed += 1
            batch.failure_reasons[outcome.reason] += 1
            if reports_account_trouble(raw):
                batch.stop(self.transport.exhausted(outcome))
            failed = FailedCall(request.key, outcome.reason, outcome.detail, call)
            await batch.writer.put(failed)
            again = RefusedError if outcome.reason == "foreign_reply" else RetryableError
            raise again(outcome)
        await batch.writer.put(Entry(request.key, request.body, request.sample, raw, call))
        return outcome

    async def _record_failure(
        self, attempt: _Attempt, batch: RequestBatch, error: CallError
    ) -> None:
        if isinstance(error, ThrottledError):
            self.usage.throttled += 1
            self.rate_limiter.record_throttled(attempt.started, error.after)
        else:
            self.rate_limiter.record_response()
        self._note_long_wait(error, batch, attempt.started)
        self._note_timeout(error, batch, attempt.started)
        self.usage.wasted += 1
        self.usage.billed += error.billable
        charge = self.estimator.charge_failure(
            attempt.request.body,
            attempt.reserved,
            self.reservations.largest_ratio,
            billable=error.billable,
        )
        failure = error.failure
        call = self._call(attempt, charge)
        await batch.writer.put(
            FailedCall(attempt.request.key, failure.reason, failure.detail, call)
        )

    def _note_long_wait(self, error: CallError, batch: RequestBatch, started: float) -> None:
        """Stop where the server asks again and again for a longer wait than a request may take.

        Refusals of calls that were in flight together count as a single one.
        """
        after = error.after or 0.0
        if after <= self.api.max_request_seconds or started < batch.last_long_wait:
            return
        batch.last_long_wait = time.monotonic()
        batch.consecutive_long_waits += 1
        if batch.consecutive_long_waits >= _LONG_WAITS:
            batch.stop(self.transport.asks_to_wait(error.failure, after))

    def _note_timeout(self, error: CallError, batch: RequestBatch, started: float) -> None:
        """Lower the calls in flight after a time-out; stop where one call alone is too slow."""
        batch.failure_reasons[error.failure.reason] += 1
        if error.failure.reason != "timeout":
            return
        batch.limiter.record_timeout(started)
        if batch.limiter.consecutive_timeouts_alone >= _TOO_SLOW:
            batch.stop(
                EndpointError(
                    f"{self.transport.who}: no reply in {self.api.timeout:g} s, also with one call "
                    f"at a time ({batch.failure_reasons['timeout']:,} time-outs). Raise "
                    "api.timeout, or have less written (`max_tokens` in `request`)."
                )
            )

    def _call(self, attempt: _Attempt, charge: Charge) -> Call:
        seconds = time.monotonic() - attempt.started
        self.usage.count_call(seconds, charge.nanodollars)
        usage = charge.usage
        prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
        endpoint, reservation = self.estimator.endpoint, attempt.reservation
        return Call(
            endpoint.base_url,
            endpoint.model,
            self.stage,
            prompt,
            completion,
            charge.nanodollars,
            seconds,
            None if reservation is None else reservation.number,
            charge.ratio or 0.0,
        )
