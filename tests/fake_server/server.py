"""The endpoint itself: it keeps each request as it came over the wire, and does as it is set."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from fake_server.behaviour import Behaviour, Call, perform, says

_BACKLOG = 8192  # connections that may come at once

Answer = Behaviour | Callable[[Call], Behaviour]


@dataclass
class ChatServer:
    """A running server; set `answer` to say what it does."""

    answer: Answer = field(default=lambda call: says(f"to: {call.question}"))
    calls: list[Call] = field(default_factory=list)
    most_in_flight: int = 0
    url: str = ""
    port: int = 0
    certificate: ssl.SSLContext | None = None  # HTTPS with it
    _in_flight: int = 0

    @property
    def distinct(self) -> int:
        """The number of different bodies that came."""
        return len({call.raw for call in self.calls})

    @property
    def questions(self) -> list[str]:
        """The last message of each chat that came."""
        return [call.question for call in self.calls]

    def behaviour(self, call: Call) -> Behaviour:
        """Return what is done with a request."""
        return self.answer if isinstance(self.answer, Behaviour) else self.answer(call)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep a request and answer it."""
        raw = await request.read()
        query = request.rel_url.query_string
        call = Call(len(self.calls) + 1, raw, request.headers, time.monotonic(), query)
        self.calls.append(call)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return await perform(request, self.behaviour(call))
        finally:
            self._in_flight -= 1

    def route(self, router: web.UrlDispatcher) -> None:
        """Say which paths there are."""
        router.add_post("/v1/chat/completions", self.handle)
        router.add_post("/v1/embeddings", self.handle)

    async def serve(self, started: Callable[[], None], stop: asyncio.Event, port: int = 0) -> None:
        """Serve until `stop` is set; `url` is known when `started` is called. Port 0 is any."""
        application = web.Application(client_max_size=1 << 24)
        self.route(application.router)
        runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        secure = self.certificate
        await web.TCPSite(
            runner, "127.0.0.1", port, backlog=_BACKLOG, reuse_address=True, ssl_context=secure
        ).start()
        self.port = runner.addresses[0][1]
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}/v1"
        started()
        await stop.wait()
        await runner.cleanup()

    @classmethod
    @contextmanager
    def running(cls, certificate: ssl.SSLContext | None = None) -> Iterator[Self]:
        """Serve from a thread of its own."""
        server = cls(certificate=certificate)
        loop = asyncio.new_event_loop()
        ready, stop = threading.Event(), asyncio.Event()
        serving = server.serve(ready.set, stop)
        thread = threading.Thread(target=loop.run_until_complete, args=(serving,), daemon=True)
        thread.start()
        assert ready.wait(60), "the server did not start"
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(60)
            loop.close()
