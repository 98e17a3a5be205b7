"""Asking an endpoint: many requests in flight, each reply durable in the ledger before it is used.

One asker serves teacher, referee and generator. It decides when to send, to send again and to stop;
one call is `transport`'s, how fast is `limits`', what a reply means is the roles' business. Order
of arrival never shows: outcomes come back in the order of the requests.
"""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import tenacity

from lion import console, wire
from lion.errors import BudgetError, InterruptedRunError, LionError, TooManyDroppedError
from lion.ledger import Amount, Call, Cap, Entry, FailedCall, Ledger
from lion.limits import Pace
from lion.pricing import Prices
from lion.settings import EMBEDDED, Api, Endpoint
from lion.transport import (
    RETRYABLE_STATUS,
    CallError,
    RefusedError,
    RetryableError,
    ThrottledError,
    Transport,
)
from lion.wire import Failure, Outcome, Request, Usage
from lion.writer import Writer

Progress = Callable[[int, int], None]
_FIRST_REFUSALS = 8
_GRACE = 10.0  # seconds
_FIRST_IN_FLIGHT = 64
"""Calls in flight before the first reply, where no limit is known: each reply adds one more."""


@dataclass(slots=True)
class Account:
    """What an asker did. `needed` and the tokens follow from the inputs; the rest happened.

    `needed`: requests, duplicates once. Tokens: of the replies used, whoever paid for them
    and when; `untold`: replies whose server counted no tokens. `wasted`: calls that brought
    nothing, of which the server refused `throttled` (429) and may have charged `billed`.
    `latencies`: seconds of the calls.
    """

    needed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0
    failed: int = 0
    hits: int = 0
    calls: int = 0
    retries: int = 0
    wasted: int = 0
    throttled: int = 0
    billed: int = 0
    nanodollars: int = 0
    unpriced: int = 0
    seconds: float = 0.0
    latencies: Counter[float] = field(default_factory=Counter)

    def versioned(self) -> dict[str, int]:
        """Return what follows from the inputs: fit for a metric under version control."""
        return {
            "requests": self.needed,
            "failed": self.failed,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "replies_without_usage": self.untold,
        }

    def happened(self) -> dict[str, float]:
        """Return what really happened, for the record of the run."""
        names = (
            "needed",
            "hits",
            "calls",
            "retries",
            "wasted",
            "throttled",
            "billed",
            "nanodollars",
        )
        return {
            **{name: getattr(self, name) for name in (*names, "unpriced", "seconds")},
            **{f"p{share}": self.percentile(share) for share in (50, 90, 99)},
        }

    def percentile(self, share: int) -> float:
        """Return the latency below which `share` per cent of the calls lie, to two digits."""
        left = share / 100 * self.latencies.total()
        for seconds in sorted(self.latencies):
            left -= self.latencies[seconds]
            if left <= 0:
                return seconds
        return 0.0

    def count_usage(self, usage: Usage | None) -> None:
        """Add one reply's tokens."""
        if usage is None:
            self.untold += 1
        else:
            self.prompt_tokens += usage.prompt
            self.completion_tokens += usage.completion


@dataclass(frozen=True, slots=True)
class _Item:
    """A distinct request, ready to be sent."""

    key: bytes
    body: bytes
    sample: int


@dataclass(slots=True)
class _Round:
    """What the workers of one `ask` share; where `ended` is set, nothing more is begun."""

    queue: Iterator[_Item]
    writer: Writer
    allowed: int
    known: int
    total: int
    failures: list[Failure]
    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    ended: LionError | None = None
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, reason: LionError | None) -> None:
        """Begin nothing more, for the first reason given."""
        if reason is not None and self.ended is None:
            self.ended = reason
            self._stopped.set()

    async def nap(self, seconds: float) -> None:
        """Sleep, but no longer than until the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)


@dataclass(slots=True)
class Asker:
    """A client of one endpoint, with the ledger before it. Use as a context manager.

    Raises EndpointError where the server refuses for good, AskError where the ledger cannot be
    used, BudgetError where `cap` is reached.
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
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _transport: Transport = field(init=False)
    _pace: Pace = field(init=False)
    _answered: bool = False

    def __post_init__(self) -> None:
        """Prepare; nothing is opened before it is needed."""
        self._transport = Transport(self.endpoint, self.api)
        self._pace = Pace(self.api.requests_per_minute, self.api.tokens_per_minute)

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
        started = time.monotonic()
        keys, outcomes, missing = self._known(requests)
        distinct = len(outcomes) + len(missing)
        self.account.needed += distinct
        self.account.hits += len(outcomes)
        self._answered = self._answered or bool(outcomes)
        self._advance(len(outcomes), distinct)
        failures = [one for one in outcomes.values() if isinstance(one, Failure)]
        allowed = distinct if max_failed is None else max_failed
        if len(failures) > allowed:  # billed refusals: known, and asking again would not help
            raise self._too_many(failures, allowed)
        if missing:
            asked = self._ask_missing(missing, len(outcomes), allowed, failures)
            outcomes.update(self._runner.run(asked))
        self.account.seconds += time.monotonic() - started
        self.account.failed += sum(isinstance(one, Failure) for one in outcomes.values())
        return [outcomes[key] for key in keys]

    def probe(self, request: Request) -> Outcome:
        """Ask once, past the ledger and without retrying, to learn whether the endpoint answers."""
        return self._runner.run(self._probe(self._item(request)))

    async def _probe(self, item: _Item) -> Outcome:
        self.account.calls += 1
        try:
            raw, _ = await self._transport.send(item.body)
        except CallError as error:
            return error.failure
        return wire.parse(raw)

    def _known(
        self, requests: Sequence[Request]
    ) -> tuple[list[bytes], dict[bytes, Outcome], list[_Item]]:
        """Return the requests' keys, the outcomes of those known, and the others, each once."""
        made = [self._item(request) for request in requests]
        keys = [item.key for item in made]
        items = {item.key: item for item in made}
        raw = self.ledger.look_up(list(items))
        outcomes = {}
        for key, reply in raw.items():
            outcomes[key] = wire.parse(reply)
            self.account.count_usage(wire.usage(reply))
        return keys, outcomes, [item for key, item in items.items() if key not in outcomes]

    def _item(self, request: Request) -> _Item:
        body = wire.canonical(wire.body(request, self.endpoint, self.random_seed))
        return _Item(wire.key(self.endpoint, body, request.sample), body, request.sample)

    def _advance(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    async def _ask_missing(
        self, missing: list[_Item], known: int, allowed: int, failures: list[Failure]
    ) -> dict[bytes, Outcome]:
        self._transport.open()
        total = known + len(missing)
        async with Writer(self.ledger, self.cap) as writer:
            shared = _Round(iter(missing), writer, allowed, known, total, failures)
            work = asyncio.create_task(self._work_all(shared, len(missing)))
            with _interruptible(shared, work, self._kept):
                try:
                    await work
                except ExceptionGroup as errors:
                    raise _first(errors) from errors
                except asyncio.CancelledError:
                    if shared.ended is None:
                        raise
        if shared.ended is not None:
            raise shared.ended
        return shared.outcomes

    async def _work_all(self, shared: _Round, count: int) -> None:
        """Start workers: all that may be in flight where a limit is known, else more by and by."""
        most = min(self.api.concurrency, count)
        first = most if self._pace.rate else min(most, _FIRST_IN_FLIGHT)
        spare = iter(range(most - first))
        async with asyncio.TaskGroup() as group:

            async def work() -> None:
                for item in shared.queue:
                    await self._settle(item, shared)
                    if next(spare, None) is not None:
                        group.create_task(work())
                    if shared.ended is not None:  # what is in flight is billed: waited for and kept
                        return

            for _ in range(first):
                group.create_task(work())

    async def _settle(self, item: _Item, shared: _Round) -> None:
        outcome = await self._outcome(item, shared)
        if outcome is None:  # never sent: asking has ended
            return
        shared.outcomes[item.key] = outcome
        if isinstance(outcome, Failure):  # those that are billed too
            shared.failures.append(outcome)
        self._advance(shared.known + len(shared.outcomes), shared.total)
        shared.end(self._reason_to_end(shared))

    def _reason_to_end(self, shared: _Round) -> LionError | None:
        """Return why no further request is sent, or None.

        One refused request may be at fault itself; the endpoint is given up only where the first
        few, or all there are, were refused.
        """
        failures = shared.failures
        refused = not self._answered and failures and all(_is_refusal(one) for one in failures)
        if refused and len(failures) >= min(_FIRST_REFUSALS, shared.total):
            return self._transport.misconfigured(failures[0])
        if len(failures) > shared.allowed:
            return self._too_many(failures, shared.allowed)
        return None

    async def _outcome(self, item: _Item, shared: _Round) -> Outcome | None:
        """Return the outcome after the last try, durable by now."""
        tries = _Tries(self.api, shared)
        try:
            async for attempt in tries.policy(self._count_retry):
                with attempt:
                    return await self._once(item, shared)
        except RefusedError as error:
            return error.failure
        except RetryableError as error:
            return error.failure
        return None

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        self.account.retries += 1

    async def _once(self, item: _Item, shared: _Round) -> Outcome | None:
        """Make one call and record it. Raises CallError where it brought no usable reply."""
        began = await self._pace.start(len(item.body) // 4)
        reservation = await self._reserve(item, shared)
        if shared.ended is not None:
            return None
        self.account.calls += 1
        try:
            raw, headers = await self._transport.send(item.body)
        except CallError as error:
            await self._record_failure(item, shared, error, began, reservation)
            raise
        usage, outcome = wire.usage(raw), wire.parse(raw)
        self._pace.served(sum((usage.prompt, usage.completion)) if usage else 0, headers)
        call = self._call(began, usage, self.prices.cost(self.endpoint, usage), reservation)
        if isinstance(outcome, Failure) and not wire.is_final(outcome):
            self.account.wasted += 1
            self.account.billed += 1
            await shared.writer.put(FailedCall(item.key, outcome.reason, outcome.detail, call))
            raise RetryableError(outcome)
        self._answered = True
        await shared.writer.put(Entry(item.key, item.body, item.sample, raw, call))
        self.account.count_usage(usage)
        return outcome

    async def _record_failure(
        self, item: _Item, shared: _Round, error: CallError, began: float, reservation: int | None
    ) -> None:
        if isinstance(error, ThrottledError):
            self.account.throttled += 1
            self._pace.refused(began, error.after)
        else:
            self._pace.passed()
        self.account.wasted += 1
        self.account.billed += error.billable
        most = self._most(item) if error.billable and self._is_capped else Amount()
        call = self._call(
            began,
            Usage(most.tokens, 0) if most.tokens else None,
            self._lost(most, error),
            reservation,
        )
        failure = error.failure
        await shared.writer.put(FailedCall(item.key, failure.reason, failure.detail, call))

    def _lost(self, most: Amount, error: CallError) -> int | None:
        """Return what a failed call cost: nothing, or the most it can have, or nobody knows."""
        free = self.endpoint.base_url == EMBEDDED or not error.billable
        return 0 if free else most.nanodollars or None

    def _call(
        self, began: float, usage: Usage | None, cost: int | None, reservation: int | None
    ) -> Call:
        seconds = time.monotonic() - began
        self.account.latencies[float(f"{seconds:.2g}")] += 1
        self.account.nanodollars += cost or 0
        self.account.unpriced += cost is None
        prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
        who = (self.endpoint.base_url, self.endpoint.model, self.stage)
        return Call(*who, prompt, completion, cost, seconds, reservation)

    @property
    def _is_capped(self) -> bool:
        return self.cap != Cap()

    async def _reserve(self, item: _Item, shared: _Round) -> int | None:
        """Set aside the most that a call can cost; end the asking where the budget is reached."""
        if not self._is_capped or shared.ended is not None:
            return None
        try:
            most = self._most(item)
        except BudgetError as error:
            shared.end(error)
            return None
        number = await shared.writer.reserve(most)
        if number is None:
            shared.end(self._budget_reached())
        return number

    def _most(self, item: _Item) -> Amount:
        """Return the most that a call can use: a token is a byte at least."""
        completion = wire.completion_cap(self.endpoint)
        if completion is None:
            if self.cap.tokens is None and self.cap.nanodollars is None:
                return Amount(1)
            raise BudgetError(
                f"budget: {self._transport.who} has no cap on what it writes, so the most that a "
                "call can cost is unknown. Set max_completion_tokens or max_tokens in `request`."
            )
        cost = self.prices.cost(self.endpoint, Usage(len(item.body), completion))
        if cost is None and self.cap.nanodollars is not None:
            raise BudgetError(
                f"budget.usd: the price of {self._transport.who} is unknown. Write it into "
                "prices.yaml, or cap tokens or calls instead."
            )
        return Amount(1, len(item.body) + completion, cost or 0)

    def _budget_reached(self) -> BudgetError:
        spent, reserved = self.ledger.spent()
        return BudgetError(
            f"the budget is reached: {spent.calls:,} calls, {spent.tokens:,} tokens and "
            f"{spent.nanodollars / 1e9:.2f} dollars are spent, {reserved.calls:,} calls are in "
            "flight or were interrupted. Everything paid for is kept: raise `budget` in "
            "params.yaml and run again to go on."
        )

    def _kept(self) -> str:
        return f"{self.ledger.count():,} replies are kept; run again to ask for the rest"

    def _too_many(self, failures: list[Failure], allowed: int) -> TooManyDroppedError:
        last = failures[-1]
        return TooManyDroppedError(
            f"{self._transport.who}: {len(failures)} requests failed, {allowed} are allowed; the "
            f"last: {last.reason}: {last.detail}. Everything answered so far is kept: run again "
            "to ask for the rest."
        )


@dataclass(slots=True)
class _Tries:
    """The one retry policy: `api.tries` calls, not counting a server's plea for patience.

    And no longer than `api.patience` seconds in all, whatever the calls say.
    """

    api: Api
    shared: _Round
    _throttled: int = 0

    def policy(
        self, before_sleep: Callable[[tenacity.RetryCallState], None]
    ) -> tenacity.AsyncRetrying:
        """Return the policy of one request."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=self._enough,
            wait=self._wait,
            sleep=self.shared.nap,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        self._throttled += isinstance(error, ThrottledError)
        spent = state.seconds_since_start or 0.0
        return (
            self.shared.ended is not None
            or spent > self.api.patience
            or state.attempt_number - self._throttled >= self.api.tries
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RetryableError) and error.after is not None:
            # a little jitter, or all wake in the same instant
            return min(error.after, self.api.max_wait) * random.uniform(1.0, 1.1)  # noqa: S311
        return float(tenacity.wait_random_exponential(multiplier=0.5, max=self.api.max_wait)(state))


@contextmanager
def _interruptible(
    shared: _Round, work: asyncio.Task[None], kept: Callable[[], str]
) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM wait a while for what is in flight, the second abandon it."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if shared.ended is not None:
            work.cancel()
            return
        console.say(
            f"stopping: calls in flight are waited for, {_GRACE:.0f} s at most; "
            "Ctrl-C again abandons them"
        )
        shared.end(InterruptedRunError(f"interrupted. {kept()}."))
        loop.call_later(_GRACE, work.cancel)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _is_refusal(failure: Failure) -> bool:
    """Tell a client error of the request's own: 400, 413, 422 and their like."""
    status = failure.reason.removeprefix("http_")
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in RETRYABLE_STATUS


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the first leaf of a task group's errors: the others follow from the cancelling."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
