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

from lion import console
from lion.config.settings import Api
from lion.errors import EndpointError
from lion.llm.account_troubles import is_account_trouble
from lion.llm.call_errors import CallError
from lion.llm.error_replies import error_codes
from lion.llm.retry import RetryPolicy
from lion.llm.transport import Transport
from lion.prompting import replies
from lion.prompting.protocol import Failure
from lion.prompting.reply_document import parse_document

MOST_REQUESTS = 50_000
MOST_BYTES = 100_000_000
"""Of a file: half of what is allowed, since the SDK holds a file in memory to send it."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
FRAME = 256
"""Bytes that a line of a file takes beside the request's body, at most."""
QUEUE_FULL = "token_limit_exceeded"
"""The code of a batch that fails since the account may have no more tokens waiting."""
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
        """Whether the provider does nothing more for it; an unknown status goes on."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line that came back: the request's key, and the reply's bytes or why there is none.

    `of_account` where the failure says that the account can pay for nothing more.
    """

    key: bytes
    reply: bytes | None
    failure: Failure | None
    of_account: bool = False


@dataclass(frozen=True, slots=True)
class BatchClient:
    """The files and batches of one endpoint. Every method raises EndpointError."""

    transport: Transport
    api: Api

    async def upload(self, name: str, requests: Iterable[tuple[bytes, bytes]]) -> str:
        """Send requests (key and body) as a file; return the provider's name for it."""
        content = b"\n".join(_request_line(key, body) for key, body in requests)

        async def call(client: openai.AsyncOpenAI) -> str:
            file = await client.files.create(file=(f"{name}.jsonl", content), purpose="batch")
            return file.id

        return await self._do(call)

    async def create(self, token: str, file: str, *, look_first: bool) -> BatchState:
        """Create a batch of a file, or return the batch that exists of it already.

        `look_first` where a crash may have hidden its creation; after a lost reply it looks anyway.
        Our token in the batch's metadata identifies it.
        """
        tried = look_first

        async def call(client: openai.AsyncOpenAI) -> Batch:
            nonlocal tried
            if tried:
                async for batch in client.batches.list(limit=100):
                    ours = (batch.metadata or {}).get(_OUR_NAME) == token
                    if ours or batch.input_file_id == file:
                        return batch
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

    async def check(self) -> None:
        """Raise EndpointError where there is no Batch API; costs nothing."""

        async def call(client: openai.AsyncOpenAI) -> None:
            await client.batches.list(limit=1)

        await self._do(call)

    async def _do(self, call: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        policy = RetryPolicy(self.api, lambda: False, asyncio.sleep)
        try:
            with console.waiting(f"{self.transport.who}: its Batch API does not answer yet"):
                async for attempt in policy.attempts(lambda _: None):
                    with attempt, self.transport.client() as client:
                        return await call(client)
        except (CallError, EndpointError) as error:
            raise self._explained(error) from error
        raise AssertionError("attempts that reraise end in a result or an error")

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
    """Read a line of an output or error file; None where it names no request."""
    try:
        document = parse_document(raw)
        key = bytes.fromhex(document["custom_id"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    response = document.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if status == 200 and isinstance(body, dict):
        return BatchLine(key, orjson.dumps(body), None)
    return _failed_line(key, status, body, document.get("error"))


def _failed_line(key: bytes, status: object, body: object, error: object) -> BatchLine:
    """Return a line without a reply: why is the line's own error, or the refusal in its body."""
    inner = body.get("error") if isinstance(body, dict) else None
    refusal = error if isinstance(error, dict) else inner
    words = " ".join((replies.words_of(refusal) or "").split())
    code = error.get("code") if isinstance(error, dict) else None
    reason = code if isinstance(code, str) and code else f"http_{status}"
    number = status if isinstance(status, int) else 400
    failure = Failure(reason[:100], words[:300])
    return BatchLine(key, None, failure, is_account_trouble(number, words, error_codes(refusal)))


def _request_line(key: bytes, body: bytes) -> bytes:
    head = f'{{"custom_id":"{key.hex()}","method":"POST","url":"{_URL}","body":'
    return head.encode() + body + b"}"


def _state(batch: Batch) -> BatchState:
    counts, errors = batch.request_counts, batch.errors
    return BatchState(
        batch=batch.id,
        status=batch.status,
        total=counts.total if counts else 0,
        done=counts.completed if counts else 0,
        failed=counts.failed if counts else 0,
        files=tuple(filter(None, (batch.output_file_id, batch.error_file_id))),
        errors=tuple(
            (error.code or "", error.message or "")
            for error in (errors.data if errors else None) or ()
        ),
        expires_at=batch.expires_at,
    )
