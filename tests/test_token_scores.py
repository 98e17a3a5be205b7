"""The log probabilities that come with answers: the model's own, of the same pass."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from lion.inference import hf_backend
from lion.inference.batch_inference import AnsweringTask, answer
from lion.inference.token_scores import token_scores
from lion.records.rows import Answer, Instruction, TokenScores
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter

SETTINGS = tiny.student_settings()
ROWS = [tiny.instruction(f"{text} {n}") for n in range(2) for text in tiny.TEXTS]


def ask(folder: Path, *, scored: bool, **changes: Any) -> list[Answer]:
    answering = tiny.answering_settings(**changes)
    return answer(ROWS, AnsweringTask(folder, SETTINGS, answering, 0, "me", scored=scored))


class Model:
    """A student that is asked for log probabilities in one forward pass, without a cache."""

    def __init__(self, folder: Path) -> None:
        self.model, self.tokenizer = checkpoint.load_student(folder, SETTINGS)
        self.encoder = ChatFormatter(self.tokenizer, "auto")

    def logprobs(self, row: Instruction, tokens: list[int]) -> list[float]:
        prompt = self.encoder.prompt(row.messages)
        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([prompt + tokens])).logits
        logs = logits[0, len(prompt) - 1 :].float().log_softmax(-1)
        return [float(logs[place, token]) for place, token in enumerate(tokens)]

    def text(self, tokens: list[int]) -> str:
        written = [token for token in tokens if token not in self.encoder.stops]
        return str(self.tokenizer.decode(written, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("temperature", [0.0, 2.5], ids=["greedy", "sampled"])
def test_scores_are_the_models_own_and_change_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """In rounds, with rows that leave their batch; at temperature 1, the end token included."""
    folder = tiny.folder(tmp_path / "student")
    monkeypatch.setattr(hf_backend, "_ROUND", 7)
    written: list[list[int]] = []
    read = hf_backend.Decoder._read

    def noting(self: Any, tokens: list[int], logprobs: list[float]) -> Any:
        end = next((n for n, token in enumerate(tokens) if token in self._stops), len(tokens) - 1)
        written.append(tokens[: end + 1])
        return read(self, tokens, logprobs)

    options = {"temperature": temperature, "max_tokens": 30, "batch_size": 6}
    plain = ask(folder, scored=False, **options)
    monkeypatch.setattr(hf_backend.Decoder, "_read", noting)
    scored = ask(folder, scored=True, **options)
    assert [(one.text, one.finish_reason) for one in scored] == [
        (one.text, one.finish_reason) for one in plain
    ]
    assert all(one.tokens is None for one in plain)
    lengths = {len(tokens) for tokens in written}
    assert len(lengths) > 1 or temperature == 0, "the test wants answers of several lengths"
    model = Model(folder)
    for row, one in zip(ROWS, scored, strict=True):
        assert one.tokens is not None
        own = next(tokens for tokens in written if model.text(tokens) == one.text)
        assert one.tokens.logprobs == pytest.approx(model.logprobs(row, own), abs=2e-4)
        assert len(one.tokens.ends) == len(own)
        assert one.tokens.ends[-1] == len(one.text)


def test_a_score_that_is_no_number_is_none() -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer("17 plus 25", add_special_tokens=False).input_ids
    good = [-0.5] * len(ids)
    scores = token_scores(ChatFormatter(tokenizer, "auto"), ids, [*good, -0.25], ended=True)
    assert isinstance(scores, TokenScores)
    assert (scores.logprobs[-1], scores.ends[-1]) == (-0.25, len("17 plus 25"))
    assert (
        token_scores(ChatFormatter(tokenizer, "auto"), ids, [float("nan"), *good], ended=True)
        is None
    )
    assert token_scores(ChatFormatter(tokenizer, "auto"), [], [], ended=False) is None


def test_tokens_end_where_their_characters_do() -> None:
    """Also where the text is tokenised in another way than it was written."""
    tokenizer = tiny.tokenizer()
    words = ["c", " ", "a", "f", "é", "!"]
    ids = [token for word in words for token in tokenizer(word, add_special_tokens=False).input_ids]
    text = tokenizer.decode(ids)
    scores = token_scores(ChatFormatter(tokenizer, "auto"), ids, [-1.0] * len(ids), ended=False)
    assert scores is not None
    assert (text, scores.ends) == ("c afé!", (1, 2, 3, 4, 5, 5, 6)), "é is two tokens"
