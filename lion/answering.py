"""The student's answers: instructions in, answers out, in the same order.

A row's answer depends on the row, the student and the seed, and not on the rows beside it: batches
are arranged by length, padded on the left, and split where they do not fit in memory. Judges
nothing and writes nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lion import student as students
from lion.chat import Encoder
from lion.errors import ModelError
from lion.records import Answer, Instruction
from lion.settings import Student

Progress = Callable[[int, int], None]


def answer(
    instructions: Sequence[Instruction],
    *,
    student: Path,
    settings: Student,
    temperature: float,
    max_tokens: int,
    batch_size: int,
    random_seed: int,
    model_name: str,
    progress: Progress | None = None,
) -> list[Answer]:
    """Return the answer of the student in folder `student` to each instruction, in their order.

    `temperature` 0 is greedy. `finish_reason` is `stop` where the student ended its turn, `length`
    where `max_tokens` (or the model's context) did. `progress` is told (answered, all). Raises
    ModelError, and DataError where the chat template refuses a conversation.
    """
    model, tokenizer = students.load(student, settings)
    decoder = Decoder(model, tokenizer, settings, max_tokens, temperature, random_seed)
    encoded = decoder.encoder.prompts([row.messages for row in instructions])
    prompts = [
        _Prompt(row.id, tuple(tokens)) for row, tokens in zip(instructions, encoded, strict=True)
    ]
    done: dict[str, Answer] = {}
    for batch in _batches(prompts, batch_size, decoder.roomy):
        for prompt, (text, reason) in zip(batch, decoder(batch), strict=True):
            done[prompt.id] = Answer(prompt.id, text, reason, model_name)
        if progress is not None:
            progress(len(done), len(instructions))
    return [done[row.id] for row in instructions]


@dataclass(frozen=True, slots=True)
class _Prompt:
    id: str
    tokens: tuple[int, ...]


def _batches(
    prompts: Sequence[_Prompt], size: int, roomy: int | None = None
) -> Iterator[list[_Prompt]]:
    """Yield the prompts in batches of like length, longest first: no memory surprise at the end.

    A prompt above `roomy` tokens stands alone: the context ends its answer, and must not end its
    neighbours'.
    """
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.id))
    tight = 0 if roomy is None else sum(len(prompt.tokens) > roomy for prompt in ordered)
    for prompt in ordered[:tight]:
        yield [prompt]
    for start in range(tight, len(ordered), size):
        yield ordered[start : start + size]


class Decoder:
    """A loaded student that answers batches of prompts."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        settings: Student,
        max_tokens: int,
        temperature: float,
        random_seed: int,
    ) -> None:
        self.encoder = Encoder(tokenizer, settings.prompt_format)
        self._model = model.to(_device())
        # Its own settings (a repetition penalty, beams, a top-k) would be merged into ours.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # transformers'
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._random_seed = random_seed
        self._context: int | None = getattr(
            model.config.get_text_config(), "max_position_embeddings", None
        )
        self._stops = {self.encoder.end_of_turn, tokenizer.eos_token_id} - {None}

    @property
    def roomy(self) -> int | None:
        """The longest prompt, in tokens, after which an answer of full length has room."""
        return None if self._context is None else self._context - self._max_tokens

    def __call__(self, prompts: Sequence[_Prompt]) -> list[tuple[str, str]]:
        """Return text and finish reason of each prompt; a batch too large is halved.

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
            return [self._read(tokens) for tokens in generated]
        # Outside of `except`: the traceback would keep the failed batch's tensors alive.
        middle = len(prompts) // 2
        return self(prompts[:middle]) + self(prompts[middle:])

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[_Prompt]) -> list[list[int]]:
        width = max(len(prompt.tokens) for prompt in prompts)
        room = self._max_tokens if self._context is None else self._context - width
        if room < 1:
            return [[] for _ in prompts]
        filler = self.encoder.end_of_turn
        ids = [[filler] * (width - len(p.tokens)) + list(p.tokens) for p in prompts]
        mask = [[0] * (width - len(p.tokens)) + [1] * len(p.tokens) for p in prompts]
        device = self._model.device
        output = self._model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]  # transformers'
                max_new_tokens=min(self._max_tokens, room),
                do_sample=False,
                eos_token_id=sorted(self._stops),
                pad_token_id=filler,
            ),
            logits_processor=self._sampling(prompts, width),
        )
        tokens: list[list[int]] = output[:, width:].tolist()
        return tokens

    def _sampling(self, prompts: Sequence[_Prompt], width: int) -> LogitsProcessorList:
        if self._temperature == 0:
            return LogitsProcessorList()
        draws = np.stack(
            [uniforms(self._random_seed, prompt.id, self._max_tokens) for prompt in prompts]
        )
        uniform = torch.from_numpy(draws).to(self._model.device)
        return LogitsProcessorList([InverseSampling(uniform, self._temperature, width)])

    def _read(self, tokens: list[int]) -> tuple[str, str]:
        """Cut generated tokens at the first stop, and decode what stands before."""
        end = next((place for place, token in enumerate(tokens) if token in self._stops), None)
        text: str = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return text.strip(), "length" if end is None else "stop"


class InverseSampling(LogitsProcessor):
    """Samples exactly from softmax(logits / temperature) with one uniform number per row and step.

    The token drawn is the first whose cumulative probability exceeds the number (inversion); all
    others are forbidden, so that the greedy search that follows takes it. The numbers come with
    the row, so that its sample does not depend on its batch.
    """

    def __init__(self, uniform: torch.Tensor, temperature: float, width: int) -> None:
        """Take (rows, steps) numbers of [0, 1) and the prompts' padded width in tokens."""
        self._uniform = uniform
        self._temperature = temperature
        self._width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return (rows, vocabulary) scores that leave one token each."""
        draw = self._uniform[:, input_ids.shape[1] - self._width, None]
        cumulative = (scores.double() / self._temperature).softmax(-1).cumsum(-1)
        # Rounding leaves the last sum a little off 1, and the number must fall below it.
        chosen = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True)
        chosen = chosen.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


def uniforms(random_seed: int, id: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return `count` numbers of [0, 1) that belong to instruction `id`, the same everywhere."""
    digest = hashlib.sha256(f"{random_seed} {id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).random(count)


def _device() -> torch.device:
    """Return this process's device."""
    from accelerate import PartialState

    device: torch.device = PartialState().device
    return device
