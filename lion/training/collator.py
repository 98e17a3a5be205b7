"""Batches of fine-tuning: the order of the examples, and collators that make tensors of them.

A batch holds examples of similar length, padded; or packed into one row without padding, where the
attention kernel separates them. Only the supervised positions reach the output head: no logits are
computed for prompts.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lion.student.chat_format import Example

IGNORED = -100
"""The label that losses ignore, in torch and transformers."""
_BUCKET = 50
"""Batches per bucket whose examples are sorted by length."""


class Drawn(Dataset[Example]):
    """The examples in the order of training, with repetitions."""

    def __init__(self, examples: Sequence[Example], order: Sequence[int]) -> None:
        self._examples = examples
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Example:
        return self._examples[self._order[index]]

    def supervised(self, batch_size: int) -> list[int]:
        """Return the cumulative supervised tokens after batch 1, 2, ..."""
        examples = (self[index] for index in range(len(self)))
        counts = [len(example.input_ids) - example.prompt_length for example in examples]
        starts = range(0, len(counts), batch_size)
        return list(accumulate(sum(counts[start : start + batch_size]) for start in starts))


class Padded:
    """Collates examples as rows, padded on the right to the longest.

    Attention is causal, so no token attends to the padding after it and no mask is needed; without
    a mask the kernels skip everything above the diagonal. `masked` adds the mask for models that
    count tokens (the balancing loss of a mixture of experts). `whole` gives plain labels, for
    models and kernels that cannot omit logits.
    """

    def __init__(self, pad: int, *, masked: bool = False, whole: bool = False) -> None:
        self._pad = pad
        self._masked = masked
        self._whole = whole

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return tensors (examples, longest), and targets (supervised tokens,)."""
        width = max(len(example.input_ids) for example in examples)
        ids = torch.full((len(examples), width), self._pad)
        labels = torch.full((len(examples), width), IGNORED)
        mask = torch.zeros((len(examples), width), dtype=torch.long)
        for row, example in enumerate(examples):
            length, prompt = len(example.input_ids), example.prompt_length
            ids[row, :length] = torch.tensor(example.input_ids)
            labels[row, prompt:length] = ids[row, prompt:length]
            mask[row, :length] = 1
        batch = {"input_ids": ids, "labels": labels}
        if self._masked:
            batch["attention_mask"] = mask
        return batch if self._whole else batch | _targets(labels)


class Packed:
    """Collates examples as one row without padding; positions restart at each example.

    transformers infers the boundaries from the positions: flash attention runs each example
    separately, other kernels get a block-diagonal mask. With a key-value cache it would ignore the
    boundaries, so the cache is off.
    """

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return tensors (1, tokens), and targets (supervised tokens,)."""
        ids = torch.cat([torch.tensor(example.input_ids) for example in examples])
        positions = torch.cat([torch.arange(len(example.input_ids)) for example in examples])
        labels = ids.clone()
        start = 0
        for example in examples:
            labels[start : start + example.prompt_length] = IGNORED
            start += len(example.input_ids)
        batch = {"input_ids": ids[None], "position_ids": positions[None], "labels": labels[None]}
        return {**batch, **_targets(labels[None]), "use_cache": False}


def _targets(labels: Tensor) -> dict[str, Tensor]:
    """Return the mask (rows, columns) of positions that predict a supervised token, and the tokens.

    The first token of an example is never supervised, so nothing is predicted across examples.
    """
    following = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
    keep = following != IGNORED
    return {"logits_to_keep": keep, "shift_labels": following[keep]}


def draw_order(
    lengths: Sequence[int], *, batch_size: int, batches: int, random_seed: int
) -> list[int]:
    """Return the indices of the examples in the order of training, `batches * batch_size` of them.

    A batch holds examples of similar length, the order of batches is random, and every example is
    drawn once before any is drawn again. (The Trainer's `group_by_length` sorts each epoch from
    long to short.)
    """
    draw = random.Random(random_seed)  # noqa: S311  # reproducible, not secret
    needed = batches * batch_size
    stream: list[int] = []
    while len(stream) < needed:
        stream += draw.sample(range(len(lengths)), len(lengths))
    cut: list[list[int]] = []
    for start in range(0, needed, batch_size * _BUCKET):
        bucket = stream[start : min(start + batch_size * _BUCKET, needed)]
        bucket.sort(key=lambda index: lengths[index])
        group = [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
        draw.shuffle(group)
        cut += group
    return [index for batch in cut for index in batch]
