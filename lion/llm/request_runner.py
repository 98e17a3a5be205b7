"""One request until it is settled: set aside, sent, recorded, and sent again where that helps."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from lion.config.settings import Api
from lion.errors import BudgetError
from lion.llm import budget
from lion.llm.budget import Purse
from lion.llm.ledger import Call, Entry, FailedCall, Ledger
from lion.llm.ledger_writer import Writer
from lion.llm.lookup import PreparedRequest
from lion.llm.rate_limit import Pace
from lion.llm.retry import Tries
from lion.llm.transport import (
    CallError,
    EndpointRefusedError,
    RefusedError,
    RetryableError,
    ThrottledError,
    Transport,
)
from lion.llm.usage import Account
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome, Usage

_BYTES_A_TOKEN = 4  # to pace the first calls, until replies tell their tokens


@dataclass(slots=True)
class RequestBatch:
    """What the workers of one `ask` share; where `ended` is set, nothing more is begun.

    Replies are in the ledger by the time they are counted here; only failures are held. `on_end`
    wakes calls that wait for their turn. `answered` tells whether the endpoint ever answered.
    """

    queue: Iterator[PreparedRequest]
    writer: Writer
    failed: dict[bytes, Failure] = field(default_factory=dict)
    on_end: Callable[["RequestBatch"], None] = lambda _: None
    answered: bool = False
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
class Caller:
    """Makes the calls of one asker and keeps their account."""

    api: Api
    transport: Transport
    pace: Pace
    purse: Purse
    ledger: Ledger
    stage: str
    account: Account

    async def settle(self, item: PreparedRequest, shared: RequestBatch) -> Outcome | None:
        """Return the outcome after the last try, durable by now; None where it was never sent."""
        tries = Tries(self.api, lambda: shared.has_ended, shared.nap)
        try:
            async for attempt in tries.policy(self._count_retry):
                with attempt:
                    return await self._once(item, shared)
        except CallError as error:
            return error.failure
        return None

    def _count_retry(self, _: object) -> None:
        self.account.retries += 1

    async def _once(self, item: PreparedRequest, shared: RequestBatch) -> Outcome | None:
        """Make one call and record it. Raises CallError where it brought no usable reply."""
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
        call = self._call(began, usage, self.purse.spent(usage), reservation)
        if isinstance(outcome, Failure) and not protocol.is_final(outcome):
            self.account.wasted += 1
            self.account.billed += 1
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
        self.account.calls += 1
        shared.in_flight += 1
        try:
            return await self.transport.send(item.body)
        except CallError as error:
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
            self.account.throttled += 1
            self.pace.refused(began, error.after)
        else:
            self.pace.passed()
        self.account.wasted += 1
        self.account.billed += error.billable
        usage, cost = self.purse.lost(item.body, billable=error.billable)
        call = self._call(began, usage, cost, reservation)
        failure = error.failure
        await shared.writer.put(FailedCall(item.key, failure.reason, failure.detail, call))

    def _call(
        self, began: float, usage: Usage | None, cost: int | None, reservation: int | None
    ) -> Call:
        seconds = time.monotonic() - began
        self.account.count_call(seconds, cost)
        prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
        endpoint = self.purse.endpoint
        who = (endpoint.base_url, endpoint.model, self.stage)
        return Call(*who, prompt, completion, cost, seconds, reservation)
