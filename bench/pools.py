"""Measures a pool of 1,000,000 instructions: read, validated, hashed, written; then read again.

    python bench/pools.py [--rows 1000000] [--file FILE]

The file of the user's (JSONL, Alpaca) is made of ../shared/data or of FILE, each row like no other,
and lies with the pool in a temporary folder. Reading finds duplicates and makes ids; reading again
checks every id. Labelling and the quality gates are told apart. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import orjson

from lion.config import project
from lion.conversations import transcript
from lion.generation import seed_pool, topic_labels
from lion.generation.filters import quality
from lion.readers import files as sources
from lion.records import jsonl
from lion.records.rows import Instruction

MOST_SECONDS, MOST_GB = 20.0, 2.0
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "instructions"


def make(path: Path, files: list[Path], rows: int) -> None:
    """Write `rows` instructions to `path`."""
    texts = [transcript(row.messages) for file in files for row in sources.read_rows(file).rows]
    with path.open("wb") as file:
        for number in range(rows):
            text = f"{texts[number % len(texts)]} ({number})"
            file.write(orjson.dumps({"instruction": text, "output": str(number)}) + b"\n")


def peak() -> float:
    """Return the most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Make the file, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, help="instructions to make the rows of")
    options = parser.parse_args()
    files = [options.file] if options.file else sorted(SHARED.glob("*.json*"))
    settings = project.load_settings(ROOT / "profiles" / "first-dollars.yaml")
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as folder:
        source, out = Path(folder) / "instructions.jsonl", Path(folder) / "pool.jsonl"
        make(source, files, options.rows)
        seed = settings.seed.model_copy(update={"source": [str(source)]})
        began, cpu = time.perf_counter(), time.process_time()
        pool, dropped = seed_pool.base_pool(seed, 0)
        read = time.perf_counter() - began
        jsonl.write(out, pool)
        took = time.perf_counter() - began
        cpu = time.process_time() - cpu
        memory = peak()
        assert len(pool) + len(dropped) == options.rows
        print(f"{len(pool):,} instructions, {source.stat().st_size / 1e6:,.0f} MB of JSONL")
        print(
            f"read, validated, hashed {read:6.1f} s; written {took - read:.1f} s; {memory:.2f} GB; "
            f"{cpu:.1f} s of CPU"
        )
        began = time.perf_counter()
        flaws = sum(
            quality.reject_reason(transcript(row.messages), settings.quality) is not None
            for row in pool
        )
        print(f"quality gates           {time.perf_counter() - began:6.1f} s, {flaws:,} flaws")
        began = time.perf_counter()
        labels = {topic_labels.domain(row.messages[-1]["content"]) for row in pool}
        print(
            f"labels                  {time.perf_counter() - began:6.1f} s, {len(labels):,} labels"
        )
        del pool
        began = time.perf_counter()
        again = jsonl.read(out, Instruction)
        print(f"read again, ids checked {time.perf_counter() - began:6.1f} s; {peak():.2f} GB")
        assert len(again) + len(dropped) == options.rows
    held = took <= MOST_SECONDS and memory <= MOST_GB
    print(f"pools: {'held' if held else 'MISSED'} (at most {MOST_SECONDS} s, {MOST_GB} GB)")
    figures = {"ours": round(took, 1), "others": MOST_SECONDS}
    ratio = round(took / MOST_SECONDS, 3)
    print(json.dumps({"name": "pools", **figures, "ratio": ratio, "unit": "s"}))


if __name__ == "__main__":
    main()
