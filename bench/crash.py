"""Measures that nothing is asked twice: the asking process is killed -9 at random moments.

    python bench/crash.py                          # 10,000 requests, 50 kills, 64 in flight

A counting server answers each request as a function of its bytes. One process asks undisturbed, on
a ledger of its own; another is killed and started again until every kill is done, and then ends.
Held: the same outputs, every distinct request seen, and no more calls than the undisturbed run
plus what was in flight at each kill. The last line is one JSON object: calls, ours and undisturbed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_server import process as servers


def ask(url: str, ledger: Path, out: Path, count: int, in_flight: int) -> None:
    """Ask everything and write the answers; say when asking begins."""
    from lion.config.settings import Api, Endpoint, Modes
    from lion.llm.client import LLMClient
    from lion.llm.ledger import Ledger
    from lion.prompting.protocol import Reply, Request

    asked = Endpoint(base_url=url, model="m", api_key_env=None, send_seed=True, request={})
    api = Api(
        concurrency=in_flight,
        timeout=30.0,
        tries=4,
        max_wait=5.0,
        max_request_seconds=60.0,
        requests_per_minute=None,
        tokens_per_minute=None,
        mode=Modes(teacher="live", referee="live", generator="live"),
        batch_least=1,
        batch_tail=0.0,
    )
    requests = [
        Request(({"role": "user", "content": f"question {number}"},)) for number in range(count)
    ]
    with Ledger(ledger) as opened, LLMClient(asked, api, opened, 0) as client:
        print("asking", flush=True)
        outcomes = client.complete(requests)
    texts = [one.text if isinstance(one, Reply) else one.reason for one in outcomes]
    out.write_text("\n".join(texts), encoding="utf-8")


def start(url: str, folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """Start an asking process on the ledger of `folder`."""
    command = [sys.executable, __file__, "--ask", url, "--folder", str(folder)]
    command += ["--requests", str(options.requests), "--in-flight", str(options.in_flight)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed(url: str, folder: Path, options: argparse.Namespace) -> int:
    """Kill at random moments, then let it end; return the number of kills."""
    rng = random.Random(options.seed)
    longest = options.requests / options.rate / options.kills * 1.5  # seconds
    for number in range(options.kills):
        process = start(url, folder, options)
        if number % 5:  # each fifth dies at any moment of its start
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(rng.uniform(0, longest))
        if process.poll() is not None:
            return number  # all was asked before every kill was done
        process.kill()
        process.wait()
    if start(url, folder, options).wait():
        sys.exit("the last run failed")
    return int(options.kills)


def main() -> None:
    """Measure, or play the asking process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rate", type=float, default=400.0, help="requests/s of this machine")
    parser.add_argument("--seed", type=int, default=0)
    for hidden in ("--ask", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        folder = Path(options.folder)
        paths = folder / "ledger.sqlite", folder / "answers"
        ask(options.ask, *paths, options.requests, options.in_flight)
        return
    with tempfile.TemporaryDirectory() as place:
        whole, cut = Path(place) / "whole", Path(place) / "cut"
        for folder in (whole, cut):
            folder.mkdir()
        with servers.running("fake_server.weather:calm", seconds=0.05) as server:
            if start(server.url, whole, options).wait():
                sys.exit("the undisturbed run failed")
            undisturbed = server.counts()["calls"]
        with servers.running("fake_server.weather:calm", seconds=0.05) as server:
            kills = killed(server.url, cut, options)
            counts = server.counts()
        same = (whole / "answers").read_bytes() == (cut / "answers").read_bytes()
    distinct, calls = counts["distinct"], counts["calls"]
    allowed = undisturbed + kills * options.in_flight
    print(f"{kills} kills; outputs {'the same' if same else 'DIFFER'}")
    print(
        f"distinct {distinct:,}; calls {calls:,}, undisturbed {undisturbed:,}, allowed {allowed:,}"
    )
    held = same and kills == options.kills and distinct == options.requests and calls <= allowed
    print(f"crash: {'held' if held else 'MISSED'}")
    figures = {"ours": calls, "others": undisturbed, "ratio": round(calls / undisturbed, 4)}
    print(json.dumps({"name": "crash", **figures, "unit": "calls"}))


if __name__ == "__main__":
    main()
