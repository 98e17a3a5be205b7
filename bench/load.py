"""Measures load: a million requests through the client, and twenty iterations in a row.

    python bench/load.py client                    # 1,000,000 requests, 256 in flight, 50 ms
    python bench/load.py client --requests 100000 --wire
    python bench/load.py soak                      # 20 iterations of a tiny loop, about 20 minutes

Needs the extra `test`.

`client` has ledger, limits and accounts on; by default a coroutine stands for the server and the
wire (about 4 in 5 of a call's CPU), with --wire a server on loopback answers. Memory is read as
replies arrive, and every request must have a reply in the ledger. `soak` runs the profile `ci`,
made smaller, one iteration after the other, and tells what each added. The last line is one JSON
object: the figure at the end, and that of the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from asking import Questions

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_server import process as servers
from fake_server import weather

MOST_GROWTH = 1.1  # times, between half of the requests and all
MOST_OF_THE_FIRST = 1.5  # times the median of the first five iterations
_MEGABYTE = 1 << 20


# --- the client -------------------------------------------------------------------------------


def client(options: argparse.Namespace) -> None:
    """Ask, and print memory at every tenth."""
    from lion.config.settings import Api, Endpoint, Modes
    from lion.llm.client import LLMClient
    from lion.llm.ledger import Ledger
    from lion.prompting.protocol import Reply

    count = options.requests
    api = Api(
        concurrency=options.in_flight,
        timeout=30.0,
        tries=4,
        max_wait=5.0,
        max_request_seconds=600.0,
        requests_per_minute=None,
        tokens_per_minute=None,
        mode=Modes(teacher="live", referee="live", generator="live"),
        batch_least=1,
        batch_tail=0.0,
    )
    marks: dict[int, float] = {}
    began = time.monotonic()

    def note(done: int, _: int) -> None:
        if done % max(1, count // 10) == 0 and done not in marks:
            marks[done] = memory()
            print(
                f"{done:>9,}  {marks[done]:7.0f} MB  {time.monotonic() - began:7.0f} s", flush=True
            )

    with served(options) as url, tempfile.TemporaryDirectory() as folder:
        asked = Endpoint(base_url=url, model="m", api_key_env=None, send_seed=True, request={})
        with (
            Ledger(Path(folder) / "ledger.sqlite") as ledger,
            LLMClient(asked, api, ledger, 0, progress=note) as opened,
        ):
            outcomes = opened.complete_each(Questions(count))
            answered = sum(isinstance(one, Reply) for one in outcomes)
            kept, account = ledger.count(), opened.usage.call_stats()
    first, half, last = (marks[max(1, count // 10) * tenth] for tenth in (1, 5, 10))
    print(f"{answered:,} answered, {kept:,} in the ledger, {account.calls:,} calls")
    print(f"memory: {first:.0f} MB after a tenth, {half:.0f} after half, {last:.0f} after all")
    held = answered == kept == count == account.calls and last <= MOST_GROWTH * half
    tell("load", last, half, "MB", held=held)


@contextmanager
def served(options: argparse.Namespace) -> Iterator[str]:
    """Yield the address of a server, or put a coroutine in the place of server and wire."""
    if options.wire:
        with servers.running("fake_server.weather:calm", seconds=options.latency) as server:
            yield server.url
        return
    from lion.llm.transport import Transport

    async def send(_: Transport, body: bytes) -> tuple[bytes, dict[str, str]]:
        await asyncio.sleep(options.latency)
        return weather.reply(f"to {len(body)} bytes").body, {}

    whole, Transport.send = Transport.send, send  # type: ignore[method-assign, assignment]
    try:
        yield "http://127.0.0.1:9/v1"
    finally:
        Transport.send = whole  # type: ignore[method-assign]


def memory() -> float:
    """Return the memory of this process in MB."""
    return float(psutil.Process().memory_info().rss) / _MEGABYTE


# --- the soak --------------------------------------------------------------------------------


def soak(options: argparse.Namespace) -> None:
    """Add one iteration after the other; print seconds, disk and memory of each."""
    import pipeline as projects  # the tests' one: this script's folder is not first any more

    head = ("seconds", "CPU s", "DVC CPU s", "disk MB", "memory MB")
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory(prefix="lion-soak-") as place:
        project = projects.tiny(Path(place) / "project")
        print("iteration " + " ".join(f"{name:>9}" for name in head), flush=True)
        before = 0.0
        for number in range(1, options.iterations + 1):
            if number > 1:
                project.append_iteration(str(number), str(number - 1))
            seconds, cpu, dvc_cpu, most = watched(project)
            after = disk(project.root)
            rows.append((seconds, cpu, dvc_cpu, after - before, most))
            before = after
            print(f"{number:9} " + " ".join(f"{cell:9.1f}" for cell in rows[-1]), flush=True)
    held = True
    for name, column in zip(head, zip(*rows[1:], strict=True), strict=True):  # 1 made the base, too
        first, last = (statistics.median(part) for part in (column[:5], column[-5:]))
        if name != "seconds":  # of a machine that others may use
            held = held and last <= MOST_OF_THE_FIRST * first
        print(f"{name}: median of the first five {first:.2f}, of the last five {last:.2f}")
        if name == "CPU s":
            figures = last, first
    tell("soak", *figures, "CPU seconds an iteration", held=held)


def watched(project: object) -> tuple[float, float, float, float]:
    """Run `dvc repro`; return seconds, CPU seconds in all and of DVC itself, and the most memory.

    The memory is that of the largest process. DVC's own CPU is read as it runs, five times a
    second.
    """
    began, most, own, before = time.monotonic(), 0.0, 0.0, _cpu()
    with project.repro_in_background() as dvc:  # type: ignore[attr-defined]
        process = psutil.Process(dvc.pid)
        while dvc.poll() is None:
            with suppress(psutil.Error):  # it has just ended
                own = sum(process.cpu_times()[:2])  # user and system, without its children's
            for one in [process, *children(process)]:
                try:
                    most = max(most, one.memory_info().rss / _MEGABYTE)
                except psutil.Error:
                    continue
            time.sleep(0.2)
        if dvc.returncode:
            sys.exit(f"dvc repro failed ({dvc.returncode})")
    return time.monotonic() - began, _cpu() - before, own, most


def _cpu() -> float:
    """Return the CPU seconds of all that was started here and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return what a process started; nothing where it is gone."""
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def disk(root: Path) -> float:
    """Return what a project takes, in MB."""
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*")) / _MEGABYTE


def tell(name: str, ours: float, others: float, unit: str, *, held: bool) -> None:
    """Print whether the claim held, and its line of JSON."""
    print(f"{name}: {'held' if held else 'MISSED'}")
    figures = {"ours": round(ours, 1), "others": round(others, 1), "ratio": round(ours / others, 3)}
    print(json.dumps({"name": name, **figures, "unit": unit}))


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claim", choices=("client", "soak"))
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--wire", action="store_true", help="a server on loopback, twice the CPU")
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    {"client": client, "soak": soak}[options.claim](options)


if __name__ == "__main__":
    main()
