"""A row's answer depends on the row, the student and the seed, and on nothing else."""

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from scipy import stats
from transformers import LlamaForCausalLM

from lion.errors import DataError, ModelError
from lion.inference import backend, hf_backend, response_shards
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.inference.hf_backend import InverseSampling, uniforms
from lion.records.rows import Answer, Instruction
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter

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
    own = {name: changes.pop(name) for name in ("keep", "progress") if name in changes}
    seed = changes.pop("random_seed", 0)
    settings = tiny.answering_settings(**changes)
    return answer(rows, AnsweringTask(folder, SETTINGS, settings, seed, "me"), **own)


def greedy_by_hand(folder: Path, row: Instruction, max_tokens: int) -> tuple[str, str]:
    """Run the whole sequence through the model for every token: no cache, no batch, no padding."""
    model, tokenizer = checkpoint.load_student(folder, SETTINGS)
    encoder = ChatFormatter(tokenizer, "auto")
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
    from lion.training.finetune import finetune

    folder = tiny.folder(tmp_path / "base")
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    finetune(
        encoder.examples([(row.id, row.messages, "b f a c") for row in ROWS]),
        student=folder,
        out=tmp_path / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=60, learning_rate=0.01),
        hardware=tiny.hardware(),
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
    model = checkpoint.load_model(folder, SETTINGS)
    cramped = Cramped(model, room=2)
    monkeypatch.setattr(checkpoint, "load_model", lambda *_: cramped)
    assert ask(folder, batch_size=7) == roomy
    assert cramped.sizes == [7, 3, 1, 2, 4, 2, 2]
    monkeypatch.setattr(checkpoint, "load_model", lambda *_: Cramped(model, room=0))
    with pytest.raises(ModelError, match=r"alone .* does not fit in memory. Lower"):
        ask(folder)


def test_the_models_context_ends_an_answer(tmp_path: Path) -> None:
    """The GPT-2 of the tests has 48 positions: one more would be an index error."""
    folder = tiny.folder(tmp_path / "student", "gpt2")
    tokenizer = checkpoint.load_tokenizer(folder, SETTINGS)
    length = len(ChatFormatter(tokenizer, "auto").prompt(ROWS[0].messages))
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
    checkpoint.save(model, tiny.tokenizer(), tmp_path / "opinionated")
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
    prompts = [backend.Prompt(str(n), array("i", [0] * n)) for n in (3, 1, 9, 4, 8)]
    for context, batch_tokens, expected in (
        (None, None, [["9", "8"], ["4", "3"], ["1"]]),
        (17, None, [["9", "8"], ["4", "3"], ["1"]]),
        (15, None, [["9"], ["8"], ["4", "3"], ["1"]]),
        (None, 30, [["9"], ["8"], ["4", "3"], ["1"]]),
        (None, 1, [["9"], ["8"], ["4"], ["3"], ["1"]]),
    ):
        settings = tiny.answering_settings(batch_size=2, batch_tokens=batch_tokens)
        batches = backend.batches(prompts, settings, "transformers", context)
        assert [[p.id for p in batch] for batch in batches] == expected
    everything = backend.batches(prompts, tiny.answering_settings(batch_size=2), "vllm", 15)
    assert [[p.id for p in batch] for batch in everything] == [["9", "8", "4", "3", "1"]]


def test_rows_that_have_ended_leave_their_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rounds of ten tokens, the answers are those of one long round, in fewer row-steps."""
    rows = [tiny.instruction(f"{text} {n}") for n in range(8) for text in tiny.TEXTS]
    folder = tiny.folder(tmp_path / "student")
    options = {"temperature": 2.5, "max_tokens": 90, "batch_size": 40}
    monkeypatch.setattr(hf_backend, "_ROUND", 90)
    together = ask(folder, rows, **options)
    ended = [one for one in together if one.finish_reason == "stop"]
    assert len(ended) > 10, "the test wants rows that end early"
    monkeypatch.setattr(hf_backend, "_ROUND", 10)
    sizes: list[int] = []
    forward = LlamaForCausalLM.forward

    def counting(self: Any, input_ids: torch.Tensor, **options: Any) -> Any:
        sizes.append(len(input_ids))
        return forward(self, input_ids, **options)

    monkeypatch.setattr(LlamaForCausalLM, "forward", counting)
    assert ask(folder, rows, **options) == together
    assert sizes[0] == len(rows)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 0.75 * len(rows)


@pytest.mark.parametrize("architecture", ["llama", "gemma", "neox"])
def test_the_roomy_cache_attends_as_transformers_own(architecture: str) -> None:
    model = tiny.model(architecture)
    ids = torch.randint(20, 300, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    expected = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=1
    )
    given = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=1,
        cache=hf_backend._cache(model.config, 21),
    )
    assert torch.equal(given, expected)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_killed_task_goes_on_with_the_batches_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keep = tiny.folder(tmp_path / "student"), tmp_path / "keep"
    options = {"temperature": 1.0, "batch_size": 2}
    whole = ask(folder, **options)
    generated: list[int] = []
    generate = hf_backend.Decoder._generate

    def counting(self: Any, prompts: Any) -> Any:
        generated.append(len(prompts))
        return generate(self, prompts)

    monkeypatch.setattr(hf_backend.Decoder, "_generate", counting)
    with pytest.raises(KeyboardInterrupt):
        ask(folder, keep=keep, progress=killed, **options)
    assert generated == [2]
    [task] = keep.iterdir()
    assert ask(folder, keep=keep, **options) == whole
    assert generated == [2, 2, 2, 1]
    kept = sorted(task.glob("*.jsonl"))
    assert len(kept) == 4
    kept[1].write_text("half a li")
    assert ask(folder, keep=keep, **options) == whole, "a damaged file is answered again"
    assert generated == [2, 2, 2, 1, 2]


@pytest.mark.parametrize("change", ["rows", "params", "seed", "weights", "code"])
def test_answers_of_another_task_are_never_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder, keep = tiny.folder(tmp_path / "student"), tmp_path / "keep"
    ask(folder, keep=keep)
    [first] = keep.iterdir()
    rows, options = ROWS, {}
    if change == "rows":
        rows = ROWS[1:]
    elif change == "params":
        options = {"max_tokens": 9}
    elif change == "seed":
        options = {"random_seed": 1}
    elif change == "weights":
        checkpoint.save(tiny.model(seed=1), tiny.tokenizer(), folder)
    else:
        monkeypatch.setattr(response_shards, "CODE", ("inference/batch_inference.py",))
    ask(folder, rows, keep=keep, **options)
    [second] = keep.iterdir()
    assert second != first, "what is stale is removed, not reused"


def test_the_code_of_the_key_is_what_answering_imports() -> None:
    """What decides an answer: all that `answering` imports, types and what params say apart."""
    from test_contract import closure

    apart = {
        "inference/response_shards.py",
        "student/fingerprint.py",
        "student/hub.py",
    }
    found = {name.removeprefix("lion/") for name in closure("lion/inference/batch_inference.py")}
    assert found - apart == set(response_shards.CODE)


@pytest.mark.slow
def test_processes_share_the_batches_and_change_no_answer(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    alone = ask(folder, temperature=1.0, batch_size=1)
    keep = tmp_path / "keep"
    told: list[tuple[int, int]] = []
    shared = ask(
        folder,
        temperature=1.0,
        batch_size=1,
        processes=2,
        keep=keep,
        progress=lambda done, of: told.append((done, of)),
    )
    assert shared == alone
    assert told[-1] == (7, 7)


@pytest.mark.slow
def test_a_process_that_fails_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny.folder(tmp_path / "student")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"exit code 1.*run again for the others"):
        ask(folder, processes=2, batch_size=1)
    told = "".join(capfd.readouterr().err.split())  # lines are broken at the terminal's width
    assert "safetensors" in told or "cannotbeloaded" in told
