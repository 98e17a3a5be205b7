"""The backend of transformers: `generate` on left-padded batches, with a preallocated cache.

A row's answer depends on the row, the student and the seed, not on its batch, up to the last bits
of sums that kernels split by shape. A batch that does not fit in memory is halved.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

from lion.config.settings import Answering
from lion.errors import ModelError
from lion.inference.allowed_tokens import AllowedTokens, AnswerGrammar, PartialAnswers
from lion.inference.backend import Prompt, WrittenAnswer
from lion.inference.hf_likelihood import AnswerScorer
from lion.inference.token_scores import token_scores
from lion.student.chat_format import ChatFormatter
from lion.student.checkpoint import context_length

__all__ = ["AnswerScorer", "Decoder", "device", "uniforms"]

_ROUND = 32
"""Tokens between two removals of finished rows from a batch."""
_WORTH = 0.75
"""Largest share of unfinished rows at which the batch is compacted: compacting copies the cache."""


class Decoder:
    """A loaded student (a `backend.Engine`)."""

    def __init__(
        self,
        model: Any,
        encoder: ChatFormatter,
        answering: Answering,
        random_seed: int,
        *,
        scored: bool = False,
        schema: str | None = None,
    ) -> None:
        self._model = model.to(device())
        # The model's own settings (a repetition penalty, beams, a top-k) would be merged in.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # transformers'
        self._encoder = encoder
        self._answering = answering
        self._random_seed = random_seed
        self._scored = scored
        self._filler = encoder.end_of_turn
        self._context = context_length(model.config)
        self._stops = set(encoder.stops)
        self._grammar = (
            None if schema is None else AnswerGrammar(schema, encoder.tokenizer, encoder.stops)
        )

    def __call__(self, prompts: Sequence[Prompt]) -> list[WrittenAnswer]:
        """Return what the student writes for each prompt; a batch too large is halved.

        Raises ModelError where a single prompt does not fit in memory.
        """
        try:
            generated = self._generate(prompts)
        except torch.OutOfMemoryError as error:
            if len(prompts) == 1:
                raise ModelError(
                    f"instruction {prompts[0].id} alone ({len(prompts[0].tokens)} tokens) does not "
                    "fit in memory. Lower `answering.max_tokens`, or set `student.dtype: bfloat16`."
                ) from error
        else:
            return [self._read(*row) for row in zip(*generated, strict=True)]
        # Outside of `except`: the traceback would keep the failed batch's tensors alive.
        middle = len(prompts) // 2
        return self(prompts[:middle]) + self(prompts[middle:])

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[Prompt]) -> tuple[list[list[int]], list[list[float]]]:
        """Return each prompt's tokens, generated in rounds; finished rows leave the batch.

        The second list has the tokens' log probabilities, where they are recorded.
        """
        width = max(len(prompt.tokens) for prompt in prompts)
        longest = self._answering.max_tokens
        if self._context is not None:
            longest = min(longest, self._context - width)
        done: list[list[int]] = [[] for _ in prompts]
        logs: list[list[float]] = [[] for _ in prompts]
        if longest < 1:
            return done, logs
        ids, mask = self._padded(prompts, width)
        cache = _cache(self._model.config, width + longest)
        draws = self._draws(prompts, longest)
        answers = None if self._grammar is None else self._grammar.answers(len(prompts))
        rows = list(range(len(prompts)))
        while rows and len(done[rows[0]]) < longest:
            tokens = min(_ROUND, longest - len(done[rows[0]]))
            recorder = TokenLogprobs() if self._scored else None
            ids = self._round(ids, mask, cache, tokens, draws, width, recorder, answers)
            for row, written in zip(rows, ids[:, width:].tolist(), strict=True):
                done[row] = written
            if recorder is not None:
                for row, values in zip(rows, recorder.values(ids), strict=True):
                    logs[row] += values
            open_ = [
                index for index, row in enumerate(rows) if not self._stops.intersection(done[row])
            ]
            if len(open_) <= _WORTH * len(rows):
                chosen = torch.tensor(open_, dtype=torch.long, device=ids.device)
                cache.batch_select_indices(chosen)
                ids, mask = ids[chosen], mask[chosen]
                draws = None if draws is None else draws[chosen]
                answers = None if answers is None else answers.select(open_)
                rows = [rows[index] for index in open_]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
        return done, logs

    def _round(
        self,
        ids: Tensor,
        mask: Tensor,
        cache: Any,
        tokens: int,
        draws: Tensor | None,
        width: int,
        recorder: "TokenLogprobs | None",
        answers: PartialAnswers | None,
    ) -> Tensor:
        """Return `ids` with at most `tokens` more columns."""
        sampling = LogitsProcessorList([] if recorder is None else [recorder])
        if answers is not None:
            sampling.append(AllowedTokens(answers, width))
        if draws is not None:
            sampling.append(InverseSampling(draws, self._answering.temperature, width))
        generated: Tensor = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            cache=cache,
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]  # transformers'
                max_new_tokens=tokens,
                do_sample=False,
                eos_token_id=sorted(self._stops),
                pad_token_id=self._filler,
            ),
            logits_processor=sampling,
        )
        return generated

    def _padded(self, prompts: Sequence[Prompt], width: int) -> tuple[Tensor, Tensor]:
        """Return ids and mask of (rows, width), padded on the left."""
        ids = torch.full((len(prompts), width), self._filler)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            mask[row, width - len(prompt.tokens) :] = 1
        return ids.to(self._model.device), mask.to(self._model.device)

    def _draws(self, prompts: Sequence[Prompt], steps: int) -> Tensor | None:
        """Return uniform numbers (rows, steps) that depend on the row's id; None where greedy."""
        if self._answering.temperature == 0:
            return None
        draws = np.stack([uniforms(self._random_seed, prompt.id, steps) for prompt in prompts])
        return torch.from_numpy(draws).to(self._model.device)

    def _read(self, tokens: list[int], logprobs: list[float]) -> WrittenAnswer:
        """Return the decoded tokens before the first stop token, and why they end."""
        end = next((place for place, token in enumerate(tokens) if token in self._stops), None)
        text, reason = self._encoder.decode(tokens[:end]), "length" if end is None else "stop"
        if not self._scored:
            return WrittenAnswer(text, reason)
        scored = logprobs if end is None else logprobs[: end + 1]
        scores = token_scores(self._encoder, tokens[:end], scored, ended=end is not None)
        return WrittenAnswer(text, reason, scores)


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers'
    """A layer's keys and values in tensors that are allocated once, for `room` tokens.

    transformers' dynamic layer concatenates: it copies the whole cache at every token, which costs
    more than the attention. Its static layer attends to the unused positions too.
    """

    def __init__(self, room: int) -> None:
        """Create an empty layer for rows of at most `room` tokens."""
        super().__init__()  # type: ignore[no-untyped-call]  # transformers'
        self._room = room
        self._length = 0

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,  # noqa: ARG002  # transformers'
        **kwargs: Any,  # noqa: ARG002  # transformers'
    ) -> tuple[Tensor, Tensor]:
        """Append (rows, heads, new tokens, dimension); return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._all_keys = self._empty(key_states)
            self._all_values = self._empty(value_states)
        end = self._length + key_states.shape[-2]
        self._all_keys[..., self._length : end, :] = key_states
        self._all_values[..., self._length : end, :] = value_states
        self._length = end
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only the rows `indices` of the batch, as transformers asks of a cache layer."""
        self._all_keys, self._all_values = self._all_keys[indices], self._all_values[indices]
        end = self._length
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]

    def _empty(self, states: Tensor) -> Tensor:
        *sizes, _, dimension = states.shape
        return states.new_empty((*sizes, self._room, dimension))


class TokenLogprobs(LogitsProcessor):
    """Records the log probability of each token that is chosen, at temperature 1.

    Stands before other processors, and changes no score. A token is known at the step after it.
    """

    def __init__(self) -> None:
        self._scores: Tensor | None = None
        self._columns: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores as they are."""
        self._settle(input_ids)
        self._scores = scores
        return scores

    def values(self, ids: Tensor) -> list[list[float]]:
        """Return the log probabilities in nats, (rows, new tokens), once `ids` has all tokens."""
        self._settle(ids)
        rows: list[list[float]] = torch.stack(self._columns, dim=-1).tolist()
        return rows

    def _settle(self, ids: Tensor) -> None:
        if self._scores is not None:
            chosen = self._scores.gather(-1, ids[:, -1:])[:, 0]
            self._columns.append(chosen.float() - self._scores.float().logsumexp(-1))
            self._scores = None


class InverseSampling(LogitsProcessor):
    """Samples exactly from softmax(logits / temperature) with one uniform number per row and step.

    The token is the first whose cumulative probability exceeds the number (inversion); all others
    get -inf, so the greedy search that follows takes it. The numbers belong to the row, so its
    sample does not depend on its batch.
    """

    def __init__(self, uniform: Tensor, temperature: float, width: int) -> None:
        """Store (rows, steps) numbers in [0, 1) and the prompts' padded width in tokens."""
        self._uniform = uniform
        self._temperature = temperature
        self._width = width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return (rows, vocabulary) scores: 0 for one token of each row, -inf for the others."""
        draw = self._uniform[:, input_ids.shape[1] - self._width, None]
        cumulative = (scores.double() / self._temperature).softmax(-1).cumsum(-1)
        # By rounding, the last sum differs from 1, and the number must be below it.
        chosen = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True)
        chosen = chosen.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


def uniforms(random_seed: int, id: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return `count` numbers in [0, 1), a function of seed and `id` on every machine."""
    digest = hashlib.sha256(f"{random_seed} {id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).random(count)


def _cache(config: Any, room: int) -> DynamicCache:
    """Return a cache for rows of at most `room` tokens; sliding and recurrent layers stay as is."""
    cache = DynamicCache(config=config)
    cache.layers = [
        PreallocatedLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def device() -> torch.device:
    """Return this process's device."""
    from accelerate import PartialState

    assigned: torch.device = PartialState().device
    return assigned
