"""A real chat-completions server on a loopback port, which answers as a test tells it to.

It records every request as it came over the wire. Nothing here imports lion.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Call:
    """One request: its number in order of arrival (from 1), its body and when it came."""

    number: int
    raw: bytes
    headers: Mapping[str, str]
    at: float

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def question(self) -> str:
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Told:
    """What the server does with a request: wait, then answer, or cut the connection."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    held: threading.Event | None = None  # it answers once this is set
    reset: bool = False  # close before a byte is sent
    broken_off: bool = False  # close in the middle of the body
    drip: float | None = None  # seconds between pieces of the body, which is sent again for ever


def says(
    text: str | None,
    *,
    finish_reason: str | None = "stop",
    usage: tuple[int, int] | None = (5, 3),
    model: str = "told-1",
    delay: float = 0.0,
) -> Told:
    """Answer with one choice."""
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
    }
    if usage is not None:
        prompt, completion = usage
        document["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
    return Told(body=json.dumps(document).encode(), delay=delay)


def embeds(
    numbers: Sequence[float] | str, *, tokens: int | None = 4, model: str = "told-1"
) -> Told:
    """Answer with one embedding: numbers, or text as it is."""
    shown = numbers if isinstance(numbers, str) else list(numbers)
    entry = {"object": "embedding", "index": 0, "embedding": shown}
    document: dict[str, Any] = {"object": "list", "data": [entry], "model": model}
    if tokens is not None:
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Told(body=json.dumps(document).encode())


def refuses(
    status: int, message: str = "no", *, code: str | None = None, headers: Any = None
) -> Told:
    """Refuse in the words of OpenAI's servers."""
    error = {"message": message, "type": "test", "param": None, "code": code}
    return Told(status, json.dumps({"error": error}).encode(), dict(headers or {}))


@dataclass
class ChatServer:
    """A running server; set `answer` to say what it does."""

    answer: Told | Callable[[Call], Told] = field(default=lambda call: says(f"to: {call.question}"))
    calls: list[Call] = field(default_factory=list)
    most_in_flight: int = 0
    url: str = ""
    _in_flight: int = 0

    @property
    def distinct(self) -> int:
        """Count the different bodies that came."""
        return len({call.raw for call in self.calls})

    @property
    def questions(self) -> list[str]:
        return [call.question for call in self.calls]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        call = Call(len(self.calls) + 1, raw, dict(request.headers), time.monotonic())
        self.calls.append(call)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            told = self.answer if isinstance(self.answer, Told) else self.answer(call)
            return await self._do(request, told)
        finally:
            self._in_flight -= 1

    async def _do(self, request: web.Request, told: Told) -> web.StreamResponse:
        await asyncio.sleep(told.delay)
        while told.held is not None and not told.held.is_set():
            await asyncio.sleep(0.005)
        assert request.transport is not None
        if told.reset:
            request.transport.abort()
            return web.Response()
        if told.drip is not None:
            endless = web.StreamResponse(headers={"Content-Type": "application/json"})
            await endless.prepare(request)
            with suppress(ConnectionError):
                while True:
                    await endless.write(told.body)
                    await asyncio.sleep(told.drip)
            return endless
        if told.broken_off:
            response = web.StreamResponse(headers={"Content-Length": str(len(told.body))})
            await response.prepare(request)
            await response.write(told.body[: len(told.body) // 2])
            request.transport.close()
            return response
        headers = {"Content-Type": "application/json", **told.headers}
        return web.Response(status=told.status, body=told.body, headers=headers)

    def route(self, router: web.UrlDispatcher) -> None:
        """Say which paths there are."""
        router.add_post("/v1/chat/completions", self.handle)
        router.add_post("/v1/embeddings", self.handle)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Serve from a thread of its own."""
        server = cls()
        loop = asyncio.new_event_loop()
        ready = threading.Event()
        stop = asyncio.Event()

        async def serve() -> None:
            application = web.Application(client_max_size=1 << 24)
            server.route(application.router)
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            ready.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()
