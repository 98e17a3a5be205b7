"""Fuzzes everything that parses foreign bytes, guided by coverage (atheris, on libFuzzer).

    pip install atheris && python bench/fuzz.py [TARGET ...] [--minutes 10]

Needs the extra `test`, and atheris.

Each target of tests/foreign.py runs in a process of its own, for so many minutes. What breaks its
law is kept under tests/corpora/TARGET/ and run again by tests/test_fuzz.py. Beside it the same
parsers under random bytes that nothing guides, in inputs tried. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
CORPORA = ROOT / "tests" / "corpora"
_DONE = re.compile(r"Done (\d+) (?:runs )?in (\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> None:
    """Fuzz the targets one after the other, and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="of tests/foreign.py; none: all")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each target")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        fuzz(options.targets[0], options.minutes)
        return
    from foreign import TARGETS

    runs = found = blind = 0
    for name in options.targets or TARGETS:
        tried, covered, broken = guided(name, options.minutes)
        by_chance = unguided(name, min(60 * options.minutes, 10.0))
        told = f"{tried:,} inputs in {options.minutes:g} min, {covered:,} branches, {broken} broken"
        print(f"{name:12} {told}; {by_chance:,.0f} a second without guidance", flush=True)
        runs, found, blind = runs + tried, found + broken, blind + round(by_chance)
    print(f"fuzz: {'held' if found == 0 else 'BROKEN'}")
    ratio = round(runs / max(1, blind), 1)
    figures = {"name": "fuzz", "ours": runs, "others": blind, "ratio": ratio, "broken": found}
    print(json.dumps({**figures, "unit": "inputs tried; beside it a second without guidance"}))


def guided(name: str, minutes: float) -> tuple[int, int, int]:
    """Return inputs tried, branches covered, and how many inputs broke the law."""
    before = set((CORPORA / name).glob("*"))
    command = [sys.executable, __file__, name, "--minutes", str(minutes), "--one"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended, covered = _DONE.search(done.stderr), _COVERED.findall(done.stderr)
    broken = set((CORPORA / name).glob("*")) - before
    if ended is None and not broken:
        sys.exit(done.stderr[-2000:])
    tried = int(ended[1]) if ended else 0
    return tried, int(covered[-1]) if covered else 0, len(broken)


def fuzz(name: str, minutes: float) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["lion"]):
        from foreign import TARGETS
    (CORPORA / name).mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix="lion-fuzz-"))
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={round(60 * minutes)}", "-timeout=5", "-max_len=4096"]
    where = f"-artifact_prefix={CORPORA / name}/"
    atheris.Setup([sys.argv[0], *limits, where, str(corpus)], TARGETS[name].parse)
    atheris.Fuzz()


def unguided(name: str, seconds: float) -> float:
    """Return how many seeds with random bytes in them a second parses."""
    from foreign import TARGETS

    target, rng = TARGETS[name], random.Random(0)
    began, tried = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        content = bytearray(rng.choice(target.seeds))
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        target.parse(bytes(content))
        tried += 1
    return tried / seconds


if __name__ == "__main__":
    main()
