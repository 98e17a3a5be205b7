"""Embeddings of texts: by a sentence encoder in a local folder, or by an endpoint.

The folder is read by sentence-transformers, which knows how its model pools; an endpoint is asked
for one text a request, through the ledger, so that a text is paid once for ever.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lion.config.settings import Generate
from lion.config.settings import NearDuplicates as Gate
from lion.errors import ModelError
from lion.failure_limit import allowed_failures
from lion.generation.filters.near_duplicates import NearDuplicateIndex, Vector
from lion.llm.protocols import Client, Clients
from lion.metrics.units import RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request

ROLE: Literal["embedder"] = "embedder"
_BATCH = 64  # texts that the encoder takes at once
_INSTALL = "In Lion's folder, run `pip install -e '.[embeddings]'`."


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence encoder on this machine; what it cannot take in of a long text it leaves out."""

    model: Any

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """Load the encoder of `folder`. Raises ModelError."""
        try:  # it brings torch, which only this gate needs here
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
        """Return the vector of each text."""
        found = self.model.encode(
            list(texts), batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False
        )
        return [_checked(vector) for vector in np.asarray(found, np.float32)]

    def used(self) -> None:
        """Return nothing: what is here costs nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An endpoint of embeddings; `allowed` calls may fail in all."""

    client: Client
    allowed: int

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        """Return the vector of each text, or why there is none. Raises as the asker does."""
        requests = [Request(({"role": "user", "content": text},)) for text in texts]
        left = max(0, self.allowed - self.client.account.failed)
        return [_vector(one) for one in self.client.each(requests, max_failed=left)]

    def used(self) -> RoleUsage:
        """Return requests and tokens."""
        return self.client.account.versioned()


@contextmanager
def embedding_filter(
    settings: Generate, clients: Clients, pool: Sequence[tuple[str, str]], wanted: int
) -> Iterator[NearDuplicateIndex | None]:
    """Yield the gate over `pool`, pairs of id and text; None where params ask for none.

    `wanted` texts are to be made: with the pool they say how many calls may fail.
    """
    asked = settings.near_duplicates if wanted else None
    if asked is None:
        yield None
        return
    if asked.endpoint is None:
        yield _filled(asked, Encoder.load(Path(str(asked.model)).expanduser()), pool)
        return
    with clients.open(ROLE, asked.endpoint) as client:
        allowed = allowed_failures(settings.max_dropped, len(pool) + wanted)
        yield _filled(asked, Asked(client, allowed), pool)


def encoder_problems(place: str, settings: Gate) -> Iterator[str]:
    """Yield what would stop the gate, one line each."""
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
    asked: Gate, embedder: Encoder | Asked, pool: Sequence[tuple[str, str]]
) -> NearDuplicateIndex:
    made = NearDuplicateIndex(asked.limit, embedder)
    made.fill(pool)
    return made


def _vector(outcome: Outcome) -> Vector | Failure:
    if isinstance(outcome, Failure):
        return outcome
    return np.frombuffer(base64.b64decode(outcome.text), "<f4")


def _checked(vector: Vector) -> Vector | Failure:
    if np.isfinite(vector).all() and vector.any():
        return vector
    return Failure("malformed_reply", "an embedding without a direction")
