"""The likelihood backend of transformers: one forward pass over right-padded batches.

Attention is causal, so no token attends to the padding behind it and no mask is needed, as in
tuning. Only positions that predict an answer's token reach the output head. A batch whose logits
would not fit is halved.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lion.errors import ModelError
from lion.inference.answer_likelihood import ScoredAnswer, likelihood
from lion.records.rows import Likelihood

_LOGITS = 1 << 26
"""Logits that are computed at once, at most: 256 MiB in float32."""


class AnswerScorer:
    """A loaded student that scores answers. `filler` is the token that pads."""

    def __init__(self, model: Any, filler: int, device: torch.device) -> None:
        self._model = model.to(device)
        self._filler = filler
        self._device = device
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        # remote code may not support a mask of positions
        own = type(model).__module__.startswith("transformers.")
        self._selects = own and "logits_to_keep" in inspect.signature(model.forward).parameters

    def __call__(self, answers: Sequence[ScoredAnswer]) -> list[Likelihood]:
        """Return the likelihood of each answer, in order.

        Raises ModelError where a single answer does not fit in memory.
        """
        if len(answers) > 1 and self._logits(answers) > _LOGITS:
            return self._halved(answers)
        try:
            return self._score(answers)
        except torch.OutOfMemoryError as error:
            if len(answers) == 1:
                raise ModelError(
                    f"instruction {answers[0].id} alone ({len(answers[0].tokens)} tokens) does not "
                    "fit in memory. Set `student.dtype: bfloat16`."
                ) from error
        # Outside of `except`: the traceback would keep the failed batch's tensors alive.
        return self._halved(answers)

    def _halved(self, answers: Sequence[ScoredAnswer]) -> list[Likelihood]:
        middle = len(answers) // 2
        return self(answers[:middle]) + self(answers[middle:])

    def _logits(self, answers: Sequence[ScoredAnswer]) -> int:
        if self._selects:
            return self._vocabulary * sum(answer.scored for answer in answers)
        width = max(len(answer.tokens) for answer in answers)
        return self._vocabulary * width * len(answers)

    @torch.inference_mode()
    def _score(self, answers: Sequence[ScoredAnswer]) -> list[Likelihood]:
        ids, scored = _padded(answers, self._filler)
        # position t predicts token t + 1
        predicting = torch.nn.functional.pad(scored, (0, 1))[:, 1:].to(self._device)
        targets = ids[scored].to(self._device)
        options = {"logits_to_keep": predicting} if self._selects else {}
        logits = self._model(input_ids=ids.to(self._device), use_cache=False, **options).logits
        logits = (logits if self._selects else logits[predicting]).reshape(len(targets), -1).float()
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double()
        first = logits.argmax(-1) == targets
        counts = [answer.scored for answer in answers]
        return [
            likelihood(answer, float(part.mean()), likeliest=bool(hits.all()))
            for answer, part, hits in zip(
                answers,
                torch.split(nats.cpu(), counts),
                torch.split(first.cpu(), counts),
                strict=True,
            )
        ]


def _padded(answers: Sequence[ScoredAnswer], filler: int) -> tuple[Tensor, Tensor]:
    """Return token ids and the mask of scored tokens, both (answers, longest)."""
    width = max(len(answer.tokens) for answer in answers)
    ids = torch.full((len(answers), width), filler)
    scored = torch.zeros((len(answers), width), dtype=torch.bool)
    for row, answer in enumerate(answers):
        length = len(answer.tokens)
        ids[row, :length] = torch.tensor(answer.tokens)
        scored[row, answer.prompt_length : length] = True
    return ids, scored
