"""Measures decontamination against three exams, and looks for planted copies of their items.

    python bench/decontamination.py [--rows 52000] [--data ../shared/data] [--alarms 20]

The exams are the files of BIG-Bench Hard, AGIEval and Vicuna's 80 questions. Planted are copies of
their items: exact, in capitals, inside a longer text, with options in another order. Every real
instruction that is accused is listed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from lion.conversations import transcript
from lion.generation.filters.decontamination import Decontamination, parted
from lion.readers import files as sources

MOST = 10.0  # seconds
NGRAM = 13
EXAMS = ("bbh/*.json", "agieval/*.jsonl", "vicuna80/question.jsonl")


def read(files: list[Path]) -> dict[str, str]:
    """Return the texts of the files' rows by `file:line/number`."""
    found = {}
    for file in files:
        for number, row in enumerate(sources.read_rows(file).rows):
            found[f"{file.stem}:{number + 1}"] = transcript(row.messages)
    return found


def planted(text: str, draw: random.Random) -> dict[str, str]:
    """Return the copies of an item, by how they hide."""
    copies = {
        "exact": text,
        "re-cased": text.upper(),
        "embedded": f"Here is something to think about.\n\n{text}\n\nThank you, take your time.",
    }
    stem, options = parted(text)
    if options:
        mixed = draw.sample(options, len(options))
        while mixed == options and len(set(options)) > 1:
            mixed = draw.sample(options, len(options))
        lines = [f"{number}) {one.strip()}" for number, one in enumerate(mixed, start=1)]
        copies["options reordered"] = "\n".join([stem.strip(), *lines])
    return copies


def main() -> None:
    """Plant, look, accuse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=52_000)
    parser.add_argument("--alarms", type=int, default=20, help="false alarms that are shown")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    exam = read([file for pattern in EXAMS for file in sorted(options.data.glob(pattern))])
    real = read(sorted((options.data / "instructions").glob("*.json*")))
    if not exam or not real:
        sys.exit(f"bench/decontamination.py: no exams or no instructions in {options.data}")
    texts = list(real.values())
    pool = [texts[number % len(texts)] for number in range(options.rows)]
    began, cpu = time.perf_counter(), time.process_time()
    guard = Decontamination(exam.items(), True, NGRAM)
    indexed = time.perf_counter() - began
    met = [guard.find_overlap(text) for text in pool]
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"{len(exam):,} exam items indexed in {indexed:.1f} s")
    print(
        f"{len(pool):,} instructions in {took:.1f} s ({cpu:.1f} s of CPU), index included "
        f"(at most {MOST})"
    )
    draw = random.Random(0)
    missed: Counter[str] = Counter()
    hidden: Counter[str] = Counter()
    for text in exam.values():
        for how, copy in planted(text, draw).items():
            hidden[how] += 1
            missed[how] += guard.find_overlap(copy) is None
    for how, count in hidden.items():
        print(f"planted, {how}: {count - missed[how]:,} of {count:,} found")
    accused = [(name, one) for name, one in zip(real, met, strict=False) if one is not None]
    print(f"accused: {len(accused)} of {len(real):,} real instructions")
    for name, one in accused[: options.alarms]:
        print(f"  {name} meets {one.exam_id} ({one.kind}): {real[name]!r:.90}")
    held = took <= MOST and not missed.total()
    print(f"decontamination: {'held' if held else 'MISSED'}")
    figures = {"ours": round(took, 2), "others": MOST, "ratio": round(took / MOST, 3)}
    print(json.dumps({"name": "decontamination", **figures, "unit": "s"}))


if __name__ == "__main__":
    main()
