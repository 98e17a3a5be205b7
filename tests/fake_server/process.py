"""The endpoint in a process of its own: it counts requests and keeps none.

Its behaviour is a script, `module:function`: the function takes the script's options and returns
what is done with each call. GET /counts returns the counts; POST /script begins the script anew
with other options, and counts from nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web

from fake_server.behaviour import Behaviour, Call, perform
from fake_server.server import ChatServer

Script = Callable[..., Callable[[Call], Behaviour]]


@dataclass
class Counts:
    """What came since the script began. `unbilled` calls are in no other number."""

    bodies: Counter[bytes]
    ended: list[float]  # when each billed call was answered, seconds of the monotonic clock
    unbilled: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def document(self) -> dict[str, float]:
        """Return the numbers; `steady` is the rate from the 20th to the 80th hundredth, in 1/s."""
        calls, distinct = self.bodies.total(), len(self.bodies)
        return {
            "calls": calls,
            "distinct": distinct,
            "repeated": calls - distinct,
            "unbilled": self.unbilled,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "steady": self._steady(),
        }

    def _steady(self) -> float:
        first, last = len(self.ended) // 5, len(self.ended) * 4 // 5
        return (last - first) / (self.ended[last] - self.ended[first]) if last > first else 0.0


class CountingServer(ChatServer):
    """A server that follows a script."""

    def __init__(self, script: Script, options: dict[str, Any]) -> None:
        super().__init__()
        self._script, self._numbers = script, count(1)
        self.begin(options)

    def begin(self, options: dict[str, Any]) -> None:
        """Begin the script anew, and count from nothing."""
        self.answer = self._script(**options)
        self.counts = Counts(Counter(), [])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Count a request and answer it."""
        raw = await request.read()
        call = Call(next(self._numbers), raw, request.headers, time.monotonic())
        behaviour, counts = self.behaviour(call), self.counts
        if not behaviour.billed:
            counts.unbilled += 1
            return await perform(request, behaviour)
        counts.bodies[hashlib.sha256(raw).digest()] += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        try:
            return await perform(request, behaviour)
        finally:
            counts.in_flight -= 1
            counts.ended.append(time.monotonic())

    def route(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the bench that started it."""
        super().route(router)
        router.add_get("/counts", self._tell)
        router.add_post("/script", self._begin)

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.counts.document())

    async def _begin(self, request: web.Request) -> web.Response:
        self.begin(await request.json())
        return web.json_response({})


@dataclass(frozen=True)
class ServerProcess:
    """A running server, seen from the process that started it."""

    url: str

    def counts(self) -> dict[str, Any]:
        """Return what came since the script began (see `Counts`)."""
        counts: dict[str, Any] = self._ask("counts", None)
        return counts

    def begin(self, **options: Any) -> None:
        """Begin the script anew with these options, and count from nothing."""
        self._ask("script", json.dumps(options).encode())

    def _ask(self, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(self.url.removesuffix("v1") + path, body)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)


@contextmanager
def running(script: str, *, port: int = 0, **options: Any) -> Iterator[ServerProcess]:
    """Serve `script` with its options from a process of its own, on a port or on any (0).

    The module of the script is found where this process finds it.
    """
    paths = [str(Path(__file__).parents[1]), *sys.path]
    command = [sys.executable, "-m", "fake_server.process", script, json.dumps(options), str(port)]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"the server with the script {script} did not start")
            yield ServerProcess(url)
        finally:
            process.kill()


def main() -> None:
    """Serve until killed; print the address when listening."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", help="module:function")
    parser.add_argument("options", type=json.loads, help="of the function, as JSON")
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    module, _, function = arguments.script.partition(":")
    server = CountingServer(getattr(importlib.import_module(module), function), arguments.options)
    asyncio.run(server.serve(lambda: _print(server.url), asyncio.Event(), arguments.port))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
