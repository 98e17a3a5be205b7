"""Measures asking: ours (ledger and limits on) beside the SDK's two transports and curator.

    python bench/asking.py                         # 5,000 requests, 256 in flight, 200 ms
    python bench/asking.py memory                  # 200,000 requests, ours alone
    python bench/asking.py storm
    python bench/asking.py latency                 # log-normal of median 10 s, limits enforced

A loopback server in a process of its own answers, as tests/fake_server/weather.py tells. Each
contender runs in a process of its own, on the same requests of about 50 tokens; rate, CPU and peak
memory are its own. curator (bespokelabs-curator) takes part where `--curator PYTHON` names an
interpreter that has it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from fake_server import process as servers
from fake_server import weather

if TYPE_CHECKING:
    from lion.prompting.protocol import Request

LEAST_OF_SDK, LEAST_OF_CURATOR = 0.9, 1.2
MOST_MEMORY = 500.0  # MB
LEAST_OF_ALLOWED, MOST_WASTE = 0.8, 0.05  # in the storm
LEAST_STEADY, MOST_OF_IDEAL, MOST_SLOW_WASTE = 0.95, 1.2, 0.02  # at real latencies


# --- the contenders ----------------------------------------------------------------------------


def question(number: int) -> str:
    """Return a question of about 50 tokens."""
    return f"{number}: " + "please write a few words about the sea and the sky " * 4


class Questions(Sequence[Any]):
    """Requests made when they are looked at, so that the bench holds none of them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Request:
        from lion.prompting.protocol import Request

        if place >= self._count:
            raise IndexError(place)
        return Request(({"role": "user", "content": question(place)},))


def ours(
    url: str, count: int, in_flight: int, *, timeout: float = 10.0, told: bool = False
) -> None:
    """Ask with Lion's client: ledger, limits and accounts on."""
    from lion.config.settings import Api, Endpoint, Modes
    from lion.llm.client import LLMClient
    from lion.llm.ledger import Ledger
    from lion.prompting.protocol import Reply

    asked = Endpoint(base_url=url, model="m", api_key_env=None, send_seed=True, request={})
    api = Api(
        concurrency=in_flight,
        timeout=timeout,
        tries=8,
        max_wait=20.0,
        max_request_seconds=900.0,
        requests_per_minute=float(weather.REQUESTS_A_MINUTE) if told else None,
        tokens_per_minute=float(weather.TOKENS_A_MINUTE) if told else None,
        mode=Modes(teacher="live", referee="live", generator="live"),
        batch_least=1,
        batch_tail=0.0,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(Path(folder) / "ledger.sqlite") as ledger,
        LLMClient(asked, api, ledger, 0) as client,
    ):
        began = time.monotonic()
        outcomes = client.complete_each(Questions(count))
        seconds = time.monotonic() - began
        assert sum(isinstance(one, Reply) for one in outcomes) + client.usage.failed == count
        account = {
            **asdict(client.usage.call_stats()),
            **asdict(client.usage.versioned()),
            "asking": seconds,
        }
        print(json.dumps(account), file=sys.stderr)


def sdk(url: str, count: int, in_flight: int, *, aiohttp: bool) -> None:
    """Ask with the bare SDK, a semaphore, and nothing kept."""
    import openai

    limits = {"limits": openai.DEFAULT_CONNECTION_LIMITS}
    client = openai.AsyncOpenAI(
        base_url=url,
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
    elif name == "ours-slow":
        ours(url, count, in_flight, timeout=120.0, told=True)
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
    "base_url": url, "max_requests_per_minute": 10**9, "max_tokens_per_minute": 10**12,
    "max_concurrent_requests": in_flight, "require_all_responses": True})
began = time.perf_counter(); cpu = time.process_time()
llm([question(n) for n in range(count)])
seconds = time.perf_counter() - began
print(json.dumps({"rate": count / seconds, "cpu": (time.process_time() - cpu) / count * 1000,
                  "memory": 0}))
"""


def measured(name: str, url: str, options: argparse.Namespace) -> dict[str, Any]:
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
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told = done.stderr.strip().splitlines()
    if name.startswith("ours") and told:
        figures["account"] = json.loads(told[-1])
    return figures


# --- the claims --------------------------------------------------------------------------------


def side_by_side(options: argparse.Namespace) -> None:
    """Print every contender's figures: the best of `--repeats`, in turn, against drift."""
    names = [options.only] if options.only else ["sdk", "sdk-aiohttp", "ours"]
    names += ["curator"] if options.curator and not options.only else []
    best: dict[str, dict[str, Any]] = {}
    with servers.running("fake_server.weather:calm", seconds=options.latency) as server:
        for _ in range(options.repeats):
            for name in names:
                found = measured(name, server.url, options)
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


def memory(options: argparse.Namespace) -> None:
    """Print the peak memory of many requests, beside that of a twentieth of them."""
    few = argparse.Namespace(**{**vars(options), "requests": options.requests // 20})
    with servers.running("fake_server.weather:calm", seconds=options.latency) as server:
        little, much = measured("ours", server.url, few), measured("ours", server.url, options)
    for count, found in ((few.requests, little), (options.requests, much)):
        print(f"{count:9,} requests: {found['memory']:6.0f} MB at {found['rate']:.0f}/s")
    tell("memory", much["memory"], little["memory"], "MB", much["memory"] < MOST_MEMORY)


def storm(options: argparse.Namespace) -> None:
    """Print the share of the allowed rate, and of the calls that were wasted."""
    with servers.running("fake_server.weather:storm", seconds=options.latency) as server:
        found = measured("ours", server.url, options)
    account, rate, allowed = found["account"], found["rate"], weather.ALLOWED
    calls = account["calls"]
    share = account["throttled"] / calls
    broken = (account["wasted"] - account["throttled"]) / calls
    print(f"{options.requests:,} requests at {rate:.1f}/s of {allowed:.0f}/s allowed")
    print(f"{calls:,} calls: {share:.1%} refused (429), {broken:.1%} broken by the server itself")
    held = rate >= LEAST_OF_ALLOWED * allowed and share < MOST_WASTE
    tell("storm", rate, allowed, "requests/s", held)


def latency(options: argparse.Namespace) -> None:
    """Print rate, time and waste at real latencies, beside what limits and latencies allow."""
    options = argparse.Namespace(**{**vars(options), "in_flight": 3000})
    with servers.running("fake_server.weather:slow") as server:
        found = measured("ours-slow", server.url, options)
        counts = server.counts()
    mean = weather.MEDIAN * math.exp(weather.SIGMA**2 / 2)
    tokens = weather.TOKENS_A_MINUTE / 60 / (weather.PROMPT + weather.COMPLETION)
    allowed = min(weather.REQUESTS_A_MINUTE / 60, tokens, options.in_flight / mean)
    account, ideal = found["account"], ideal_seconds(options.requests, options.in_flight, allowed)
    waste = account["wasted"] / account["calls"]
    print(f"{options.requests:,} requests, {options.in_flight:,} in flight, mean {mean:.1f} s")
    print(
        f"allowed {allowed:.0f}/s (limits, and what is in flight); steady {counts['steady']:.0f}/s"
    )
    print(f"time {account['asking']:.1f} s, ideal {ideal:.1f} s; wasted calls {waste:.2%}")
    held = counts["steady"] >= LEAST_STEADY * allowed and waste < MOST_SLOW_WASTE
    held = held and account["asking"] <= MOST_OF_IDEAL * ideal
    tell("latency", counts["steady"], allowed, "requests/s", held)


def ideal_seconds(count: int, in_flight: int, rate: float) -> float:
    """Return when the last reply comes if calls start as early as rate and places in flight let."""
    rng = random.Random(0)
    places: list[float] = []
    last = 0.0
    for number in range(count):
        start = number / rate
        if len(places) >= in_flight:
            start = max(start, heapq.heappop(places))
        end = start + weather.latency(rng)
        heapq.heappush(places, end)
        last = max(last, end)
    return last


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
    parser.add_argument("claim", nargs="?", choices=tuple(_CLAIMS), default="side-by-side")
    parser.add_argument("--requests", type=int, help="5,000; memory 200,000; latency 30,000")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=("ours", "sdk", "sdk-aiohttp"))
    parser.add_argument("--curator", help="a Python that has bespokelabs-curator")
    for hidden in ("--contend", "--url"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.requests = options.requests or _CLAIMS[options.claim][1]
    if options.contend:
        contend(options.contend, options.url, options.requests, options.in_flight)
    else:
        _CLAIMS[options.claim][0](options)


_CLAIMS = {
    "side-by-side": (side_by_side, 5_000),
    "memory": (memory, 200_000),
    "storm": (storm, 5_000),
    "latency": (latency, 30_000),
}

if __name__ == "__main__":
    main()
