"""Likelihood of answers that exist already: which tokens are scored, and what becomes of a row.

l(x) is the mean negative log-likelihood, in nats per token, of the teacher's answer to x: of the
response's tokens and the end of turn, the span that tuning supervises. l0(x) is that of the same
tokens behind an empty instruction (Li et al., *From Quantity to Quality*, NAACL 2024: what the
answer costs by itself). Pure: the backends compute the sums.
"""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lion.errors import DataError
from lion.inference.backend import Prompt
from lion.records.rows import Instruction, Likelihood, Message
from lion.student.chat_format import ChatFormatter

_UNPROMPTED = "~"  # ends the id of an answer behind an empty instruction
_NO_INSTRUCTION: tuple[Message, ...] = ({"role": "user", "content": ""},)
_DIGITS = 6  # of nats: what lies below is the noise of sums


@dataclass(frozen=True, slots=True)
class ScoredAnswer(Prompt):
    """A prompt and the answer that follows it; the answer's tokens begin at `prompt_length`."""

    prompt_length: int

    def content(self) -> bytes:
        """Return what a task's key hashes."""
        return Prompt.content(self) + self.prompt_length.to_bytes(4, "big")

    @property
    def scored(self) -> int:
        """The number of tokens that are scored."""
        return len(self.tokens) - self.prompt_length


def scored_answers(
    rows: Sequence[Instruction], encoder: ChatFormatter, *, unprompted: bool
) -> Iterator[ScoredAnswer]:
    """Yield the answer of each row; with `unprompted` again, behind an empty instruction.

    Raises DataError for a row without the teacher's answer.
    """
    triples = [(row.id, row.messages, _answer(row)) for row in rows]
    if unprompted:
        triples += [(f"{id}{_UNPROMPTED}", _NO_INSTRUCTION, text) for id, _, text in triples]
    for example in encoder.examples(triples):
        yield ScoredAnswer(example.id, array("i", example.input_ids), example.prompt_length)


def refusal(answer: ScoredAnswer, context: int | None) -> str | None:
    """Return why an answer has no likelihood, or None where it has one.

    `empty_answer`: nothing but the end of turn. `too_long`: prompt and answer exceed the context.
    """
    if answer.scored <= 1:
        return "empty_answer"
    return "too_long" if context is not None and len(answer.tokens) > context else None


def likelihood(answer: ScoredAnswer, nats: float, *, likeliest: bool) -> Likelihood:
    """Return the row of an answer whose tokens cost `nats` on average.

    `likeliest`: each of them is the student's first choice. What is no number is a reason.
    """
    if not math.isfinite(nats):
        return Likelihood(answer.id, None, answer.scored, reason="not_finite")
    nats = round(max(0.0, nats), _DIGITS)
    return Likelihood(answer.id, nats, answer.scored, same_answer=likeliest)


def combined(
    rows: Sequence[Instruction], by_id: Mapping[str, Likelihood], *, unprompted: bool
) -> list[Likelihood]:
    """Return one row per instruction, in order, with the likelihood without the prompt."""
    return [
        _with_unprompted(by_id[row.id], by_id[f"{row.id}{_UNPROMPTED}"])
        if unprompted
        else by_id[row.id]
        for row in rows
    ]


def _with_unprompted(own: Likelihood, bare: Likelihood) -> Likelihood:
    if own.nll_nats is None or bare.nll_nats is None:
        return Likelihood(
            own.id, None, own.tokens, reason=own.reason or f"unprompted_{bare.reason}"
        )
    return Likelihood(own.id, own.nll_nats, own.tokens, own.same_answer, bare.nll_nats)


def _answer(row: Instruction) -> str:
    if row.answer is None:
        raise DataError(f"{row.id}: no teacher's answer in the Cache Pool")
    return row.answer.text
