"""A request, what the server does with it, and the protocol's documents."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import web

_HOLD_POLL = 0.005  # seconds


@dataclass(frozen=True)
class Call:
    """A request: its number in order of arrival (from 1), its body, and when it came."""

    number: int
    raw: bytes
    headers: Mapping[str, str]
    at: float  # seconds of the monotonic clock
    query: str = ""  # of the address

    @cached_property
    def body(self) -> Any:
        """The body, parsed."""
        return json.loads(self.raw)

    @property
    def question(self) -> str:
        """The last message of a chat."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Behaviour:
    """What the server does with a request: wait, then answer, or cut the connection."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    held: threading.Event | None = None  # nothing is done before it is set
    delay: float = 0.0  # seconds before the first byte
    reset: bool = False  # close before a byte is sent
    broken_off: bool = False  # close in the middle of the body
    piece: int | None = None  # bytes sent at a time; None: all at once
    pause: float = 0.0  # seconds after each piece
    endless: bool = False  # send the body again and again
    billed: bool = True  # whether `process` counts it as a call that is paid for

    @property
    def content(self) -> dict[str, str]:
        """The headers to send."""
        return {"Content-Type": "application/json", **self.headers}


async def perform(request: web.Request, behaviour: Behaviour) -> web.StreamResponse:
    """Do it. A client that has gone away is no error."""
    while behaviour.held is not None and not behaviour.held.is_set():
        await asyncio.sleep(_HOLD_POLL)
    await asyncio.sleep(behaviour.delay)
    if behaviour.reset or request.transport is None:  # None: the client has gone away
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    if behaviour.broken_off or behaviour.endless or behaviour.piece:
        return await _in_pieces(request, behaviour)
    return web.Response(status=behaviour.status, body=behaviour.body, headers=behaviour.content)


async def _in_pieces(request: web.Request, behaviour: Behaviour) -> web.StreamResponse:
    body = behaviour.body
    response = web.StreamResponse(status=behaviour.status, headers=behaviour.content)
    if not behaviour.endless:
        response.content_length = len(body)
    step = behaviour.piece or len(body)
    last = len(body) // 2 if behaviour.broken_off else len(body)
    with suppress(ConnectionError):
        await response.prepare(request)
        while True:
            for place in range(0, last, step):
                await response.write(body[place : min(place + step, last)])
                await asyncio.sleep(behaviour.pause)
            if not behaviour.endless:
                break
    if behaviour.broken_off and request.transport is not None:
        request.transport.close()
    return response


def says(
    text: str | None,
    *,
    finish_reason: str | None = "stop",
    usage: tuple[int, int] | None = (5, 3),
    model: str = "told-1",
    delay: float = 0.0,
) -> Behaviour:
    """Answer with one choice; `usage` counts the tokens of prompt and completion."""
    message = {"role": "assistant", "content": text}
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        document["usage"] = dict(zip(names, (*usage, sum(usage)), strict=True))
    return Behaviour(body=json.dumps(document).encode(), delay=delay)


def embeds(
    numbers: Sequence[float] | str, *, tokens: int | None = 4, model: str = "told-1"
) -> Behaviour:
    """Answer with one embedding: numbers, or text as it is."""
    shown = numbers if isinstance(numbers, str) else list(numbers)
    entry = {"object": "embedding", "index": 0, "embedding": shown}
    document: dict[str, Any] = {"object": "list", "data": [entry], "model": model}
    if tokens is not None:
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Behaviour(body=json.dumps(document).encode())


def refuses(
    status: int, message: str = "no", *, code: str | None = None, headers: Any = None
) -> Behaviour:
    """Refuse in the words of OpenAI's servers."""
    error = {"message": message, "type": "test", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    return Behaviour(status, body, dict(headers or {}), billed=False)
