"""A counting teacher for the campaign: honest, or lying as it is told to.

    python bench/faulting/teacher.py --port 0 --port-file PORT

It replies as the embedded teacher does (the model `composer-1` composes tasks, for bootstrap), a
little later, and counts every request by its body. POST /mood sets what it does from then on and
forgets the counts; GET /counts tells them. A lie is told to the first call of a share of the
bodies, or to every call.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2]))

from composer import compose

from lion.embedded import application

LATENCY = 0.03  # seconds
TEN_MEGABYTES = 10 * 1024 * 1024
COMPOSER = "composer-1"


def honest(raw: bytes) -> bytes:
    """Reply as the embedded teacher, or as the composer; a function of the body alone."""
    body = json.loads(raw)
    if body["model"] != COMPOSER:
        return json.dumps(application.completion(application.read_request(raw))).encode()
    grows = "Write the tasks" in body["messages"][-1]["content"]  # and is no probe
    text = compose(body) if grows else "ready"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    shown = {"id": "1", "object": "chat.completion", "created": 0, "model": COMPOSER}
    return json.dumps(
        {**shown, "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
    ).encode()


def _long(raw: bytes) -> bytes:
    """Return a reply whose answer is ten megabytes of words."""
    document = json.loads(honest(raw))
    document["choices"][0]["message"]["content"] = "word " * (TEN_MEGABYTES // 5)
    return json.dumps(document).encode()


@cache
def _bomb() -> bytes:
    """Return 400 MB of nothing, packed."""
    return gzip.compress(b" " * (40 * TEN_MEGABYTES), 1)


def _reply(body: bytes, kind: str = "application/json", **headers: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": kind, **headers})


Lie = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


async def _streamed(request: web.Request, chunk: bytes, pause: float) -> web.StreamResponse:
    """Send the same bytes until the client goes away."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(chunk)
        await asyncio.sleep(pause)


async def _drip(request: web.Request, raw: bytes) -> web.StreamResponse:
    """Send an honest reply a byte a second: each byte comes in time, and the reply never does."""
    body = honest(raw)
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    for place in range(len(body)):
        await response.write(body[place : place + 1])
        await asyncio.sleep(1.0)
    return response


async def _reset(request: web.Request, _: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _half(request: web.Request, raw: bytes) -> web.StreamResponse:
    """Close in the middle of an honest body."""
    body = honest(raw)
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _silence(*_: object) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


def _says(make: Callable[[bytes], web.Response]) -> Lie:
    async def lie(_: web.Request, raw: bytes) -> web.StreamResponse:
        return make(raw)

    return lie


_ERROR = b'{"error": {"message": "overloaded", "type": "server_error", "code": null}}'
LIES: dict[str, Lie] = {
    "a page in the place of JSON": _says(lambda _: _reply(b"<html>Sign in</html>", "text/html")),
    "an event stream": _says(lambda raw: _reply(b"data: " + honest(raw), "text/event-stream")),
    "200 with an error body": _says(lambda _: _reply(_ERROR)),
    "10 MB of answer": _says(lambda raw: _reply(_long(raw))),
    "10 MB of nothing": _says(lambda _: _reply(b" " * TEN_MEGABYTES)),
    "invalid UTF-8": _says(
        lambda raw: _reply(honest(raw).replace(b'content": "', b'content": "\xff\xfe'))
    ),
    "deeply nested JSON": _says(lambda _: _reply(b"[" * 200_000)),
    "an empty body": _says(lambda _: _reply(b"")),
    "a null answer": _says(lambda _: _reply(b'{"choices": [{"message": {"content": null}}]}')),
    "choices of the wrong type": _says(lambda _: _reply(b'{"choices": "none"}')),
    "a zip bomb": _says(lambda _: _reply(_bomb(), **{"Content-Encoding": "gzip"})),
    "bytes that claim to be gzip": _says(
        lambda raw: _reply(honest(raw), **{"Content-Encoding": "gzip"})
    ),
    "half a body": _half,
    "a reset connection": _reset,
    "a slow drip": _drip,
    "silence": _silence,
    "an endless stream": lambda request, _: _streamed(request, b" " * 262_144, 0.02),
    "an endless slow stream": lambda request, _: _streamed(request, b" ", 0.2),
}


class Teacher:
    """The server's state."""

    def __init__(self) -> None:
        """Be honest."""
        self.lie: str | None = None
        self.share = 0.0
        self.always = False
        self.latency = LATENCY
        self.forget()

    def forget(self) -> None:
        """Count from nothing."""
        self.seen: Counter[bytes] = Counter()
        self.lies = self.in_flight = self.most = 0
        self.since = object()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raw = await request.read()
        digest = hashlib.sha256(raw).digest()
        if self._is_lied_to(digest):
            self.lies += 1
            with suppress(ConnectionError):  # the client has had enough of it
                return await LIES[str(self.lie)](request, raw)
            return web.Response()
        self.seen[digest] += 1
        since = self.since
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            return _reply(honest(raw))
        except application.RequestError as refusal:
            return web.json_response({"error": {"message": str(refusal)}}, status=refusal.status)
        finally:
            self.in_flight -= since is self.since

    def _is_lied_to(self, digest: bytes) -> bool:
        if self.lie is None or digest[0] >= self.share * 256:
            return False
        if not self.always and digest in self._lied:
            return False
        self._lied.add(digest)
        return True

    async def set_mood(self, request: web.Request) -> web.Response:
        """Do from now on what the body says, and count anew."""
        mood = await request.json()
        self.forget()
        self._lied: set[bytes] = set()
        self.lie, self.share = mood.get("lie"), mood.get("share", 1.0)
        self.always = mood.get("always", False)
        self.latency = mood.get("latency", LATENCY)
        return web.json_response({})

    async def tell(self, _: web.Request) -> web.Response:
        """Tell the counts since the mood was set; `twice` are honest replies that were repeats."""
        calls = sum(self.seen.values())
        counts: dict[str, Any] = {"calls": calls, "distinct": len(self.seen), "lies": self.lies}
        counts |= {"twice": calls - len(self.seen), "in_flight": self.in_flight, "most": self.most}
        return web.json_response(counts)

    async def run(self, port: int, port_file: Path) -> None:
        """Serve until killed; write the port when ready."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_post("/mood", self.set_mood)
        app.router.add_get("/counts", self.tell)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        port_file.write_text(str(runner.addresses[0][1]))
        await asyncio.Event().wait()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", required=True, type=Path)
    options = parser.parse_args()
    asyncio.run(Teacher().run(options.port, options.port_file))


if __name__ == "__main__":
    main()
