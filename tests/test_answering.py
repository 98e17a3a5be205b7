"""A row's answer depends on the row, the student and the seed, and on nothing else."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from scipy import stats

from lion import answering, student
from lion.answering import InverseSampling, answer, uniforms
from lion.chat import Encoder
from lion.errors import DataError, ModelError
from lion.records import Answer, Instruction

SETTINGS = tiny.student_settings()
ROWS = [
    tiny.instruction(text)
    for text in (
        "Reverse the letters: c a f b",
        "What is 17 plus 25?",
        "Say yes",
        "You are terse. Say yes or no. You are terse. Say yes or no.",
        "a",
        "def f(x):\n    return x",
        "42",
    )
]


def ask(folder: Path, rows: Sequence[Instruction] = ROWS, **changes: Any) -> list[Answer]:
    options = {"temperature": 0.0, "max_tokens": 8, "batch_size": 3, "random_seed": 0}
    return answer(
        rows, student=folder, settings=SETTINGS, model_name="me", **{**options, **changes}
    )


def greedy_by_hand(folder: Path, row: Instruction, max_tokens: int) -> tuple[str, str]:
    """Run the whole sequence through the model for every token: no cache, no batch, no padding."""
    model, tokenizer = student.load(folder, SETTINGS)
    encoder = Encoder(tokenizer, "auto")
    ids, written = encoder.prompt(row.messages), []
    for _ in range(max_tokens):
        with torch.no_grad():
            token = int(model(torch.tensor([ids + written])).logits[0, -1].argmax())
        if token in (encoder.end_of_turn, tokenizer.eos_token_id):
            return tokenizer.decode(written, skip_special_tokens=True).strip(), "stop"
        written.append(token)
    return tokenizer.decode(written, skip_special_tokens=True).strip(), "length"


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_greedy_answers_are_those_of_the_plain_model(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "student", architecture)
    given = [(one.text, one.finish_reason) for one in ask(folder, batch_size=4)]
    assert given == [greedy_by_hand(folder, row, 8) for row in ROWS]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_do_not_depend_on_the_batch(tmp_path: Path, temperature: float) -> None:
    folder = tiny.folder(tmp_path / "student")
    alone = ask(folder, batch_size=1, temperature=temperature)
    assert ask(folder, batch_size=2, temperature=temperature) == alone
    assert ask(folder, batch_size=100, temperature=temperature) == alone
    backwards = ask(folder, ROWS[::-1], batch_size=3, temperature=temperature)
    assert backwards[::-1] == alone


def test_answers_come_in_the_order_of_the_instructions(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    given = ask(
        tiny.folder(tmp_path / "student"), progress=lambda done, of: told.append((done, of))
    )
    assert [one.id for one in given] == [row.id for row in ROWS]
    assert {one.model for one in given} == {"me"}
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert ask(tmp_path / "student", []) == []


def test_an_instruction_that_stands_twice_is_answered_twice(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    once, again = ask(folder, [ROWS[0], ROWS[0]], temperature=1.0)
    assert once == again


def test_a_trained_student_stops_and_an_untrained_one_is_cut(tmp_path: Path) -> None:
    """The end of turn that training supervises is the one at which answering stops."""
    from lion.tuning import tune

    folder = tiny.folder(tmp_path / "base")
    encoder = Encoder(student.load_tokenizer(folder, SETTINGS), "auto")
    tune(
        encoder.examples([(row.id, row.messages, "b f a c") for row in ROWS]),
        student=folder,
        out=tmp_path / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=60, learning_rate=0.01),
        random_seed=0,
    )
    assert {(one.text, one.finish_reason) for one in ask(tmp_path / "out", max_tokens=12)} == {
        ("b f a c", "stop")
    }
    assert {one.finish_reason for one in ask(tmp_path / "out", max_tokens=1)} == {"length"}


def test_special_tokens_never_reach_the_text(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    given = ask(folder, temperature=3.0, max_tokens=30)
    assert not any("<|" in one.text or "<s>" in one.text for one in given)


def test_a_sample_changes_with_the_seed_alone(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    first = ask(folder, temperature=1.0, random_seed=1)
    torch.rand(5)
    assert ask(folder, temperature=1.0, random_seed=1) == first
    assert ask(folder, temperature=1.0, random_seed=2) != first


def test_samples_follow_the_softmax_at_the_temperature() -> None:
    """Chi-squared over 20,000 draws of one row; a wrong temperature must fail the same test."""
    logits, count = torch.tensor([2.0, 0.5, -1.0, 1.0, -torch.inf]), 20_000
    uniform = torch.from_numpy(uniforms(0, "x", count))[:, None]
    sampler = InverseSampling(uniform, 0.7, 0)
    scores = sampler(torch.zeros(count, 0), logits.expand(count, -1))
    assert ((scores == 0).sum(-1) == 1).all()
    seen = Counter(scores.argmax(-1).tolist())
    assert seen[4] == 0, "a forbidden token is never drawn"
    for temperature, fits in ((0.7, True), (0.75, False)):
        expected = (logits[:4].double() / temperature).softmax(-1) * count
        p = stats.chisquare([seen[token] for token in range(4)], expected.numpy()).pvalue
        assert bool(p > 0.01) is fits


def test_the_ends_of_the_unit_interval_draw_possible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, -1)
    uniform = torch.tensor([[0.0], [1 - 2**-53]], dtype=torch.float64)
    scores = InverseSampling(uniform, 1.0, 0)(torch.zeros(2, 0), logits)
    assert scores.argmax(-1).tolist() == [1, 2]


def test_an_instructions_numbers_are_its_own() -> None:
    assert uniforms(0, "a", 3).tolist() == uniforms(0, "a", 3).tolist()
    assert uniforms(0, "a", 3).tolist() == uniforms(0, "a", 9)[:3].tolist()
    firsts = {uniforms(seed, id, 1)[0] for seed in (0, 1) for id in ("a", "b")}
    assert len(firsts) == 4


class Cramped:
    """A student whose memory holds `room` rows."""

    def __init__(self, model: Any, room: int) -> None:
        self.model, self.room, self.sizes = model, room, []  # type: Any, int, list[int]
        self.device, self.config = model.device, model.config

    def to(self, _: object) -> "Cramped":
        return self

    def generate(self, input_ids: torch.Tensor, **options: Any) -> Any:
        self.sizes.append(len(input_ids))
        if len(input_ids) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model.generate(input_ids=input_ids, **options)


def test_a_batch_that_does_not_fit_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "student")
    roomy = ask(folder)
    model, tokenizer = student.load(folder, SETTINGS)
    cramped = Cramped(model, room=2)
    monkeypatch.setattr(student, "load", lambda *_: (cramped, tokenizer))
    assert ask(folder, batch_size=7) == roomy
    assert cramped.sizes == [7, 3, 1, 2, 4, 2, 2]
    monkeypatch.setattr(student, "load", lambda *_: (Cramped(model, room=0), tokenizer))
    with pytest.raises(ModelError, match=r"alone .* does not fit in memory. Lower"):
        ask(folder)


def test_the_models_context_ends_an_answer(tmp_path: Path) -> None:
    """The GPT-2 of the tests has 48 positions: one more would be an index error."""
    folder = tiny.folder(tmp_path / "student", "gpt2")
    tokenizer = student.load_tokenizer(folder, SETTINGS)
    length = len(Encoder(tokenizer, "auto").prompt(ROWS[0].messages))
    assert length < 48
    long = tiny.instruction("Reverse the letters " * 30)
    short, none = ask(folder, [ROWS[0], long], max_tokens=100, temperature=1.0)
    assert short.finish_reason in ("stop", "length")
    assert (none.text, none.finish_reason) == ("", "length")


def test_what_the_model_would_rather_do_is_not_asked(tmp_path: Path) -> None:
    """A repetition penalty or beams in its generation_config.json would bend greedy and sampled."""
    plain = ask(tiny.folder(tmp_path / "student"))
    model = tiny.model()
    model.generation_config.repetition_penalty = 3.0
    model.generation_config.num_beams = 2
    student.save(model, tiny.tokenizer(), tmp_path / "opinionated")
    written = (tmp_path / "opinionated" / "generation_config.json").read_text()
    assert '"repetition_penalty": 3.0' in written
    assert ask(tmp_path / "opinionated") == plain


def test_a_conversation_that_the_template_refuses_is_told(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student", template=tiny.GEMMA)
    bad = Instruction.new(
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        origin="seed",
        iteration="0",
    )
    with pytest.raises(DataError, match="Roles must alternate"):
        ask(folder, [bad])


def test_batches_hold_prompts_of_like_length_longest_first() -> None:
    prompts = [answering._Prompt(str(n), (0,) * n) for n in (3, 1, 9, 4, 8)]
    for roomy, expected in (
        (None, [["9", "8"], ["4", "3"], ["1"]]),
        (9, [["9", "8"], ["4", "3"], ["1"]]),
        (7, [["9"], ["8"], ["4", "3"], ["1"]]),
    ):
        batches = answering._batches(prompts, 2, roomy)
        assert [[p.id for p in batch] for batch in batches] == expected
