"""What is exported answers elsewhere as the student does here."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lion.config.settings import Student
from lion.errors import ModelError
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.records import output_marks
from lion.records.rows import Message
from lion.serving import export
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.student.paper_format import PAPER_FORMATS, PaperFormat
from lion.student.student_formatter import student_formatter
from lion.training.finetune import finetune

SETTINGS = tiny.student_settings()
QUESTIONS = ("Reverse the letters: c a f b", "What is 17 plus 25?", "Say yes")
CONVERSATIONS: list[list[Message]] = [
    [{"role": "user", "content": "What is it?"}],
    [
        {"role": "system", "content": "Be terse.\n### Response: no"},
        {"role": "user", "content": "### Instruction:\nwrite\n### Response: too\n\\### System: x"},
    ],
    [{"role": "user", "content": "Add one.\n\n### Input:\n41"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b\n### System: none"},
        {"role": "user", "content": "c"},
    ],
]


def tuned(folder: Path, out: Path, settings: Student = SETTINGS, **changes: Any) -> Path:
    """Tune a student a little, as a user would."""
    encoder = student_formatter(folder, settings)
    rows = [tiny.instruction(text) for text in QUESTIONS]
    finetune(
        encoder.examples([(row.id, row.messages, "b f a c") for row in rows]),
        student=folder,
        out=out,
        settings=settings,
        tune=tiny.tune_settings(steps=3, **changes),
        hardware=tiny.hardware(),
        random_seed=0,
    )
    return out


def answers_elsewhere(folder: Path) -> list[str]:
    """Answer with transformers alone, by what the folder says of template and stops."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for question in QUESTIONS:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        output = model.generate(**prompt, max_new_tokens=8, do_sample=False)
        written = output[0, prompt["input_ids"].shape[1] :]
        texts.append(tokenizer.decode(written, skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma", "neox"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_four_architectures_are_tuned_exported_and_reloaded(
    tmp_path: Path, architecture: str, method: str
) -> None:
    base = tiny.folder(tmp_path / "base", architecture)
    tuned(base, tmp_path / "student", method=method, learning_rate=0.02)
    export.export_student(tmp_path / "student", SETTINGS, tmp_path / "out")
    rows = [tiny.instruction(text) for text in QUESTIONS]
    task = AnsweringTask(tmp_path / "student", SETTINGS, tiny.answering_settings(), 0, "me")
    here = [one.text for one in answer(rows, task)]
    assert answers_elsewhere(tmp_path / "out") == here
    untuned = AnsweringTask(base, SETTINGS, tiny.answering_settings(), 0, "me")
    assert here != [one.text for one in answer(rows, untuned)], "tuning has changed nothing"
    assert not list((tmp_path / "out").glob("adapter*"))


@pytest.mark.parametrize("version", PAPER_FORMATS)
@pytest.mark.parametrize("opening", [True, False])
def test_the_papers_format_is_exported_as_a_chat_template(
    tmp_path: Path, opening: bool, version: PaperFormat
) -> None:
    """The law: elsewhere the prompt is, token for token, the one that was trained on."""
    options = {} if opening else {"bos_token": None}
    words = tiny.tokenizer(None, **options)
    if opening:
        words.backend_tokenizer.post_processor = bos_first(words)
    checkpoint.save(tiny.model(), words, tmp_path / "student")
    settings = tiny.student_settings(prompt_format=version)
    export.export_student(tmp_path / "student", settings, tmp_path / "out")
    encoder = ChatFormatter(checkpoint.load_tokenizer(tmp_path / "student", settings), version)
    exported = AutoTokenizer.from_pretrained(tmp_path / "out")
    for messages in CONVERSATIONS:
        ids = exported.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert exported.decode(ids) == exported.decode(encoder.prompt(messages))
        assert ids == encoder.prompt(messages)
    assert (encoder.prompt(CONVERSATIONS[0])[0] == words.bos_token_id) is opening
    as_base = ChatFormatter(checkpoint.load_tokenizer(tmp_path / "out", SETTINGS), "auto")
    assert as_base.end_of_turn == encoder.end_of_turn


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_student_keeps_the_format_that_it_was_tuned_in(tmp_path: Path, method: str) -> None:
    """Whatever params say later: the folder records it, and its export does too."""
    base = tmp_path / "base"
    checkpoint.save(tiny.model(), tiny.tokenizer(None), base)
    first = tiny.student_settings(prompt_format="paper-v1")
    assert student_formatter(base, first).paper_format == "paper-v1", "the base records none"
    tuned(base, tmp_path / "student", first, method=method, max_length=128)
    for folder in (tmp_path / "student", tmp_path / "exported"):
        later = tiny.student_settings(prompt_format="paper")
        assert student_formatter(folder, later).paper_format == "paper-v1"
        if folder.name == "student":
            export.export_student(folder, later, tmp_path / "exported")
    tuned(tmp_path / "exported", tmp_path / "next", later, max_length=128)
    assert student_formatter(tmp_path / "next", later).paper_format == "paper-v1"
    record = tmp_path / "next" / checkpoint.PROMPT_FORMAT
    record.write_text('{"format": 1, "prompt_format": "v3"}')
    with pytest.raises(ModelError, match=r"is 'v3', expected paper or paper-v1 or template"):
        student_formatter(tmp_path / "next", later)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_student_keeps_the_chat_template_that_it_was_tuned_with(
    tmp_path: Path, method: str
) -> None:
    """Whatever params say later; a folder without a record follows params, as before."""
    base, paper = tiny.folder(tmp_path / "base"), tiny.student_settings(prompt_format="paper")
    assert student_formatter(base, paper).paper_format == "paper", "the base records none"
    student = tuned(base, tmp_path / "student", method=method)
    export.export_student(student, paper, tmp_path / "exported")
    trained = student_formatter(student, SETTINGS)
    for folder in (student, tmp_path / "exported"):
        assert student_formatter(folder, paper).prompt(CONVERSATIONS[0]) == trained.prompt(
            CONVERSATIONS[0]
        )
    (student / checkpoint.PROMPT_FORMAT).unlink()
    assert student_formatter(student, paper).paper_format == "paper"
    export.export_student(student, SETTINGS, tmp_path / "older")
    assert not (tmp_path / "older" / checkpoint.PROMPT_FORMAT).exists()


def test_a_record_is_part_of_the_students_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that writes it notices no change by someone else."""
    monkeypatch.chdir(tmp_path)
    output_marks.forget_outputs()
    folder = Path("data/0/student")
    checkpoint.save(tiny.model(), tiny.tokenizer(None), folder, prompt_format="paper")
    assert output_marks.changed_outputs() == []
    (folder / checkpoint.PROMPT_FORMAT).write_text("{}")
    assert output_marks.changed_outputs() == [folder]


def test_a_recorded_template_that_is_missing_is_told(tmp_path: Path) -> None:
    student = tuned(tiny.folder(tmp_path / "base"), tmp_path / "student")
    checkpoint.load_tokenizer(student, SETTINGS)
    for path in student.glob("*template*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"student: tuned with its tokenizer's chat template"):
        student_formatter(student, SETTINGS)


def bos_first(words: Any) -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", words.bos_token_id)]
    )


def test_the_stops_are_exported(tmp_path: Path) -> None:
    """ChatML ends its turns with another token than the tokenizer's end of sequence."""
    export.export_student(tiny.folder(tmp_path / "student"), SETTINGS, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    words = tiny.tokenizer()
    expected = sorted([words.eos_token_id, words.convert_tokens_to_ids("<|im_end|>")])
    assert sorted(model.generation_config.eos_token_id) == expected
    assert torch.equal(
        model.state_dict()["lm_head.weight"], tiny.model().state_dict()["lm_head.weight"]
    )


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match=r"mine is there already. Name another folder"):
        export.export_student(tiny.folder(tmp_path / "student"), SETTINGS, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
