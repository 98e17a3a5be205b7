"""Measures asking: ours (ledger and limits on) beside the SDK's two transports and curator.

    python bench/asking.py                         # 5,000 requests, 256 in flight, 200 ms
    python bench/asking.py --requests 200000 --only ours
    python bench/asking.py storm

A loopback server in a process of its own answers after `--latency` seconds. Each contender runs in
a process of its own, on the same requests of about 50 tokens; rate, CPU and peak memory are its
own. curator (bespokelabs-curator) takes part where `--curator PYTHON` names an interpreter that has
it. `storm`: 50 requests a second are allowed (429 and Retry-After above), 2 % of connections are
reset, 1 % stall, 1 % bring broken JSON, 1 % are empty. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEAST_OF_SDK, LEAST_OF_CURATOR = 0.9, 1.2
LEAST_OF_ALLOWED, MOST_WASTE = 0.8, 0.05
ALLOWED = 50.0  # requests a second in the storm
STALL = 20.0  # seconds


# --- the server --------------------------------------------------------------------------------


def serve(port_file: Path, latency: float, stormy: bool) -> None:  # noqa: C901 - one small server
    """Answer chat completions until killed; write the port when ready."""
    from aiohttp import web

    body = json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "words " * 40},
                }
            ],
            "usage": {"prompt_tokens": 50, "completion_tokens": 40, "total_tokens": 90},
        }
    ).encode()
    rng = random.Random(0)
    level, at = ALLOWED, time.monotonic()
    counts = {"calls": 0, "throttled": 0, "served": 0}

    def allowed() -> bool:
        nonlocal level, at
        now = time.monotonic()
        level, at = min(ALLOWED, level + (now - at) * ALLOWED), now
        if level < 1:
            return False
        level -= 1
        return True

    async def complete(request: web.Request) -> web.StreamResponse:
        await request.read()
        counts["calls"] += 1
        if stormy and not allowed():
            counts["throttled"] += 1
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return web.json_response(error, status=429, headers={"Retry-After": "1"})
        await asyncio.sleep(latency)
        draw = rng.random() if stormy else 1.0
        if draw < 0.02 and request.transport is not None:
            request.transport.abort()
        elif draw < 0.03:
            await asyncio.sleep(STALL)
        elif draw < 0.04:
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        elif draw < 0.05:
            empty = body.replace(b"words " * 40, b"")
            return web.Response(body=empty, content_type="application/json")
        else:
            counts["served"] += 1
        return web.Response(body=body, content_type="application/json")

    async def told(_: web.Request) -> web.Response:
        return web.json_response(counts)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        app.router.add_get("/counts", told)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        port_file.write_text(str(port))
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def server(latency: float, stormy: bool = False) -> Iterator[str]:
    """Yield the address of a running server."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, __file__, "--serve", str(port_file), "--latency", str(latency)]
        process = subprocess.Popen(command + (["--stormy"] if stormy else []))
        try:
            while not port_file.exists() or not port_file.read_text():
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port_file.read_text()}"
        finally:
            process.kill()
            process.wait()


# --- the contenders ----------------------------------------------------------------------------


def question(number: int) -> str:
    """Return a question of about 50 tokens."""
    return f"{number}: " + "please write a few words about the sea and the sky " * 4


def ours(url: str, count: int, in_flight: int, **_: object) -> None:
    """Ask with Lion's asker: ledger, limits and accounts on."""
    from lion.api import Asker
    from lion.ledger import Ledger
    from lion.settings import Api, Endpoint
    from lion.wire import Reply, Request

    endpoint = Endpoint(
        base_url=f"{url}/v1", model="m", api_key_env=None, send_seed=True, request={}
    )
    api = Api(
        concurrency=in_flight,
        timeout=10.0,
        tries=8,
        max_wait=20.0,
        patience=900.0,
        requests_per_minute=None,
        tokens_per_minute=None,
    )
    requests = [Request(({"role": "user", "content": question(n)},)) for n in range(count)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(Path(folder) / "ledger.sqlite") as ledger,
        Asker(endpoint, api, ledger, 0) as asker,
    ):
        outcomes = asker.ask(requests)
        assert sum(isinstance(one, Reply) for one in outcomes) + asker.account.failed == count
        print(json.dumps(asker.account.happened() | asker.account.versioned()), file=sys.stderr)


def sdk(url: str, count: int, in_flight: int, *, aiohttp: bool) -> None:
    """Ask with the bare SDK, a semaphore, and nothing kept."""
    import openai

    limits = {"limits": openai.DEFAULT_CONNECTION_LIMITS}
    client = openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        http_client=openai.DefaultAioHttpClient(**limits) if aiohttp else None,
    )
    gate = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with gate:
            message = {"role": "user", "content": question(number)}
            await client.chat.completions.create(model="m", messages=[message])  # type: ignore[list-item]

    async def run() -> None:
        await asyncio.gather(*(one(number) for number in range(count)))
        await client.close()

    asyncio.run(run())


def contend(name: str, url: str, count: int, in_flight: int) -> None:
    """Run one contender here, and print its figures."""
    began = time.perf_counter()
    if name == "ours":
        ours(url, count, in_flight)
    else:
        sdk(url, count, in_flight, aiohttp=name == "sdk-aiohttp")
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (used.ru_utime + used.ru_stime) / count * 1000
    print(json.dumps({"rate": count / seconds, "cpu": cpu, "memory": used.ru_maxrss / 1024}))


_CURATOR = """
import json, os, sys, tempfile, time
os.environ.update(TELEMETRY_ENABLED="0", CURATOR_DISABLE_CACHE="0", OPENAI_API_KEY="none",
                  CURATOR_CACHE_DIR=tempfile.mkdtemp(), CURATOR_VIEWER="0")
import tiktoken, types
# its word lists are downloaded; where there is no network a cheap count stands for them
cheap = types.SimpleNamespace(encode=lambda text, **_: [0] * (len(text) // 4))
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: cheap
from bespokelabs import curator
url, count, in_flight = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
question = lambda n: f"{n}: " + "please write a few words about the sea and the sky " * 4
llm = curator.LLM(model_name="gpt-4o-mini", backend="openai", backend_params={
    "base_url": url + "/v1", "max_requests_per_minute": 10**9, "max_tokens_per_minute": 10**12,
    "max_concurrent_requests": in_flight, "require_all_responses": True})
began = time.perf_counter(); cpu = time.process_time()
llm([question(n) for n in range(count)])
seconds = time.perf_counter() - began
print(json.dumps({"rate": count / seconds, "cpu": (time.process_time() - cpu) / count * 1000,
                  "memory": 0}))
"""


def measured(name: str, url: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one contender, run in a process of its own."""
    sizes = [str(options.requests), str(options.in_flight)]
    if name == "curator":
        command = [options.curator, "-c", _CURATOR, url, *sizes]
    else:
        command = [sys.executable, __file__, "--contend", name, "--url", url]
        command += ["--requests", sizes[0], "--in-flight", sizes[1]]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    told = done.stderr.strip().splitlines()
    if name == "ours" and told:
        figures["account"] = json.loads(told[-1])
    return figures


# --- the claims --------------------------------------------------------------------------------


def side_by_side(options: argparse.Namespace) -> None:
    """Print every contender's figures: the best of `--repeats`, in turn, against drift."""
    names = [options.only] if options.only else ["sdk", "sdk-aiohttp", "ours"]
    names += ["curator"] if options.curator and not options.only else []
    best: dict[str, dict[str, float]] = {}
    with server(options.latency) as url:
        for _ in range(options.repeats):
            for name in names:
                found = measured(name, url, options)
                if name not in best or found["rate"] > best[name]["rate"]:
                    best[name] = found
    ideal = options.in_flight / options.latency
    print(f"{options.requests:,} requests, {options.in_flight} in flight; ideal {ideal:,.0f}/s")
    print(f"{'':12} {'requests/s':>10} {'ms CPU':>7} {'peak MB':>8}")
    for name, found in best.items():
        print(f"{name:12} {found['rate']:10,.0f} {found['cpu']:7.2f} {found['memory']:8,.0f}")
    if options.only:
        return
    rivals = {name: found["rate"] for name, found in best.items() if name != "ours"}
    curator = rivals.pop("curator", None)
    others, rate = max(rivals.values()), best["ours"]["rate"]
    held = rate >= LEAST_OF_SDK * others
    held = held and (curator is None or rate >= LEAST_OF_CURATOR * curator)
    if curator is not None:
        print(f"against curator: {rate / curator:.2f} (at least {LEAST_OF_CURATOR})")
    tell("asking", rate, others, "requests/s", held)


def storm(options: argparse.Namespace) -> None:
    """Print the share of the allowed rate, and of the calls that were wasted."""
    with server(options.latency, stormy=True) as url:
        found = measured("ours", url, options)
    account = found["account"]
    rate = found["rate"]
    calls = account["calls"]  # type: ignore[index]
    share = account["throttled"] / calls  # type: ignore[index]
    broken = (account["wasted"] - account["throttled"]) / calls  # type: ignore[index]
    print(f"{options.requests:,} requests at {rate:.1f}/s of {ALLOWED:.0f}/s allowed")
    print(f"{calls:,} calls: {share:.1%} refused (429), {broken:.1%} broken by the server itself")
    held = rate >= LEAST_OF_ALLOWED * ALLOWED and share < MOST_WASTE
    tell("storm", rate, ALLOWED, "requests/s", held)


def tell(name: str, ours_: float, others: float, unit: str, held: bool) -> None:
    """Print whether the claim held, and its line of JSON."""
    print(f"{name}: {'held' if held else 'MISSED'}")
    figures = {
        "ours": round(ours_, 1),
        "others": round(others, 1),
        "ratio": round(ours_ / others, 3),
    }
    print(json.dumps({"name": name, **figures, "unit": unit}))


def main() -> None:
    """Measure, or play one of the parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "claim", nargs="?", choices=("side-by-side", "storm"), default="side-by-side"
    )
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=("ours", "sdk", "sdk-aiohttp"))
    parser.add_argument("--curator", help="a Python that has bespokelabs-curator")
    for hidden in ("--serve", "--contend", "--url"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--stormy", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve), options.latency, options.stormy)
    elif options.contend:
        contend(options.contend, options.url, options.requests, options.in_flight)
    elif options.claim == "storm":
        storm(options)
    else:
        side_by_side(options)


if __name__ == "__main__":
    main()
