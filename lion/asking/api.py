"""Asking an endpoint: many requests in flight, each reply durable in the ledger before it is used.

One asker serves teacher, referee and generator. It decides what is sent and when to stop; one
request is `calling`'s, one call `transport`'s, how fast is `limits`', what a reply means is the
roles' business. Order of arrival never shows: outcomes come back in the order of the requests.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lion import wire
from lion.asking import collecting
from lion.asking.account import Account
from lion.asking.batching import Batching
from lion.asking.calling import Caller, PreparedRequest, RequestBatch
from lion.asking.interruption import interruptible
from lion.asking.ledger import Cap, Ledger
from lion.asking.limits import Pace
from lion.asking.pricing import Prices
from lion.asking.purse import Purse
from lion.asking.transport import RETRYABLE_STATUS, CallError, Transport
from lion.asking.writer import Writer
from lion.errors import (
    InterruptedRunError,
    LionError,
    MissingRepliesError,
    TooManyDroppedError,
)
from lion.settings import Api, Endpoint, Mode
from lion.wire import Failure, Outcome, Request

Progress = Callable[[int, int], None]
_FIRST_REFUSALS = 8
_FIRST_IN_FLIGHT = 64
"""Calls in flight before the first reply, where no limit is known: each reply adds one more."""
_CHUNK = 1000
"""Requests that are looked up together."""


@dataclass(slots=True)
class _Asked:
    """The requests of one `ask`: a key each, and the places of those that nobody answered yet.

    `failed` are the billed refusals that are known: asking again would not help.
    """

    keys: list[bytes]
    distinct: int
    missing: list[int]
    failed: dict[bytes, Failure]
    allowed: int

    @property
    def known(self) -> int:
        return self.distinct - len(self.missing)


@dataclass(slots=True)
class Asker:
    """A client of one endpoint, with the ledger before it. Use as a context manager.

    Raises EndpointError where the server refuses for good, AskError where the ledger cannot be
    used, BudgetError where `cap` is reached. One that never `sends` raises MissingRepliesError
    where the ledger lacks a reply.
    """

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    random_seed: int
    progress: Progress | None = None
    stage: str = ""
    prices: Prices = field(default_factory=lambda: Prices({}))
    cap: Cap = field(default_factory=Cap)
    account: Account = field(default_factory=Account)
    mode: Mode = "live"
    sends: bool = True
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _transport: Transport = field(init=False)
    _caller: Caller = field(init=False)
    _answered: bool = False

    def __post_init__(self) -> None:
        """Prepare; nothing is opened before it is needed."""
        self._transport = Transport(self.endpoint, self.api)
        self._caller = Caller(
            self.api,
            self._transport,
            Pace(self.api.requests_per_minute, self.api.tokens_per_minute),
            Purse(self.endpoint, self.prices, self.cap),
            self.ledger,
            self.stage,
            self.account,
        )

    def __enter__(self) -> Self:
        """Open an event loop; the client is made when the first reply is missing."""
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close connections, loop and, where there is one, the embedded teacher."""
        try:
            self._runner.run(self._transport.close())
        finally:
            self._runner.__exit__(kind, error, trace)

    def ask(self, requests: Sequence[Request], max_failed: int | None = None) -> list[Outcome]:
        """Return one outcome per request, in their order.

        Known replies come from the ledger, the others from the endpoint. Raises TooManyDroppedError
        as soon as more than `max_failed` distinct requests failed for good: nothing more is paid.
        """
        return list(self.each(requests, max_failed))

    def each(self, requests: Sequence[Request], max_failed: int | None = None) -> Iterator[Outcome]:
        """Ask all, as `ask` does, then return the outcomes one by one, read from the ledger.

        So that memory grows by a key a request and no more: `requests` may make each when indexed.
        """
        started = time.monotonic()
        if self.mode == "batch":
            self._bring(requests)
        asked = self._look_up(requests, max_failed)
        if asked.missing and not self.sends:
            raise MissingRepliesError(len(asked.missing))
        self._advance(asked.known, asked.distinct)
        if len(asked.failed) > asked.allowed:
            raise self._too_many(asked.failed, asked.allowed)
        if asked.missing:
            with collecting.rarely():
                self._runner.run(self._ask_missing(requests, asked))
        self.account.seconds += time.monotonic() - started
        self.account.failed += len(asked.failed)
        return self._outcomes(asked)

    def _bring(self, requests: Sequence[Request]) -> None:
        """Let batches bring what they can. Raises BatchesPendingError where they are at work."""
        places = {self._item(request).key: place for place, request in enumerate(requests)}
        known = self.ledger.known(list(places))
        missing = [key for key in places if key not in known]
        if not missing:
            return
        self._transport.open()
        batching = Batching(
            self.api,
            self._transport,
            Purse(self.endpoint, self.prices, self.cap, batch=True),
            self.ledger,
            self.stage,
            self.account,
        )

        def make(key: bytes) -> PreparedRequest:
            return self._item(requests[places[key]])

        self._runner.run(batching.bring(missing, make, len(places)))
        self.account.hits -= len(self.ledger.known(missing))  # fetched now: calls, and no hits

    def probe(self, request: Request) -> Outcome:
        """Ask once, past the ledger and without retrying, to learn whether the endpoint answers."""
        return self._runner.run(self._probe(self._item(request)))

    async def _probe(self, item: PreparedRequest) -> Outcome:
        self.account.calls += 1
        try:
            raw, _ = await self._transport.send(item.body)
        except CallError as error:
            return error.failure
        return wire.parse(raw)

    def _look_up(self, requests: Sequence[Request], max_failed: int | None) -> _Asked:
        """Find out which of `requests` are known, each once."""
        keys = [self._item(request).key for request in requests]
        places: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        distinct, failed = len(places), {}
        for chunk in _chunks(list(places)):
            for key, raw in self.ledger.look_up(chunk).items():
                del places[key]
                outcome = wire.parse(raw)
                if isinstance(outcome, Failure):
                    failed[key] = outcome
        allowed = distinct if max_failed is None else max_failed
        asked = _Asked(keys, distinct, list(places.values()), failed, allowed)
        self.account.needed += distinct
        self.account.hits += asked.known
        self._answered = self._answered or asked.known > 0
        return asked

    def _outcomes(self, asked: _Asked) -> Iterator[Outcome]:
        counted: set[bytes] = set()
        for chunk in _chunks(asked.keys):
            replies = self.ledger.look_up(list(set(chunk)))
            for key in chunk:
                raw = replies.get(key)
                if raw is None:
                    yield asked.failed[key]
                    continue
                if key not in counted:
                    counted.add(key)
                    self.account.count_usage(wire.usage(raw))
                yield wire.parse(raw)

    def _item(self, request: Request) -> PreparedRequest:
        body = wire.canonical(wire.body(request, self.endpoint, self.random_seed))
        return PreparedRequest(wire.key(self.endpoint, body, request.sample), body, request.sample)

    def _advance(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    async def _ask_missing(self, requests: Sequence[Request], asked: _Asked) -> None:
        self._transport.open()
        items = (self._item(requests[place]) for place in asked.missing)
        async with Writer(self.ledger, self.cap) as writer:
            shared = RequestBatch(items, writer, asked.failed)
            work = asyncio.create_task(self._work_all(shared, asked))
            with interruptible(work, lambda: shared.end(self._interrupted())):
                try:
                    await work
                except ExceptionGroup as errors:
                    raise _first(errors) from errors
                except asyncio.CancelledError:
                    if not shared.has_ended:
                        raise
        if shared.ended is not None:
            raise shared.ended

    async def _work_all(self, shared: RequestBatch, asked: _Asked) -> None:
        """Start workers: all that may be in flight where a limit is known, else more by and by."""
        most = min(self.api.concurrency, len(asked.missing))
        first = most if self._caller.pace.rate else min(most, _FIRST_IN_FLIGHT)
        spare = iter(range(most - first))
        async with asyncio.TaskGroup() as group:

            async def work() -> None:
                for item in shared.queue:
                    await self._settle(item, shared, asked)
                    if next(spare, None) is not None:
                        group.create_task(work())
                    if shared.has_ended:  # what is in flight is billed: waited for and kept
                        return

            for _ in range(first):
                group.create_task(work())

    async def _settle(self, item: PreparedRequest, shared: RequestBatch, asked: _Asked) -> None:
        outcome = await self._caller.settle(item, shared)
        if outcome is None:  # never sent: asking has ended
            return
        shared.settled += 1
        if isinstance(outcome, Failure):  # those that are billed too
            shared.failed[item.key] = outcome
        else:
            self._answered = True
        self._advance(asked.known + shared.settled, asked.distinct)
        shared.end(self._reason_to_end(asked))

    def _reason_to_end(self, asked: _Asked) -> LionError | None:
        """Return why no further request is sent, or None.

        One refused request may be at fault itself; the endpoint is given up only where the first
        few, or all there are, were refused.
        """
        failed = asked.failed
        if not self._answered and len(failed) >= min(_FIRST_REFUSALS, asked.distinct):
            refused = [one for one in failed.values() if _is_refusal(one)]
            if len(refused) == len(failed):
                return self._transport.misconfigured(refused[0])
        if len(failed) > asked.allowed:
            return self._too_many(failed, asked.allowed)
        return None

    def _interrupted(self) -> InterruptedRunError:
        kept = self.ledger.count()
        return InterruptedRunError(
            f"interrupted. {kept:,} replies are kept; run again to ask for the rest."
        )

    def _too_many(self, failed: dict[bytes, Failure], allowed: int) -> TooManyDroppedError:
        last = failed[next(reversed(failed))]
        return TooManyDroppedError(
            f"{self._transport.who}: {len(failed)} requests failed, {allowed} are allowed; the "
            f"last: {last.reason}: {last.detail}. Everything answered so far is kept: run again "
            "to ask for the rest."
        )


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))


def _is_refusal(failure: Failure) -> bool:
    """Tell a client error of the request's own: 400, 413, 422 and their like."""
    status = failure.reason.removeprefix("http_")
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in RETRYABLE_STATUS


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the first leaf of a task group's errors: the others follow from the cancelling."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
