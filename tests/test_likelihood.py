"""The likelihood of answers: which tokens count, in any batch, and what is no number."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from msgspec.structs import replace
from test_answering import ask as written
from test_answering import killed

from lion.errors import DataError
from lion.inference import hf_likelihood
from lion.inference.batch_inference import likelihoods
from lion.inference.batch_job import AnsweringTask
from lion.prompting import teacher
from lion.records.rows import Answer, Instruction, Likelihood
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.training.collator import Padded

SETTINGS = tiny.student_settings()


def taught(text: str, answer: str) -> Instruction:
    row = tiny.instruction(text)
    return teacher.taught(row, Answer(row.id, answer, "stop", "m"))


ROWS = [
    taught("Say yes", "yes"),
    taught("Reverse the letters: c a f b", "b f a c"),
    taught("What is 17 plus 25?", "42 <|im_end|> 42"),
    taught("a", "You are terse."),
    taught("def f(x):\n    return x", "no"),
]


def score(folder: Path, rows: Sequence[Instruction] = ROWS, **changes: Any) -> list[Likelihood]:
    own = {name: changes.pop(name) for name in ("keep", "progress") if name in changes}
    measure = changes.pop("measure", "likelihoods")
    task = AnsweringTask(folder, SETTINGS, tiny.answering_settings(**changes), 0, "me", measure)
    return likelihoods(rows, task, **own)


def loss_in_training(folder: Path, row: Instruction) -> float:
    """Return the loss of tuning on one row: its collator's labels, the model's own loss."""
    model, tokenizer = checkpoint.load_student(folder, SETTINGS)
    assert row.answer is not None
    example = ChatFormatter(tokenizer, "auto").example(row.id, row.messages, row.answer.text)
    batch = Padded(0, whole=True)([example])
    with torch.no_grad():
        return float(model(**batch).loss)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_it_is_the_loss_of_tuning_on_that_row(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "student", architecture)
    rows = [row for row in ROWS if architecture != "gpt2" or len(str(row.messages)) < 60]
    scored = score(folder, rows)
    assert [row.nll_nats for row in scored] == pytest.approx(
        [loss_in_training(folder, row) for row in rows], abs=1e-5
    )
    assert [row.id for row in scored] == [row.id for row in rows]


@pytest.mark.parametrize("template", [tiny.CHATML, None])
def test_the_batch_does_not_show(
    tmp_path: Path, template: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "student", template=template)
    alone = [row.nll_nats for row in score(folder, batch_size=1)]
    for options in ({"batch_size": 2}, {"batch_size": 9}, {"batch_tokens": 60, "batch_size": 9}):
        assert [row.nll_nats for row in score(folder, **options)] == pytest.approx(alone, abs=2e-6)
    monkeypatch.setattr(hf_likelihood, "_LOGITS", 1)
    assert [row.nll_nats for row in score(folder, batch_size=9)] == pytest.approx(alone, abs=2e-6)


def test_a_batch_that_does_not_fit_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "student")
    whole = hf_likelihood.AnswerScorer._score
    sizes: list[int] = []

    def small(self: Any, answers: Any) -> Any:
        sizes.append(len(answers))
        if len(answers) > 2:
            raise torch.OutOfMemoryError
        return whole(self, answers)

    alone = score(folder, batch_size=1)
    monkeypatch.setattr(hf_likelihood.AnswerScorer, "_score", small)
    parts = score(folder, batch_size=5)
    assert [row.nll_nats for row in parts] == pytest.approx(
        [row.nll_nats for row in alone], abs=2e-6
    )
    assert sizes == [5, 2, 3, 1, 2]


def test_the_students_own_answer_is_told_without_writing_one(tmp_path: Path) -> None:
    """What greedy decoding writes is the answer whose every token is the likeliest."""
    folder = tiny.folder(tmp_path / "student")
    _end_turns(folder)
    answers = written(folder, ROWS, max_tokens=40)
    whole = [answer for answer in answers if answer.finish_reason == "stop" and answer.text]
    assert len(whole) >= 2, "this student ends some of its answers"
    own = {answer.id: answer.text for answer in whole}
    rows = [row for row in ROWS if row.id in own]
    same = [taught(row.messages[-1]["content"], own[row.id]) for row in rows]
    assert {row.same_answer for row in score(folder, same)} == {True}
    assert {row.same_answer for row in score(folder, rows)} == {False}


def _end_turns(folder: Path) -> None:
    """Tune a student a little, so that it ends its turns."""
    from lion.training.finetune import finetune

    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    finetune(
        encoder.examples([(row.id, row.messages, f"ok {len(row.id)}") for row in ROWS]),
        student=folder,
        out=folder,
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=60, learning_rate=0.01),
        random_seed=0,
        hardware=tiny.hardware(),
    )


def test_without_the_prompt_the_instruction_is_empty(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    scored = score(folder, measure="likelihoods_and_unprompted")
    model, tokenizer = checkpoint.load_student(folder, SETTINGS)
    encoder = ChatFormatter(tokenizer, "auto")
    empty = encoder.prompt([{"role": "user", "content": ""}])
    for row, found in zip(ROWS, scored, strict=True):
        assert row.answer is not None
        whole = encoder.example(row.id, row.messages, row.answer.text)
        answer = list(whole.input_ids[whole.prompt_length :])
        with torch.no_grad():
            logs = model(torch.tensor([[*empty, *answer]])).logits[0].log_softmax(-1)
        nats = [-float(logs[len(empty) + at - 1, token]) for at, token in enumerate(answer)]
        assert found.unprompted_nats == pytest.approx(sum(nats) / len(nats), abs=1e-5)
        assert found.tokens == len(answer)
    assert [row.nll_nats for row in scored] == [row.nll_nats for row in score(folder)]


def test_what_is_no_number_is_a_reason(tmp_path: Path) -> None:
    """Empty and too long rows are left out of the batches, which the others do not notice."""
    folder = tiny.folder(tmp_path / "student")
    odd = [taught("Say nothing", ""), taught("Go on", "word " * 200)]
    scored = score(folder, [*odd, *ROWS], batch_size=9)
    assert [(row.nll_nats, row.reason) for row in scored[:2]] == [
        (None, "empty_answer"),
        (None, "too_long"),
    ]
    assert scored[2:] == score(folder, batch_size=9)
    both = score(folder, [*odd, *ROWS], measure="likelihoods_and_unprompted")
    assert [row.reason for row in both] == ["empty_answer", "too_long", *[None] * len(ROWS)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_give_none(tmp_path: Path, value: float) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight[5] = value
    checkpoint.save(model, tiny.tokenizer(), tmp_path / "student")
    scored = score(tmp_path / "student")
    assert {(row.nll_nats, row.reason) for row in scored} == {(None, "not_finite")}


def test_a_row_without_the_teachers_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no teacher's answer in the Cache Pool"):
        score(tiny.folder(tmp_path / "student"), [replace(ROWS[0], answer=None)])


def test_a_killed_pass_goes_on_with_the_batches_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keep = tiny.folder(tmp_path / "student"), tmp_path / "keep"
    whole = score(folder, batch_size=2)
    sizes: list[int] = []
    plain = hf_likelihood.AnswerScorer.__call__

    def counting(self: Any, answers: Any) -> Any:
        sizes.append(len(answers))
        return plain(self, answers)

    monkeypatch.setattr(hf_likelihood.AnswerScorer, "__call__", counting)
    with pytest.raises(KeyboardInterrupt):
        score(folder, batch_size=2, keep=keep, progress=killed)
    assert score(folder, batch_size=2, keep=keep) == whole
    assert sizes == [2, 2, 1]
    [task] = keep.iterdir()
    moved = taught("Say yes", "yes!")
    score(folder, [moved, *ROWS[1:]], batch_size=2, keep=keep)
    assert [path for path in keep.iterdir() if path != task] == list(keep.iterdir())


@pytest.mark.slow
def test_processes_share_the_batches(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    assert score(folder, batch_size=1, processes=2) == score(folder, batch_size=1)
