"""Measures novelty beside the authors' way and RapidFuzz alone, and compares decisions.

    python bench/novelty.py [FILE ...] [--pools 52000,200000] [--candidates 200] [--pairs 20000]

Needs the extra `test`.

FILEs are instructions in any format that Lion reads; without one those of ../shared/data. They are
tiled with edits to each size of pool. The authors' way scores a candidate against every text of the
pool with the package rouge-score; it is measured on one candidate and the first size alone, in one
process. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rapidfuzz import process
from rapidfuzz.distance import Indel
from rouge_score import rouge_scorer
from rouge_score.tokenizers import Tokenizer

from lion.conversations import transcript
from lion.generation.filters.novelty import Novelty
from lion.readers import files as sources
from lion.words import words

MOST = 7.0  # milliseconds per candidate at the first size
LIMIT = 0.7
NEAR = 0.02
SHARED = Path(__file__).parents[2] / "shared" / "data" / "instructions"
T = TypeVar("T")


class OurWords(Tokenizer):  # type: ignore[misc]  # rouge-score carries no types
    """Lets rouge-score count our words: the same decisions are asked of the same tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words."""
        return words(text, "unicode")


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """Return what `run` returns and its seconds."""
    began = time.perf_counter()
    found = run()
    return found, time.perf_counter() - began


def edited(text: str, vocabulary: list[str], share: float, draw: random.Random) -> str:
    """Return `text` with about `share` of its words replaced."""
    parts = text.split(" ")
    for _ in range(max(1, round(len(parts) * share))):
        parts[draw.randrange(len(parts))] = draw.choice(vocabulary)
    return " ".join(parts)


def tiled(texts: list[str], size: int, vocabulary: list[str]) -> list[str]:
    """Return `size` texts: the real ones, then edits of them, each like nothing before it."""
    draw = random.Random(0)
    more = (edited(texts[n % len(texts)], vocabulary, 0.4, draw) for n in range(size))
    return [*texts, *more][:size]


def grown(pool: list[str]) -> Novelty:
    """Return the pool as Novelty has it."""
    novelty = Novelty(LIMIT, "unicode")
    for number, text in enumerate(pool):
        novelty.add(str(number), text)
    return novelty


def measure(pool: list[str], candidates: list[str], authors: bool) -> tuple[float, float | None]:
    """Print the milliseconds per candidate of each way; return ours and the authors'."""
    novelty, build = timed(lambda: grown(pool))
    found, ours = timed(lambda: [novelty.neighbour(text) for text in candidates])
    ours *= 1000 / len(candidates)
    dropped = sum(one is not None and one.similarity > LIMIT for one in found)
    print(f"{len(pool):,} instructions, {len(candidates)} candidates, {dropped} of them known")
    print(f"  ours, nearest one named        {ours:10.2f} ms a candidate ({build:.1f} s to build)")
    encoded = encode(pool), encode(candidates)
    _, whole = timed(
        lambda: [
            process.extractOne(
                one, encoded[0], scorer=Indel.normalized_similarity, score_cutoff=LIMIT - 1e-5
            )
            for one in encoded[1]
        ]
    )
    print(f"  RapidFuzz over the whole pool  {whole * 1000 / len(candidates):10.2f} ms")
    if not authors:
        return ours, None
    tokens = [words(text, "reference") for text in pool]
    asked = words(candidates[0], "reference")
    scores, theirs = timed(lambda: [rouge_scorer._score_lcs(asked, one) for one in tokens])
    assert len(scores) == len(pool)
    print(
        f"  the authors' way               {theirs * 1000:10.0f} ms, {theirs * 1000 / ours:,.0f} x"
    )
    return ours, theirs * 1000


def encode(texts: list[str]) -> list[str]:
    """Return texts whose characters are words."""
    numbers: dict[str, int] = {}
    return [
        "".join(
            chr(0xE000 + numbers.setdefault(word, len(numbers))) for word in words(text, "unicode")
        )
        for text in texts
    ]


def pairs(texts: list[str], count: int, vocabulary: list[str]) -> list[tuple[str, str, float]]:
    """Return pairs and their ROUGE-L F by rouge-score, half of them within NEAR of the limit."""
    draw = random.Random(1)
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=OurWords())
    short = [text for text in texts if 8 <= len(words(text, "unicode")) <= 40]
    near: list[tuple[str, str, float]] = []
    far: list[tuple[str, str, float]] = []
    while len(near) < count // 2 or len(far) < count - count // 2:
        one = draw.choice(short)
        other = edited(one, vocabulary, draw.uniform(0.2, 0.5), draw)
        if len(near) >= count // 2:
            other = draw.choice(short)
        score = scorer.score(one, other)["rougeL"].fmeasure
        kind, most = (near, count // 2) if abs(score - LIMIT) <= NEAR else (far, count - count // 2)
        if len(kind) < most:
            kind.append((one, other, score))
    return near + far


def differences(found: list[tuple[str, str, float]]) -> int:
    """Return on how many pairs Lion decides otherwise than rouge-score, or scores otherwise."""
    different = 0
    for one, other, score in found:
        novelty = Novelty(LIMIT, "unicode")
        novelty.add("0", one)
        nearest = novelty.neighbour(other)
        same = score == (0.0 if nearest is None else nearest.similarity)
        different += not same or novelty.check(other) != (score <= LIMIT)
    return different


def main() -> None:
    """Measure each size, then compare decisions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--pools", default="52000,200000")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=20_000)
    options = parser.parse_args()
    files = options.files or sorted(SHARED.glob("*.json*"))
    if not files:
        sys.exit("bench/novelty.py: name files of instructions; ../shared/data is absent")
    texts = [transcript(row.messages) for file in files for row in sources.read_rows(file).rows]
    vocabulary = sorted({word for text in texts for word in text.split()})
    draw = random.Random(2)
    candidates = [
        edited(draw.choice(texts), vocabulary, 0.3, draw) for _ in range(options.candidates)
    ]
    length = sum(len(words(text, "unicode")) for text in texts) / len(texts)
    print(f"{len(texts):,} real instructions of {length:.0f} words on average")
    sizes = [int(size) for size in options.pools.split(",")]
    figures = [
        measure(tiled(texts, size, vocabulary), candidates, authors=number == 0)
        for number, size in enumerate(sizes)
    ]
    found = pairs(texts, options.pairs, vocabulary)
    different = differences(found)
    near = sum(abs(score - LIMIT) <= NEAR for _, _, score in found)
    print(f"decisions: {different} of {len(found):,} differ, {near:,} within {NEAR} of the limit")
    ours, theirs = figures[0]
    assert theirs is not None
    print(f"novelty: {'held' if ours <= MOST and not different else 'MISSED'} (at most {MOST} ms)")
    line = {"name": "novelty", "ours": round(ours, 2), "others": round(theirs, 1)}
    print(json.dumps({**line, "ratio": round(theirs / ours, 1), "unit": "ms"}))


if __name__ == "__main__":
    main()
