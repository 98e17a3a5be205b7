"""Constrained decoding: at each step only tokens that a JSON schema allows, by llguidance.

llguidance (MIT) follows the schema on the CPU, a token at a time, for byte-level and SentencePiece
tokenizers alike; vLLM uses it, too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from transformers import LogitsProcessor

from lion.errors import ModelError
from lion.inference import answer_grammar

if TYPE_CHECKING:
    from llguidance import LLMatcher

_BITS = 8


class AnswerGrammar:
    """The grammar of a schema over the tokens of a tokenizer; `stops` end an answer.

    Raises ModelError where llguidance is missing, or cannot follow schema or tokenizer.
    """

    def __init__(self, schema: str, tokenizer: Any, stops: Sequence[int]) -> None:
        problem = answer_grammar.grammar_problem(schema)
        if problem is not None:
            raise ModelError(problem)
        from llguidance import LLMatcher  # an extra

        tokens = answer_grammar.grammar_tokens(tokenizer, stops)
        self._start = LLMatcher(tokens, answer_grammar.grammar(schema), log_level=0)

    def answers(self, count: int) -> "PartialAnswers":
        """Return so many answers without a token yet."""
        return PartialAnswers([self._start.deep_copy() for _ in range(count)])


class PartialAnswers:
    """The answers of a batch, as far as they are written."""

    def __init__(self, matchers: Sequence["LLMatcher"]) -> None:
        self._matchers = list(matchers)

    def select(self, rows: Sequence[int]) -> Self:
        """Keep only these rows of the batch."""
        self._matchers = [self._matchers[row] for row in rows]
        return self

    def append(self, tokens: Sequence[int]) -> None:
        """Add a token to each answer. Raises ModelError where the grammar's limits are reached."""
        for matcher, token in zip(self._matchers, tokens, strict=True):
            if not matcher.consume_token(token):
                raise ModelError(
                    f"answering.form: llguidance cannot go on ({matcher.get_error():.300}). "
                    "Simplify the schema, or set answering.form: text."
                )

    def allowed(self, scores: Tensor) -> Tensor:
        """Return which tokens may come next: booleans of the shape of `scores`.

        Those that the model has and the tokenizer has not are none of them.
        """
        masks = b"".join(matcher.compute_bitmask() for matcher in self._matchers)
        packed = torch.frombuffer(bytearray(masks), dtype=torch.uint8).to(scores.device)
        places = torch.arange(_BITS, dtype=torch.uint8, device=scores.device)
        bits = (packed.view(len(self._matchers), -1, 1) >> places).bitwise_and(1)
        allowed, size = bits.bool().flatten(1), scores.shape[-1]
        return torch.nn.functional.pad(allowed[:, :size], (0, max(0, size - allowed.shape[1])))


class AllowedTokens(LogitsProcessor):
    """Gives -inf to each token that the grammar does not allow next.

    Stands behind `TokenLogprobs`, whose figures are those of the free model.
    """

    def __init__(self, answers: PartialAnswers, width: int) -> None:
        """Store the answers and the prompts' padded width in tokens."""
        self._answers = answers
        self._width = width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return (rows, vocabulary) scores; the last token of `input_ids` is new, if any is."""
        if input_ids.shape[1] > self._width:
            self._answers.append(input_ids[:, -1].tolist())
        return scores.masked_fill(~self._answers.allowed(scores), -torch.inf)
