"""The Batch API as OpenAI's servers speak it: a file of requests, a batch of it, files of replies.

Limits, statuses and lines as in OpenAI's API reference (Files, Batches). Keeps nothing and decides
nothing (see `batch_api`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import orjson
from openai.types import Batch

from lion.config.settings import Api
from lion.errors import EndpointError
from lion.llm.request_runner import RetryPolicy
from lion.llm.transport import CallError, Transport
from lion.prompting.protocol import Failure

MOST_REQUESTS = 50_000
MOST_BYTES = 100_000_000
"""Of a file: half of what is allowed, since the SDK holds a file in memory to send it."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
FRAME = 256
"""Bytes that a line of a file takes beside the request's body, at most."""
QUEUE_FULL = "token_limit_exceeded"
"""What a batch fails with where the tokens that the account may have waiting are used up."""
_URL: Any = "/v1/chat/completions"
_WINDOW: Any = "24h"
_OUR_NAME = "lion"
_NO_SUCH_PATH = (404, 405, 501)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as the provider describes it; `files` hold replies and errors, in no order.

    `errors` are the (code, message) of a batch that failed as a whole; `expires_at` is the second
    of the epoch at which the provider gives up.
    """

    batch: str
    status: str
    total: int
    done: int
    failed: int
    files: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]
    expires_at: int | None

    @property
    def has_ended(self) -> bool:
        """Whether the provider does nothing more for it; a status that nobody knows goes on."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line that came back: the request's key, and the reply's bytes or why there is none."""

    key: bytes
    reply: bytes | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class BatchClient:
    """The files and batches of one endpoint. Every method raises EndpointError for good."""

    transport: Transport
    api: Api

    async def upload(self, name: str, requests: Iterable[tuple[bytes, bytes]]) -> str:
        """Send requests (key and body) as a file; return the provider's name for it."""
        content = b"\n".join(_request_line(key, body) for key, body in requests)

        async def call(client: openai.AsyncOpenAI) -> str:
            made = await client.files.create(file=(f"{name}.jsonl", content), purpose="batch")
            return made.id

        return await self._do(call)

    async def create(self, token: str, file: str, *, look_first: bool) -> BatchState:
        """Make a batch of a file, or return the one that was made of it already.

        `look_first` where a crash may have hidden its making; after a lost reply that is done
        anyway. Our token, in the batch's metadata, tells it from all others.
        """
        tried = look_first

        async def call(client: openai.AsyncOpenAI) -> Batch:
            nonlocal tried
            if tried:
                async for one in client.batches.list(limit=100):
                    if (one.metadata or {}).get(_OUR_NAME) == token or one.input_file_id == file:
                        return one
            tried = True
            return await client.batches.create(
                input_file_id=file,
                endpoint=_URL,
                completion_window=_WINDOW,
                metadata={_OUR_NAME: token},
            )

        return _state(await self._do(call))

    async def state(self, batch: str) -> BatchState:
        """Return how far a batch is."""
        return _state(await self._do(lambda client: client.batches.retrieve(batch)))

    async def download(self, file: str, path: Path) -> None:
        """Write a file of the provider's to `path`, piece by piece."""

        async def call(client: openai.AsyncOpenAI) -> None:
            async with client.files.with_streaming_response.content(file) as response:
                await response.stream_to_file(path)

        await self._do(call)

    async def look(self) -> None:
        """Raise EndpointError where there is no Batch API; costs nothing."""

        async def call(client: openai.AsyncOpenAI) -> None:
            await client.batches.list(limit=1)

        await self._do(call)

    async def _do(self, call: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        tries = RetryPolicy(self.api, lambda: False, asyncio.sleep)
        try:
            async for attempt in tries.policy(lambda _: None):
                with attempt, self.transport.client() as client:
                    return await call(client)
        except (CallError, EndpointError) as error:
            raise self._explained(error) from error
        raise AssertionError("a policy that reraises ends in a result or an error")

    def _explained(self, error: CallError | EndpointError) -> EndpointError:
        cause = error.__cause__
        if isinstance(cause, openai.APIStatusError) and cause.status_code in _NO_SUCH_PATH:
            path = cause.request.url.path
            return EndpointError(
                f"{self.transport.who}: no {path} (HTTP {cause.status_code}): either there is no "
                "Batch API here, then set api.mode of this role to live; or what was sent with "
                "another key or long ago is no longer known, then `lion batch forget` gives it up."
            )
        if isinstance(error, EndpointError):
            return error
        failure = error.failure
        return EndpointError(
            f"{self.transport.who}: its Batch API: {failure.reason}: {failure.detail}. What was "
            "sent is remembered: run again."
        )


def read_line(raw: bytes) -> BatchLine | None:
    """Read a line of an output or error file; None where it names no request of anybody's."""
    try:
        document = orjson.loads(raw)
        key = bytes.fromhex(document["custom_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    response = document.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status == 200 and isinstance(body, dict):
        return BatchLine(key, orjson.dumps(body), None)
    return BatchLine(key, None, _failure(status, body, document.get("error")))


def _failure(status: object, body: object, error: object) -> Failure:
    """Return why a line holds no reply: the line's own error, or the refusal in its body."""
    inner = body.get("error") if isinstance(body, dict) else None
    told = error if isinstance(error, dict) else inner
    words = told.get("message") if isinstance(told, dict) else told
    code = error.get("code") if isinstance(error, dict) else None
    reason = code if isinstance(code, str) and code else f"http_{status}"
    return Failure(reason[:100], " ".join(str(words or "").split())[:300])


def _request_line(key: bytes, body: bytes) -> bytes:
    head = f'{{"custom_id":"{key.hex()}","method":"POST","url":"{_URL}","body":'
    return head.encode() + body + b"}"


def _state(found: Batch) -> BatchState:
    counts, told = found.request_counts, found.errors
    return BatchState(
        batch=found.id,
        status=found.status,
        total=counts.total if counts else 0,
        done=counts.completed if counts else 0,
        failed=counts.failed if counts else 0,
        files=tuple(one for one in (found.output_file_id, found.error_file_id) if one),
        errors=tuple(
            (one.code or "", one.message or "") for one in (told.data if told else None) or ()
        ),
        expires_at=found.expires_at,
    )
