"""Is a candidate a paraphrase of something known? Cosines of embeddings decide; in memory.

The second, optional gate of novelty (see `novelty` for the first). Exact: every text of the pool is
compared, by one matrix product a round. Where embeddings come from is `embeddings`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lion.errors import DataError
from lion.generation.filters.novelty import Neighbour
from lion.metrics.units import Embedded, RoleUsage
from lion.prompting.protocol import Failure

Vector = NDArray[np.float32]
DIGITS = 4
"""Cosines are rounded to so many decimals, and what is recorded is what decides: the last bits of
float32 depend on the machine and on what is embedded together."""
_TOGETHER = 256  # candidates of one product: 256 x 52,000 cosines are 53 MB


class Embedder(Protocol):
    """What turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return for each text its vector (d,), not zero, or why there is none."""
        ...

    def used(self) -> RoleUsage | None:
        """Return what embedding needed, as a metric; None where it costs nothing."""
        ...


@dataclass(slots=True)
class _Candidate:
    """A text of this round: its unit vector, and the nearest of the first `compared` of a pool."""

    vector: Vector
    nearest: Neighbour | None
    compared: int


class NearDuplicateIndex:
    """A growing pool, and what is nearest to a candidate by cosine, -1 to 1.

    A text of the pool that could not be embedded is compared with nothing, and counted; a candidate
    that could not be is a failure with its reason.
    """

    def __init__(self, limit: float, embedder: Embedder) -> None:
        """Start an empty pool; `limit` is the largest cosine that is still new."""
        self._limit = limit
        self._embedder = embedder
        self._ids: list[str] = []
        self._vectors: Vector = np.empty((0, 0), np.float32)
        self._candidates: dict[str, _Candidate | Failure] = {}
        self._not_embedded = 0

    def fill(self, rows: Sequence[tuple[str, str]]) -> None:
        """Put `rows`, pairs of id and text, into the pool. Raises DataError."""
        found = self._embedder.embed([text for _, text in rows])
        for (id, _), vector in zip(rows, found, strict=True):
            if isinstance(vector, Failure):
                self._not_embedded += 1
            else:
                self._append(id, _unit(vector))

    def expect(self, texts: Sequence[str]) -> None:
        """Embed a round's candidates and compare them with the pool, together. Raises DataError.

        Only saves time: candidates may come one by one as well.
        """
        self._candidates = {}
        self._look(list(dict.fromkeys(texts)))

    def neighbour(self, text: str) -> Neighbour | Failure | None:
        """Return what of the pool is nearest to `text`, the first added of several equally near.

        None where the pool is empty; a failure where `text` could not be embedded.
        """
        if text not in self._candidates:
            self._look([text])
        found = self._candidates[text]
        if isinstance(found, Failure):
            return found
        later = self._nearest(found.vector[None], found.compared)[0]
        if found.nearest is None or (later and later.similarity > found.nearest.similarity):
            found.nearest = later
        found.compared = len(self._ids)
        return found.nearest

    def is_new(self, neighbour: Neighbour) -> bool:
        """Return whether a text with this neighbour is new."""
        return neighbour.similarity <= self._limit

    def objection(self, found: Neighbour | Failure | None) -> tuple[str, str] | None:
        """Return why a text with this neighbour cannot enter, and more of it; None where it can.

        `near_duplicate`, or the reason why it could not be embedded.
        """
        if isinstance(found, Failure):
            return found.reason, f"embedding: {found.detail}"
        if found is None or self.is_new(found):
            return None
        return "near_duplicate", f"{found.id} at {found.similarity:.{DIGITS}f}"

    def add(self, id: str, text: str) -> None:
        """Put a candidate that `neighbour` has seen into the pool."""
        found = self._candidates[text]
        if isinstance(found, _Candidate):
            self._append(id, found.vector)

    def used(self) -> Embedded:
        """Return what the gate knows and needed, for metrics."""
        return Embedded.of(len(self._ids), self._not_embedded, self._embedder.used())

    def _look(self, texts: list[str]) -> None:
        for start in range(0, len(texts), _TOGETHER):
            some = texts[start : start + _TOGETHER]
            found = self._embedder.embed(some)
            units = {
                text: _unit(vector)
                for text, vector in zip(some, found, strict=True)
                if not isinstance(vector, Failure)
            }
            self._candidates |= {
                text: one for text, one in zip(some, found, strict=True) if isinstance(one, Failure)
            }
            if units:
                nearest = self._nearest(np.stack(list(units.values())), 0)
                for (text, unit), one in zip(units.items(), nearest, strict=True):
                    self._candidates[text] = _Candidate(unit, one, len(self._ids))

    def _nearest(self, vectors: Vector, start: int) -> list[Neighbour | None]:
        """Return the nearest of the pool's texts from `start` on, for each row of `vectors`."""
        pool = self._vectors[start : len(self._ids)]
        if not len(pool):
            return [None] * len(vectors)
        self._check(vectors[0])
        cosines = np.round(vectors @ pool.T, DIGITS)
        best = cosines.argmax(axis=1)
        return [
            Neighbour(self._ids[start + at], round(float(row[at]), DIGITS))
            for row, at in zip(cosines, best, strict=True)
        ]

    def _append(self, id: str, unit: Vector) -> None:
        size = len(self._ids)
        if not size:
            self._vectors = np.empty((1024, len(unit)), np.float32)
        self._check(unit)
        if size == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._vectors[size] = unit
        self._ids.append(id)

    def _check(self, vector: Vector) -> None:
        expected = self._vectors.shape[1]
        if len(vector) != expected:
            raise DataError(
                f"near_duplicates: embeddings of {expected} and of {len(vector)} numbers cannot be "
                "compared: another model answers under this name. Give it a name of its own."
            )


def _unit(vector: Vector) -> Vector:
    """Return `vector` at length 1."""
    found: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return found
