"""The protocol of inference backends, the choice of one, and the plan of batches.

An engine takes a batch of prompts and returns what it writes for each (`hf_backend`,
`vllm_backend`; neither is imported here). The plan follows from rows and params alone.
"""

import importlib.util
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from lion.config.settings import Answering
from lion.errors import ModelError
from lion.records.rows import TokenScores

Name = Literal["transformers", "vllm"]
_VLLM_BATCH = 4096
"""Prompts per call of vLLM, which batches them itself; a killed run repeats at most as many."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An instruction's generation prompt as token ids, 4 bytes each."""

    id: str
    tokens: "array[int]"

    def content(self) -> bytes:
        """Return what a task's key hashes."""
        return self.id.encode() + self.tokens.tobytes()


class WrittenAnswer(NamedTuple):
    """What a student wrote; `tokens` only where the engine was made to score them."""

    text: str
    finish_reason: str
    tokens: TokenScores | None = None


class Engine(Protocol):
    """A loaded student that answers."""

    def __call__(self, prompts: Sequence[Prompt]) -> list[WrittenAnswer]:
        """Return what it writes for each prompt, in order. Raises ModelError."""
        ...


def chosen_engine(answering: Answering) -> Name:
    """Return the engine that params name; `auto` is vLLM where it is installed beside a GPU.

    Raises ModelError where vLLM is asked for and not installed.
    """
    if answering.engine == "transformers":
        return "transformers"
    installed = importlib.util.find_spec("vllm") is not None
    if answering.engine == "vllm":
        if not installed:
            raise ModelError(
                "answering.engine: vllm is not installed. Run `pip install vllm`, or set "
                "`answering.engine: transformers`."
            )
        return "vllm"
    if not installed:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"


def batches(
    prompts: Sequence[Prompt],
    answering: Answering,
    engine: Name,
    context: int | None,
    *,
    writes: bool = True,
) -> Iterator[Sequence[Prompt]]:
    """Yield the prompts in batches of similar length, longest first, where memory is tightest.

    A batch holds at most `batch_size` prompts and `batch_tokens` tokens, padding and answers
    included. A prompt that leaves no room in `context` (tokens) for a full answer gets its own
    batch: the context would end the answers of the others too. Where the job `writes` no answer,
    none needs room.
    """
    room = answering.max_tokens if writes else 0
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.id))
    if engine == "vllm":
        yield from (
            ordered[first : first + _VLLM_BATCH] for first in range(0, len(ordered), _VLLM_BATCH)
        )
        return
    start = 0
    while start < len(ordered):
        longest = len(ordered[start].tokens) + room
        size = answering.batch_size
        if answering.batch_tokens is not None:
            size = min(size, max(1, answering.batch_tokens // longest))
        if context is not None and longest > context:
            size = 1
        yield ordered[start : start + size]
        start += size
