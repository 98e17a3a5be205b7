"""Filter of near duplicates: cosines of text embeddings, in memory. Optional.

The second test of novelty (`novelty` is the first). Exact: a candidate is compared with every text
of the pool, by one matrix product per round. Embeddings come from a sentence encoder in a local
folder, or from an endpoint; an endpoint gets one text per request, through the ledger, so no text
is paid for twice.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lion.config.settings import Generate, NearDuplicates
from lion.errors import DataError, ModelError
from lion.failure_limit import allowed_failures
from lion.generation.filters.novelty import Neighbour
from lion.generation.filters.quality import RejectReason
from lion.llm.protocols import Client, Clients
from lion.llm.request_set import DropLimit
from lion.metrics.units import Embedded, RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request

Vector = NDArray[np.float32]
ROLE: Literal["embedder"] = "embedder"
DIGITS = 4
"""Decimals of a cosine, rounded before it is compared with the limit: the last bits of float32
depend on the machine and on the texts embedded in the same batch."""
_ENCODER_BATCH = 64  # texts
_PRODUCT_BATCH = 256  # candidates per matrix product: 256 x 52,000 cosines take 53 MB
_INSTALL = "In Lion's folder, run `pip install -e '.[embeddings]'`."


class Embedder(Protocol):
    """A source of embeddings."""

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector (d,) of each text, not zero, or why there is none."""
        ...

    def used(self) -> RoleUsage | None:
        """Return the requests and tokens so far; None for a local encoder."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence encoder on this machine, which truncates texts to its own context length."""

    model: Any

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """Load the encoder of `folder`. Raises ModelError."""
        try:  # imported lazily: it imports torch
            from sentence_transformers import SentenceTransformer

            return cls(
                SentenceTransformer(
                    str(folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
            )
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{folder}: cannot be loaded as a sentence encoder: {error}. Name the folder of "
                "one, with its tokenizer and *.safetensors."
            ) from error

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector of each text, or why there is none."""
        vectors = self.model.encode(
            list(texts), batch_size=_ENCODER_BATCH, convert_to_numpy=True, show_progress_bar=False
        )
        return [_checked(vector) for vector in np.asarray(vectors, np.float32)]

    def used(self) -> None:
        """Return None: a local encoder sends no requests."""


@dataclass(frozen=True, slots=True)
class EndpointEncoder:
    """An endpoint of embeddings; at most `allowed` calls may fail in total."""

    client: Client
    allowed: int

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector of each text, or why there is none. Raises as the client does."""
        requests = [Request(({"role": "user", "content": text},)) for text in texts]
        left = max(0, self.allowed - self.client.usage.dropped)
        limit = DropLimit(left, parameter="generate.max_dropped")
        return [_decoded(outcome) for outcome in self.client.complete_each(requests, limit)]

    def used(self) -> RoleUsage:
        """Return requests and tokens."""
        return self.client.usage.versioned()


@dataclass(slots=True)
class _Candidate:
    """A unit vector, and its nearest neighbour among the first `compared` texts of the pool."""

    vector: Vector
    nearest: Neighbour | None
    compared: int


class NearDuplicateIndex:
    """A growing pool of unit vectors, searched for the nearest by cosine, -1 to 1.

    A pool text that could not be embedded is left out and counted; for a candidate the failure is
    the reason to reject it.
    """

    def __init__(self, limit: float, embedder: Embedder) -> None:
        """Create an empty index; `limit` is the largest cosine of a new text."""
        self._limit = limit
        self._embedder = embedder
        self._ids: list[str] = []
        self._vectors: Vector = np.empty((0, 0), np.float32)
        self._candidates: dict[str, _Candidate | Failure] = {}
        self._not_embedded = 0

    def fill(self, rows: Sequence[tuple[str, str]]) -> None:
        """Embed `rows`, pairs of id and text, and add them to the pool. Raises DataError."""
        vectors = self._embedder.embed([text for _, text in rows])
        for (id, _), vector in zip(rows, vectors, strict=True):
            if isinstance(vector, Failure):
                self._not_embedded += 1
            else:
                self._append(id, _unit(vector))

    def expect(self, texts: Sequence[str]) -> None:
        """Embed a round's candidates and compare them with the pool. Raises DataError.

        Optional: it is faster than one candidate at a time.
        """
        self._candidates = {}
        self._prepare(list(dict.fromkeys(texts)))

    def neighbour(self, text: str) -> Neighbour | Failure | None:
        """Return the text of the pool nearest to `text`, the first added of several equally near.

        None where the pool is empty; a failure where `text` could not be embedded.
        """
        if text not in self._candidates:
            self._prepare([text])
        candidate = self._candidates[text]
        if isinstance(candidate, Failure):
            return candidate
        later = self._nearest(candidate.vector[None], candidate.compared)[0]
        nearest = candidate.nearest
        if nearest is None or (later and later.similarity > nearest.similarity):
            candidate.nearest = later
        candidate.compared = len(self._ids)
        return candidate.nearest

    def reject_reason(self, neighbour: Neighbour | Failure | None) -> RejectReason | None:
        """Return why a text with this neighbour is rejected, or None.

        `near_duplicate`, or the reason why it could not be embedded.
        """
        if isinstance(neighbour, Failure):
            return RejectReason(neighbour.reason, f"embedding: {neighbour.detail}")
        if neighbour is None or neighbour.similarity <= self._limit:
            return None
        detail = f"{neighbour.id} at {neighbour.similarity:.{DIGITS}f}"
        return RejectReason("near_duplicate", detail)

    def add(self, id: str, text: str) -> None:
        """Add to the pool a candidate that was passed to `neighbour`."""
        candidate = self._candidates[text]
        if isinstance(candidate, _Candidate):
            self._append(id, candidate.vector)

    def used(self) -> Embedded:
        """Return the sizes of the pool and the usage of the embedder, for metrics."""
        return Embedded.of(len(self._ids), self._not_embedded, self._embedder.used())

    def _prepare(self, texts: list[str]) -> None:
        """Embed candidates and find the nearest text of the pool for each."""
        for start in range(0, len(texts), _PRODUCT_BATCH):
            batch = texts[start : start + _PRODUCT_BATCH]
            units: dict[str, Vector] = {}
            for text, vector in zip(batch, self._embedder.embed(batch), strict=True):
                if isinstance(vector, Failure):
                    self._candidates[text] = vector
                else:
                    units[text] = _unit(vector)
            if units:
                nearest = self._nearest(np.stack(list(units.values())), 0)
                for (text, unit), neighbour in zip(units.items(), nearest, strict=True):
                    self._candidates[text] = _Candidate(unit, neighbour, len(self._ids))

    def _nearest(self, vectors: Vector, start: int) -> list[Neighbour | None]:
        """Return for each row of `vectors` the nearest text of the pool from index `start` on."""
        pool = self._vectors[start : len(self._ids)]
        if not len(pool):
            return [None] * len(vectors)
        self._check(vectors[0])
        cosines = np.round(vectors @ pool.T, DIGITS)
        best = cosines.argmax(axis=1)
        return [
            Neighbour(self._ids[start + column], round(float(row[column]), DIGITS))
            for row, column in zip(cosines, best, strict=True)
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


@contextmanager
def near_duplicate_filter(
    settings: Generate, clients: Clients, pool: Sequence[tuple[str, str]], wanted: int
) -> Iterator[NearDuplicateIndex | None]:
    """Yield the index over `pool`, pairs of id and text; None where params do not ask for it.

    `wanted` is the number of new texts; with the pool's size it sets how many calls may fail.
    """
    rules = settings.near_duplicates if wanted else None
    if rules is None:
        yield None
        return
    if rules.endpoint is None:
        yield _filled(rules, Encoder.load(Path(str(rules.model)).expanduser()), pool)
        return
    with clients.open(ROLE, rules.endpoint) as client:
        allowed = allowed_failures(settings.max_dropped, len(pool) + wanted)
        yield _filled(rules, EndpointEncoder(client, allowed), pool)


def encoder_problems(place: str, settings: NearDuplicates) -> Iterator[str]:
    """Yield what would stop the filter at its start, one line each."""
    if settings.model is None:
        return
    folder = Path(settings.model).expanduser()
    if importlib.util.find_spec("sentence_transformers") is None:
        yield f"{place}.model: a local encoder needs the library sentence-transformers. {_INSTALL}"
    if not folder.is_dir():
        yield f"{place}.model: there is no folder {settings.model}. Name that of an encoder."
    elif not any(folder.rglob("*.safetensors")):
        yield f"{place}.model: {settings.model} has no *.safetensors. Name a complete encoder."


def _filled(
    settings: NearDuplicates, embedder: Embedder, pool: Sequence[tuple[str, str]]
) -> NearDuplicateIndex:
    index = NearDuplicateIndex(settings.limit, embedder)
    index.fill(pool)
    return index


def _decoded(outcome: Outcome) -> Vector | Failure:
    if isinstance(outcome, Failure):
        return outcome
    return np.frombuffer(base64.b64decode(outcome.text), "<f4")


def _checked(vector: Vector) -> Vector | Failure:
    if np.isfinite(vector).all() and vector.any():
        return vector
    return Failure("malformed_reply", "an embedding without a direction")


def _unit(vector: Vector) -> Vector:
    """Return `vector` scaled to length 1."""
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
