"""Measures the gate of embeddings: the nearest of 52,000 texts by cosine, a round of candidates.

    python bench/near_duplicates.py [--pool 52000] [--candidates 512] [--numbers 384]

Vectors are drawn, since the time does not depend on what they mean; embedding itself is not
measured. Ours is one product a round, the other side one product a candidate; both find the same
neighbours. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

import numpy as np

from lion.generation.filters.near_duplicates import DIGITS, NearDuplicateIndex, Vector
from lion.generation.filters.novelty import Neighbour
from lion.prompting.protocol import Failure


class Drawn:
    """An embedder that draws a vector for each text, which is a number."""

    def __init__(self, numbers: int) -> None:
        self.numbers = numbers

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector of each text."""
        return [
            np.random.default_rng(int(text)).standard_normal(self.numbers, np.float32)
            for text in texts
        ]

    def used(self) -> None:
        """Return nothing."""
        return None


class Known(Drawn):
    """The same, drawn beforehand."""

    def __init__(self, numbers: int, texts: Sequence[str]) -> None:
        super().__init__(numbers)
        self.vectors = dict(zip(texts, super().embed(texts), strict=True))

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector of each text."""
        return [self.vectors[text] for text in texts]


def main() -> None:
    """Fill a pool, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=int, default=52_000)
    parser.add_argument("--candidates", type=int, default=512)
    parser.add_argument("--numbers", type=int, default=384)
    options = parser.parse_args()
    pool = [str(number) for number in range(options.pool)]
    texts = [str(options.pool + number) for number in range(options.candidates)]
    known = Known(options.numbers, pool + texts)
    near = NearDuplicateIndex(0.9, known)
    near.fill([(text, text) for text in pool])
    wall, began = time.perf_counter(), time.process_time()
    near.expect(texts)
    ours = [near.neighbour(text) for text in texts]
    cpu, wall = time.process_time() - began, time.perf_counter() - wall
    matrix = np.stack([known.vectors[text] for text in pool])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    other_wall, began = time.perf_counter(), time.process_time()
    others = [_alone(matrix, known.vectors[text]) for text in texts]
    other_cpu, other_wall = time.process_time() - began, time.perf_counter() - other_wall
    assert ours == others
    each = options.candidates / 1000
    print(f"{options.pool:,} texts, {options.candidates} candidates, {options.numbers} numbers")
    print(f"one product a round      {wall / each:7.2f} ms a candidate, {cpu / each:7.2f} CPU ms")
    print(
        f"one product a candidate  {other_wall / each:7.2f} ms a candidate, "
        f"{other_cpu / each:7.2f} CPU ms"
    )
    figures = {"ours": round(wall / each, 2), "others": round(other_wall / each, 2)}
    ratio = round(wall / other_wall, 3)
    print(json.dumps({"name": "near_duplicates", **figures, "ratio": ratio, "unit": "ms"}))


def _alone(matrix: Vector, vector: Vector) -> Neighbour:
    cosines = np.round(matrix @ (vector / np.linalg.norm(vector)), DIGITS)
    best = int(cosines.argmax())
    return Neighbour(str(best), round(float(cosines[best]), DIGITS))


if __name__ == "__main__":
    main()
