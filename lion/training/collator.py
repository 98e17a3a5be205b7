"""What stands in each batch of a fine-tuning: which examples, in which order, as which tensors.

A batch holds examples of like length, so that there is little to pad; or they stand one behind the
other without padding, where the attention kernel keeps them apart. Only the supervised positions
reach the output head: a prompt's logits are never made. Trains nothing (see `tuning`).
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
"""The label that a loss passes by, in torch and transformers."""
_BUCKET = 50
"""Batches whose examples are sorted by length together."""


class Drawn(Dataset[Example]):
    """The examples in the order of training, each as often as it is drawn."""

    def __init__(self, examples: Sequence[Example], order: Sequence[int]) -> None:
        self._examples = examples
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Example:
        return self._examples[self._order[index]]

    def supervised(self, batch_size: int) -> list[int]:
        """Return how many supervised tokens the first 1, 2, ... batches hold."""
        examples = (self[at] for at in range(len(self)))
        counts = [len(example.input_ids) - example.prompt_length for example in examples]
        starts = range(0, len(counts), batch_size)
        return list(accumulate(sum(counts[start : start + batch_size]) for start in starts))


class Padded:
    """Collates examples as rows, padded on the right to the longest.

    Attention is causal, so no real token sees the padding behind it and no mask is needed: without
    one the kernels skip what lies above the diagonal. `masked` gives the mask all the same, to
    models that count tokens (a mixture's balancing loss). `whole` gives plain labels, to models and
    kernels that cannot leave logits out.
    """

    def __init__(self, pad: int, *, masked: bool = False, whole: bool = False) -> None:
        self._pad = pad
        self._masked = masked
        self._whole = whole

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return tensors of (examples, longest); of targets (supervised tokens,)."""
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
    """Collates examples as one row without padding; positions start anew with each of them.

    transformers reads the borders from the positions: flash attention then runs each example on
    its own, and other kernels get a block-diagonal mask. With a key-value cache it would not look
    for borders, and examples would see one another.
    """

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return tensors of (1, tokens); of targets (supervised tokens,)."""
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
    """Return which positions (rows, columns) predict a supervised token, and those tokens.

    The first token of an example is never supervised, so none is predicted across a border.
    """
    following = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
    keep = following != IGNORED
    return {"logits_to_keep": keep, "shift_labels": following[keep]}


def draw_order(
    lengths: Sequence[int], *, batch_size: int, batches: int, random_seed: int
) -> list[int]:
    """Return which example stands at each of `batches * batch_size` places of the training.

    A batch holds examples of like length (little padding), batches follow in random order, and
    no example is drawn again before all others were. (The Trainer's own `group_by_length` runs
    from long to short again and again.)
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
        group = [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
        draw.shuffle(group)
        cut += group
    return [index for batch in cut for index in batch]
