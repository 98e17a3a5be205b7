"""The backend of vLLM's offline engine, where it is installed.

The machines of the tests have no GPU: tests check the calls against a stand-in of the documented
API (LLM, SamplingParams, TokensPrompt, LoRARequest).
"""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lion.config.settings import Answering, Student
from lion.errors import ModelError
from lion.inference.answer_likelihood import ScoredAnswer, likelihood
from lion.inference.backend import Prompt, WrittenAnswer
from lion.inference.token_scores import token_scores
from lion.records.rows import Likelihood, TokenScores
from lion.student import checkpoint as students
from lion.student.chat_format import ChatFormatter


class Vllm:
    """A student loaded by vLLM (a `backend.Engine`)."""

    def __init__(
        self,
        student: Path,
        settings: Student,
        answering: Answering,
        random_seed: int,
        encoder: ChatFormatter,
        *,
        scored: bool = False,
        schema: str | None = None,
    ) -> None:
        self._vllm: Any = importlib.import_module("vllm")
        self._answering = answering
        self._random_seed = random_seed
        self._scored = scored
        self._schema = schema
        self._encoder = encoder
        self._stops = encoder.stops
        source = students.resolve(student)
        self._options: dict[str, Any] = {}
        adapter: dict[str, Any] = {}
        if source.adapter is not None:
            lora = importlib.import_module("vllm.lora.request")
            self._options["lora_request"] = lora.LoRARequest("student", 1, str(source.adapter))
            adapter = {"enable_lora": True, "max_lora_rank": _rank(source.adapter)}
        try:
            self._model = self._vllm.LLM(
                model=source.base,
                revision=source.revision,
                dtype=settings.dtype,
                trust_remote_code=settings.trust_remote_code,
                seed=random_seed,
                generation_config="vllm",  # not the model's own penalties
                **adapter,
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{student}: vLLM cannot load it: {error!s:.400}. Set "
                "`answering.engine: transformers`."
            ) from error

    def __call__(self, prompts: Sequence[Prompt]) -> list[WrittenAnswer]:
        """Return what the student writes for each prompt."""
        answered = self._generate(prompts, [self._sampling(prompt) for prompt in prompts])
        firsts = [request.outputs[0] for request in answered]
        return [
            WrittenAnswer(
                first.text.strip(),
                "stop" if first.finish_reason == "stop" else "length",
                self._scores(first),
            )
            for first in firsts
        ]

    def likelihoods(self, answers: Sequence[ScoredAnswer]) -> list[Likelihood]:
        """Return the likelihood of each answer, from the log probabilities of the prompt's tokens.

        vLLM always writes a token, which is left out.
        """
        sampling = self._vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        scored = self._generate(answers, sampling)
        return [
            _likelihood(answer, request.prompt_logprobs)
            for answer, request in zip(answers, scored, strict=True)
        ]

    def _generate(self, prompts: Sequence[Prompt], sampling: Any) -> Any:
        """Return vLLM's outputs. Raises ModelError where it refuses, as a schema it cannot follow.

        Its `generate` raises ValueError for structured outputs that its grammars do not support.
        """
        try:
            return self._model.generate(
                [{"prompt_token_ids": list(prompt.tokens)} for prompt in prompts],
                sampling,
                use_tqdm=False,
                **self._options,
            )
        except (ValueError, RuntimeError) as error:
            free = "" if self._schema is None else ", or `answering.form: text`"
            raise ModelError(
                f"vLLM cannot answer: {error!s:.400}. Set `answering.engine: transformers`{free}."
            ) from error

    def _scores(self, output: Any) -> TokenScores | None:
        """Return the scores of an output's tokens, of which a stop token is the last."""
        if not self._scored:
            return None
        tokens, ended = list(output.token_ids), output.finish_reason == "stop"
        logprobs = [
            step[token].logprob for token, step in zip(tokens, output.logprobs, strict=True)
        ]
        return token_scores(self._encoder, tokens[:-1] if ended else tokens, logprobs, ended=ended)

    def _sampling(self, prompt: Prompt) -> Any:
        """Return the sampling parameters of a prompt, with a seed of its own."""
        # of the chosen token alone; vLLM's default mode gives raw ones, before the temperature
        options: dict[str, Any] = {"logprobs": 0} if self._scored else {}
        if self._schema is not None:
            structured = importlib.import_module("vllm.sampling_params").StructuredOutputsParams
            options["structured_outputs"] = structured(json=json.loads(self._schema))
        return self._vllm.SamplingParams(
            temperature=self._answering.temperature,
            max_tokens=self._answering.max_tokens,
            seed=_seed(self._random_seed, prompt.id),
            stop_token_ids=self._stops,
            skip_special_tokens=True,
            **options,
        )


def _likelihood(answer: ScoredAnswer, positions: Sequence[Mapping[int, Any]]) -> Likelihood:
    """Return an answer's likelihood; `positions` hold each token's log probability and rank."""
    own = [
        positions[place][answer.tokens[place]]
        for place in range(answer.prompt_length, len(answer.tokens))
    ]
    nats = -fmean(token.logprob for token in own)
    return likelihood(answer, nats, likeliest=all(token.rank == 1 for token in own))


def _seed(random_seed: int, id: str) -> int:
    """Return the seed (31 bits) of instruction `id`."""
    digest = hashlib.sha256(f"{random_seed} {id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _rank(adapter: Path) -> int:
    config = json.loads((adapter / students.ADAPTER_CONFIG).read_text(encoding="utf-8"))
    rank: int = config["r"]
    return rank
