"""Measures the ledger at 1,000,000 replies: opening it, and looking 50,000 keys up.

    python bench/ledger.py [--replies 1000000] [--keys 50000]

The file lies in a temporary folder and is removed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
from pathlib import Path

from lion.llm.calls import Call, Entry
from lion.llm.ledger import Ledger

MOST_OPEN, MOST_LOOK_UP = 1.0, 2.0  # seconds
_BATCH = 20_000
_REPLY = json.dumps({"choices": [{"message": {"content": "words " * 40}}]}).encode()


def key(number: int) -> bytes:
    """Return a key as random as real ones."""
    return hashlib.sha256(str(number).encode()).digest()


def fill(ledger: Ledger, count: int) -> list[float]:
    """Write `count` replies; return the seconds of each batch."""
    call = Call("https://api.example.com/v1", "m", "teach@0", 50, 40, 1000, 0.2)
    took = []
    for start in range(0, count, _BATCH):
        began = time.perf_counter()
        ledger.write(
            Entry(key(number), b"{}" * 100, 0, _REPLY, call)
            for number in range(start, min(count, start + _BATCH))
        )
        took.append(time.perf_counter() - began)
    return took


def main() -> None:
    """Fill a ledger and look keys up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replies", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as ledger:
            took = fill(ledger, options.replies)
        wanted = [
            key(number) for number in random.Random(0).sample(range(options.replies), options.keys)
        ]
        began = time.perf_counter()
        with Ledger(path) as ledger:
            opened = time.perf_counter() - began
            began = time.perf_counter()
            found = len(ledger.look_up(wanted))
            looked_up = time.perf_counter() - began
            spent, _ = ledger.spent()
        size = path.stat().st_size / 1e9
    assert found == options.keys and spent.calls == options.replies
    print(f"{options.replies:,} replies, {size:.2f} GB")
    print(f"{_BATCH:,} written: first {took[0]:.2f} s, last {took[-1]:.2f} s")
    print(f"opened in {opened:.3f} s (at most {MOST_OPEN}); {found:,} keys in {looked_up:.2f} s")
    held = opened < MOST_OPEN and looked_up < MOST_LOOK_UP
    print(f"ledger: {'held' if held else 'MISSED'}")
    figures = {"ours": round(looked_up, 3), "others": MOST_LOOK_UP}
    ratio = round(looked_up / MOST_LOOK_UP, 3)
    print(json.dumps({"name": "ledger look-up", **figures, "ratio": ratio, "unit": "s"}))


if __name__ == "__main__":
    main()
