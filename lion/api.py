"""Asking an endpoint: many requests in flight, each reply durable in the ledger before it is used.

One asker serves teacher, referee and generator. It sends and keeps; what a reply means is the
roles' business. Order of arrival never shows: outcomes come back in the order of the requests.
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx2
import openai
import tenacity

from lion import wire
from lion.errors import AskError, EndpointError, LionError, TooManyDroppedError
from lion.ledger import Entry, FailedCall, Ledger
from lion.settings import EMBEDDED, Api, Endpoint
from lion.wire import Failure, Outcome, Request, Usage

Progress = Callable[[int, int], None]
_FIRST_REFUSALS = 8
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})


@dataclass(slots=True)
class Account:
    """What an asker did. `needed` and the tokens follow from the inputs; the rest happened.

    `needed`: requests, duplicates once. Tokens: of the replies used, whoever paid for them
    and when; `untold`: replies whose server counted no tokens.
    """

    needed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0
    failed: int = 0
    hits: int = 0
    calls: int = 0
    retries: int = 0
    seconds: float = 0.0

    def versioned(self) -> dict[str, int]:
        """Return what follows from the inputs: fit for a metric under version control."""
        return {
            "requests": self.needed,
            "failed": self.failed,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "replies_without_usage": self.untold,
        }

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
    client: openai.AsyncOpenAI
    writer: "_Writer"
    allowed: int
    known: int
    total: int
    failures: list[Failure]
    settled: dict[bytes, bytes | Failure] = field(default_factory=dict)
    ended: LionError | None = None


class _CallError(Exception):
    """A try that brought no usable reply; `after` is the server's wish in seconds."""

    def __init__(self, failure: Failure, after: float | None = None) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.after = after


class _RetryableError(_CallError):
    """Another try may mend it."""


class _RefusedError(_CallError):
    """The server refuses this request for its content; asking again would not help."""


@dataclass(slots=True)
class Asker:
    """A client of one endpoint, with the ledger before it. Use as a context manager.

    Raises EndpointError where the server refuses for good, AskError where it cannot be reached.
    """

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    random_seed: int
    progress: Progress | None = None
    account: Account = field(default_factory=Account)
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: openai.AsyncOpenAI | None = None
    _answered: bool = False

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
            if self._client is not None:
                self._runner.run(self._client.close())
        finally:
            self._runner.__exit__(kind, error, trace)
            self._stack.close()

    def ask(self, requests: Sequence[Request], max_failed: int | None = None) -> list[Outcome]:
        """Return one outcome per request, in their order.

        Known replies come from the ledger, the others from the endpoint. Raises TooManyDroppedError
        as soon as more than `max_failed` distinct requests failed for good: nothing more is paid.
        """
        started = time.monotonic()
        items = [self._item(request) for request in requests]
        distinct = {item.key: item for item in items}
        known = self._known(list(distinct))
        missing = [item for key, item in distinct.items() if key not in known]
        self.account.needed += len(distinct)
        self.account.hits += len(known)
        self._answered = self._answered or bool(known)
        self._advance(len(known), len(distinct))
        outcomes = {key: _read(settled) for key, settled in known.items()}
        failures = [one for one in outcomes.values() if isinstance(one, Failure)]
        allowed = len(distinct) if max_failed is None else max_failed
        if len(failures) > allowed:  # billed refusals: known, and asking again would not help
            raise TooManyDroppedError(_too_many(failures, allowed, self.endpoint))
        if missing:
            found = self._runner.run(self._ask_missing(missing, len(known), allowed, failures))
            known.update(found)
            outcomes.update({key: _read(settled) for key, settled in found.items()})
        self.account.seconds += time.monotonic() - started
        self._count(known, outcomes)
        return [outcomes[item.key] for item in items]

    def probe(self, request: Request) -> Outcome:
        """Ask once, past the ledger and without retrying, to learn whether the endpoint answers."""
        return self._runner.run(self._probe(self._item(request)))

    async def _probe(self, item: _Item) -> Outcome:
        try:
            return wire.parse(await self._send(self._open_client(), item))
        except _CallError as error:
            return error.failure

    def _item(self, request: Request) -> _Item:
        body = wire.canonical(wire.body(request, self.endpoint, self.random_seed))
        return _Item(wire.key(self.endpoint, body, request.sample), body, request.sample)

    def _known(self, keys: list[bytes]) -> dict[bytes, bytes | Failure]:
        return dict(self.ledger.look_up(keys))

    def _count(
        self, settled: Mapping[bytes, bytes | Failure], outcomes: Mapping[bytes, Outcome]
    ) -> None:
        """Add tokens of whatever was billed, and the failures."""
        for key, raw in settled.items():
            self.account.failed += isinstance(outcomes[key], Failure)
            if isinstance(raw, bytes):
                self.account.count_usage(wire.usage(raw))

    def _advance(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def _open_client(self) -> openai.AsyncOpenAI:
        if self._client is None:
            limits = httpx2.Limits(
                max_connections=self.api.concurrency, max_keepalive_connections=self.api.concurrency
            )
            self._client = openai.AsyncOpenAI(
                base_url=self._address(),
                api_key=_api_key(self.endpoint),
                max_retries=0,  # the retries below are the only ones: the SDK's hide 429s
                http_client=openai.DefaultAioHttpClient(
                    limits=limits,
                    timeout=self.api.timeout,
                    # a proxy of the environment is for the world, not for our own child on loopback
                    trust_env=self.endpoint.base_url != EMBEDDED,
                ),
            )
        return self._client

    def _address(self) -> str:
        if self.endpoint.base_url != EMBEDDED:
            return self.endpoint.base_url
        from lion.embedded import application  # only where it is used: the product needs no server

        return self._stack.enter_context(application.running())

    async def _ask_missing(
        self, missing: list[_Item], known: int, allowed: int, failures: list[Failure]
    ) -> dict[bytes, bytes | Failure]:
        client = self._open_client()
        async with _Writer(self.ledger) as writer:
            total = known + len(missing)
            shared = _Round(iter(missing), client, writer, allowed, known, total, failures)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.api.concurrency, len(missing))):
                        group.create_task(self._work(shared))
            except ExceptionGroup as errors:
                raise _first(errors) from errors
        if shared.ended is not None:
            raise shared.ended
        return shared.settled

    async def _work(self, shared: _Round) -> None:
        for item in shared.queue:
            settled = await self._settle(item, shared)
            shared.settled[item.key] = settled
            outcome = _read(settled)
            if isinstance(outcome, Failure):  # those that are billed too
                shared.failures.append(outcome)
            self._advance(shared.known + len(shared.settled), shared.total)
            shared.ended = shared.ended or self._end(shared)
            if shared.ended is not None:  # what is in flight is billed: it is waited for and kept
                return

    def _end(self, shared: _Round) -> LionError | None:
        """Return why no further request is sent, or None.

        One refused request may be at fault itself; the endpoint is given up only where the first
        few, or all there are, were refused.
        """
        failures = shared.failures
        refused = not self._answered and failures and all(_is_refusal(one) for one in failures)
        if refused and len(failures) >= min(_FIRST_REFUSALS, shared.total):
            return self._misconfigured(failures[0])
        if len(failures) > shared.allowed:
            return TooManyDroppedError(_too_many(failures, shared.allowed, self.endpoint))
        return None

    async def _settle(self, item: _Item, shared: _Round) -> bytes | Failure:
        """Return the reply's bytes, durable by now, or the failure after the last try."""
        address = self.endpoint.base_url

        async def once() -> bytes:
            try:
                raw = await self._send(shared.client, item)
                outcome = wire.parse(raw)
                if isinstance(outcome, Failure) and not wire.is_final(outcome):
                    raise _RetryableError(outcome)
            except _CallError as error:
                failure = error.failure
                await shared.writer.put(
                    FailedCall(item.key, address, failure.reason, failure.detail)
                )
                raise
            self._answered = True
            return raw

        try:
            raw = await self._retrying(once, shared)
        except _CallError as error:
            return error.failure
        await shared.writer.put(Entry(item.key, address, item.body, item.sample, raw))
        return raw

    async def _retrying(self, once: Callable[[], Awaitable[bytes]], shared: _Round) -> bytes:
        backoff = tenacity.wait_random_exponential(multiplier=0.5, max=self.api.max_wait)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, _RetryableError) and error.after is not None:
                # a little jitter, or all wake in the same instant
                return min(error.after, self.api.max_wait) * random.uniform(1.0, 1.1)  # noqa: S311
            return float(backoff(state))

        def count(_: tenacity.RetryCallState) -> None:
            self.account.retries += 1

        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_RetryableError),
            stop=lambda state: shared.ended is not None or state.attempt_number >= self.api.tries,
            wait=wait,
            before_sleep=count,
            reraise=True,
        )
        return await attempts(once)

    async def _send(self, client: openai.AsyncOpenAI, item: _Item) -> bytes:
        """Send one request; translate every error of the SDK here and nowhere else."""
        self.account.calls += 1
        try:
            # `post` skips the SDK's typed models (half of a call's CPU); the reply is kept as bytes
            response = await client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                content=item.body,
                options={"headers": {"Content-Type": "application/json"}},
            )
            return response.content
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            slow = Failure("timeout", f"no reply in {self.api.timeout} s")
            cut = Failure("connection", _words(error.__cause__ or error))
            raise _RetryableError(slow if _is_timeout(error) else cut) from error

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, words = error.status_code, self._without_key(_words(error))
        failure = Failure(f"http_{status}", words)
        if status == 429 and error.code == "insufficient_quota":
            return EndpointError(f"{self._who()}: {words} Top up the account and run again.")
        if status in _RETRYABLE_STATUS or status >= 500:
            return _RetryableError(failure, _retry_after(error.response.headers))
        if status in (401, 403):
            variable = self.endpoint.api_key_env or "api_key_env"
            return EndpointError(f"{self._who()}: {words} Look at the key in ${variable}.")
        if status == 404:
            return self._misconfigured(failure)
        return _RefusedError(failure)

    def _misconfigured(self, failure: Failure) -> EndpointError:
        """Return the error of an endpoint that refuses whatever it is asked."""
        status = failure.reason.removeprefix("http_")
        return EndpointError(
            f"{self._who()}: HTTP {status}: {failure.detail} "
            "Look at base_url, model and request in params.yaml."
        )

    def _without_key(self, words: str) -> str:
        """Blot the key out: some servers repeat it, and terminals, rows and ledgers are shared."""
        key = os.environ.get(self.endpoint.api_key_env or "", "").strip()
        return words.replace(key, "(the key)") if key else words

    def _who(self) -> str:
        return f"{self.endpoint.model} at {self.endpoint.base_url}"


class _Writer:
    """Group commit: what arrives while one transaction is being synced goes into the next."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: list[tuple[Entry | FailedCall, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def put(self, entry: Entry | FailedCall) -> None:
        """Return once `entry` is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((entry, done))
        self._arrived.set()
        await done

    async def _run(self) -> None:
        while self._pending or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._pending = self._pending, []
            await self._write(batch)

    async def _write(self, batch: list[tuple[Entry | FailedCall, asyncio.Future[None]]]) -> None:
        error: AskError | None = None
        try:
            await asyncio.to_thread(self._ledger.write, [entry for entry, _ in batch])
        except AskError as problem:
            error = problem
        for _, done in batch:
            if done.cancelled():
                continue  # the asking was abandoned; its reply is kept all the same
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


def _read(settled: bytes | Failure) -> Outcome:
    return wire.parse(settled) if isinstance(settled, bytes) else settled


def _is_refusal(failure: Failure) -> bool:
    """Tell a client error of the request's own: 400, 413, 422 and their like."""
    status = failure.reason.removeprefix("http_")
    return status.isdigit() and 400 <= int(status) < 500 and int(status) not in _RETRYABLE_STATUS


def _api_key(endpoint: Endpoint) -> str:
    """Return the key from the environment. Raises EndpointError where it is not set."""
    if endpoint.base_url == EMBEDDED or endpoint.api_key_env is None:
        return "none"
    key = os.environ.get(endpoint.api_key_env, "").strip()  # files bring their line ends
    if not (key.isascii() and key.isprintable()):
        raise EndpointError(
            f"{endpoint.model} at {endpoint.base_url}: what stands in ${endpoint.api_key_env} is "
            "no key: it holds characters that no header can carry. Copy the key again."
        )
    if not key:
        raise EndpointError(
            f"{endpoint.model} at {endpoint.base_url}: no key. "
            f"Set the environment variable {endpoint.api_key_env}, or `api_key_env: null` "
            "for a server that wants none."
        )
    return key


def _retry_after(headers: Any) -> float | None:
    """Return the seconds of a Retry-After header (number or date), None where there is none."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _words(error: BaseException) -> str:
    """Return the server's own words, on one line, clipped; without the status, told elsewhere."""
    text = re.sub(r"^Error code: \d+(?: - )?", "", str(error))
    return " ".join(text.split())[:300] or type(error).__name__


def _is_timeout(error: BaseException | None) -> bool:
    """Tell a real timeout: the SDK's transport calls a refused or cut connection one as well."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__
    return error is not None


def _too_many(failures: list[Failure], allowed: int, endpoint: Endpoint) -> str:
    last = failures[-1]
    return (
        f"{endpoint.model} at {endpoint.base_url}: {len(failures)} requests failed, {allowed} are "
        f"allowed; the last: {last.reason}: {last.detail}. Everything answered so far is kept: "
        "run again to ask for the rest."
    )


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the first leaf of a task group's errors: the others follow from the cancelling."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
