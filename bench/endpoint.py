"""A chat-completions server for the benches of asking: calm, stormy, or slow with limits.

    python bench/endpoint.py --port-file PORT [--weather storm]

`calm` answers after `--latency` seconds. `storm` allows `ALLOWED` requests a second (429 and
Retry-After above), resets 2 % of the connections, stalls 1 %, breaks 1 % of the JSON and leaves 1 %
empty. `slow` answers after a log-normal time of median 10 s and enforces limits of requests and
tokens a minute. GET /counts tells what happened, GET /seen how often each body came.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from polling import wait_until

ALLOWED = 50.0  # requests a second in the storm
STALL = 20.0  # seconds
MEDIAN, SIGMA = 10.0, 0.25  # seconds, and the spread of its logarithm
REQUESTS_A_MINUTE, TOKENS_A_MINUTE = 18_000, 10_000_000
PROMPT, COMPLETION = 50, 450  # tokens of a call


def latency(rng: random.Random) -> float:
    """Return the seconds of a slow reply: log-normal, median 10, mean 10.3, 99th percentile 18."""
    return MEDIAN * math.exp(rng.gauss(0.0, SIGMA))


@dataclass
class Bucket:
    """Units that flow in at `rate` a second, at most one second of them."""

    rate: float
    level: float = 0.0
    at: float = field(default_factory=time.monotonic)

    def take(self, units: float) -> bool:
        """Take `units` where they are there."""
        now = time.monotonic()
        self.level, self.at = min(self.rate, self.level + (now - self.at) * self.rate), now
        if self.level < units:
            return False
        self.level -= units
        return True


def reply(text: str) -> bytes:
    """Return a reply as the protocol has it."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    usage = {
        "prompt_tokens": PROMPT,
        "completion_tokens": COMPLETION,
        "total_tokens": PROMPT + COMPLETION,
    }
    document = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return json.dumps({**document, "choices": [choice], "usage": usage}).encode()


class Endpoint:
    """The server's state; replies are a function of the request's body alone."""

    def __init__(self, weather: str, seconds: float) -> None:
        self.weather = weather
        self.seconds = seconds
        self.rng = random.Random(0)
        self.seen: Counter[bytes] = Counter()
        self.counts = {"calls": 0, "throttled": 0, "served": 0}
        self.done: list[float] = []
        self.buckets = {
            "storm": [(Bucket(ALLOWED), 1.0)],
            "slow": [
                (Bucket(REQUESTS_A_MINUTE / 60), 1.0),
                (Bucket(TOKENS_A_MINUTE / 60), float(PROMPT + COMPLETION)),
            ],
        }.get(weather, [])

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or refuse it."""
        raw = await request.read()
        digest = hashlib.sha256(raw).digest()
        self.seen[digest] += 1
        self.counts["calls"] += 1
        if not all(bucket.take(units) for bucket, units in self.buckets):
            self.counts["throttled"] += 1
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return web.json_response(error, status=429, headers={"Retry-After": "1"})
        await asyncio.sleep(latency(self.rng) if self.weather == "slow" else self.seconds)
        body = reply(f"words {digest.hex()} " * 3)
        if self.weather == "storm":
            return await self._broken(request, body)
        return self._served(body)

    async def _broken(self, request: web.Request, body: bytes) -> web.StreamResponse:
        draw = self.rng.random()
        if draw < 0.02 and request.transport is not None:
            request.transport.abort()
            return web.Response()
        if draw < 0.03:
            await asyncio.sleep(STALL)
            return web.Response(body=body, content_type="application/json")
        if draw < 0.04:
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        if draw < 0.05:
            return web.Response(body=reply(""), content_type="application/json")
        return self._served(body)

    def _served(self, body: bytes) -> web.Response:
        self.counts["served"] += 1
        self.done.append(time.monotonic())
        return web.Response(body=body, content_type="application/json")

    async def told(self, _: web.Request) -> web.Response:
        """Tell the counts, and the rate between the 20th and the 80th hundredth of the replies."""
        done = self.done
        first, last = len(done) // 5, len(done) * 4 // 5
        span = done[last] - done[first] if last > first else 0.0
        return web.json_response({**self.counts, "steady": (last - first) / span if span else 0.0})

    async def told_seen(self, _: web.Request) -> web.Response:
        """Tell how many bodies came how often."""
        return web.json_response(dict(Counter(self.seen.values())))

    async def run(self, port_file: Path) -> None:
        """Serve until killed; write the port when ready."""
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.complete)
        application.router.add_get("/counts", self.told)
        application.router.add_get("/seen", self.told_seen)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=8192).start()
        port_file.write_text(str(runner.addresses[0][1]))
        await asyncio.Event().wait()


@contextmanager
def running(weather: str = "calm", seconds: float = 0.2) -> Iterator[str]:
    """Yield the address of a server in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, __file__, "--port-file", str(port_file)]
        command += ["--weather", weather, "--latency", str(seconds)]
        process = subprocess.Popen(command)
        try:
            wait_until(lambda: _is_written(port_file, process), "the server has written its port")
            yield f"http://127.0.0.1:{port_file.read_text()}"
        finally:
            process.kill()
            process.wait()


def _is_written(port_file: Path, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        sys.exit("the server did not start")
    return port_file.exists() and bool(port_file.read_text())


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port-file", required=True, type=Path)
    parser.add_argument("--weather", choices=("calm", "storm", "slow"), default="calm")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds, of calm and storm")
    options = parser.parse_args()
    asyncio.run(Endpoint(options.weather, options.latency).run(options.port_file))


if __name__ == "__main__":
    main()
