"""What answers prompts, and in which batches: the plan follows from rows and params alone.

An engine takes a batch of prompts and returns each one's text and why it ended. `decoding` is the
one of transformers, `vllm_engine` that of vLLM. Imports neither.
"""

import importlib.util
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lion.config.settings import Answering
from lion.errors import ModelError

Name = Literal["transformers", "vllm"]
_AT_ONCE = 4096
"""Prompts that vLLM takes together: it makes batches of its own, and this many are done anew."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An instruction's generation prompt as token ids, 4 bytes each."""

    id: str
    tokens: "array[int]"


class Engine(Protocol):
    """A loaded student that answers."""

    def __call__(self, prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
        """Return text and finish reason of each prompt, in order. Raises ModelError."""
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
    prompts: Sequence[Prompt], answering: Answering, engine: Name, context: int | None
) -> Iterator[Sequence[Prompt]]:
    """Yield the prompts in batches of like length, longest first: no memory surprise at the end.

    A batch holds at most `batch_size` prompts and `batch_tokens` tokens, padding and answers
    included. Where `context` (tokens) leaves a prompt no room for an answer of full length, it
    stands alone: the context ends its answer, and must not end its neighbours'.
    """
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.id))
    if engine == "vllm":
        yield from (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))
        return
    start = 0
    while start < len(ordered):
        longest = len(ordered[start].tokens) + answering.max_tokens
        size = answering.batch_size
        if answering.batch_tokens is not None:
            size = min(size, max(1, answering.batch_tokens // longest))
        if context is not None and longest > context:
            size = 1
        yield ordered[start : start + size]
        start += size
