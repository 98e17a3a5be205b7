"""A student with a shorter prompt than its teacher's: trained, asked and shown in one form."""

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner
from fake_server import ChatServer
from fixtures import ROOT, Workplace
from narrow import NARROW, TINY, narrow_folder, run_stages
from test_served import at

from lion.cli import main
from lion.config import project
from lion.config.settings import TaskSettings
from lion.config.validation import read_settings
from lion.errors import SettingsError
from lion.inference.batch_job import AnsweringTask, AnswerJob
from lion.inference.respondent import Respondent
from lion.iterations import lines
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics
from lion.pipeline import stage
from lion.records import jsonl
from lion.records.rows import Answer, Instruction
from lion.reporting import table
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.student.prompt import StudentPrompt, student_messages

TASK = read_settings(NARROW).task
FORM = [{"role": "user", "content": "$subject: $body"}]
EXAM_ROWS = 18
SMALL = {
    **TINY,
    "exam.size": EXAM_ROWS,
    "seed.size": 24,
    "tune.steps": 1,
    "base.tune.steps": 1,
    "evaluate.quality": 0,
    "tune.prompt": "none",
    "iterations": {
        "1-form": {"previous": "0", "generate": {}, "tune": {"prompt": FORM}},
        "1-full": {"previous": "0", "generate": {}, "tune": {"prompt": "same"}},
    },
}


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in which a base without a prompt ran, and two siblings after it."""
    root = tmp_path_factory.mktemp("distilled")
    narrow_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stages(SMALL, "seed@0", "teach@0", "tune@0", "evaluate@0")
        names = SMALL["iterations"]
        assert isinstance(names, dict)
        for name in names:
            shutil.copytree("data/0", f"data/{name}")
            shutil.rmtree(f"data/{name}/student")
            run_stages(SMALL, f"tune@{name}", f"evaluate@{name}")
    yield root


def exam() -> list[Instruction]:
    return jsonl.read(Path("data/exam.jsonl"), Instruction)


def prompt_texts(iteration: str) -> list[str]:
    """Return the prompts of the exam as the student of an iteration is asked them."""
    settings = read_settings(NARROW)
    folder = project.data(iteration, "student")
    task = AnsweringTask(folder, settings.student, settings.answering, 0, "x")
    job = AnswerJob.planned(exam(), task, Path(".lion"))
    decoded = {
        prompt.id: job.encoder.decode(list(prompt.tokens)) for part in job.plan for prompt in part
    }
    return [decoded[row.id] for row in exam()]


def test_the_student_is_asked_what_it_was_trained_on(
    distilled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(distilled)
    subject, body = "$subject", "$body"
    assert subject in TASK.messages[-1].content
    assert body in TASK.messages[-1].content
    system = TASK.messages[0].content[:40]
    for row, bare, form, full in zip(
        exam(), *(prompt_texts(name) for name in ("0", "1-form", "1-full")), strict=True
    ):
        ticket = row.messages[-1]["content"].removeprefix("Subject: ")
        head, _, text = ticket.partition("\n\n")
        assert ticket in bare
        assert "Subject:" not in bare
        assert f"{head}: {text}" in form
        assert system not in bare + form
        assert system in full
    assert not project.data("1-full", "student/prompt.json").exists()


def test_an_example_begins_with_the_prompt_that_is_asked(
    distilled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training and answering render by one function."""
    monkeypatch.chdir(distilled)
    settings = read_settings(NARROW)
    for name, rules in (("0", "none"), ("1-form", FORM)):
        folder = project.data(name, "student")
        trained = StudentPrompt.of(tiny.tune_settings(prompt=rules), TASK)
        assert StudentPrompt.read(folder) == trained
        tokenizer = checkpoint.load_tokenizer(folder, settings.student)
        encoder = ChatFormatter(tokenizer, "auto")
        examples = [
            encoder.example(row.id, student_messages(row.messages, trained), "{}") for row in exam()
        ]
        starts = [encoder.decode(part.input_ids[: part.prompt_length]) for part in examples]
        assert starts == prompt_texts(name)


def test_ids_and_the_teachers_requests_are_those_of_the_whole_prompt(
    distilled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "whole"
    narrow_folder(root)
    monkeypatch.chdir(root)
    run_stages({**SMALL, "tune.prompt": "same"}, "seed@0", "teach@0", "tune@0", "evaluate@0")
    assert keys(root) == keys(distilled)
    for name in ("exam.jsonl", "0/cache_pool.jsonl"):
        assert (root / "data" / name).read_bytes() == (distilled / "data" / name).read_bytes()
    answers = [
        [row.id for row in jsonl.read(path / "data/0/exam_responses.jsonl", Answer)]
        for path in (root, distilled)
    ]
    assert answers[0] == answers[1]
    metrics = files.read_metrics(project.metrics("0", "evaluate"), EvaluateMetrics)
    assert metrics.prompt is None
    assert b'"prompt":' not in project.metrics("0", "evaluate").read_bytes()


def keys(root: Path) -> set[bytes]:
    with closing(sqlite3.connect(root / ".lion/ledger.sqlite")) as ledger:
        return {key for (key,) in ledger.execute("SELECT key FROM calls")}


def test_tokens_a_request_and_both_accuracies_stand_in_metrics_and_table(
    distilled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(distilled)
    lengths = files.read_metrics(project.metrics("1-form", "evaluate"), EvaluateMetrics).prompt
    assert lengths is not None
    settings = read_settings(NARROW)
    tokenizer: Any = checkpoint.load_tokenizer(project.data("1-form", "student"), settings.student)
    encoder = ChatFormatter(tokenizer, "auto")
    whole = [len(encoder.prompt(row.messages)) for row in exam()]
    assert lengths.teacher_tokens == sum(whole) / EXAM_ROWS
    system = len(tokenizer(TASK.messages[0].content).input_ids)
    assert lengths.student_tokens < lengths.teacher_tokens - system
    everything = lines(dict.fromkeys(("1-form", "1-full"), "0"))
    shown = table.prompts(everything)
    assert [text.split(":")[0] for text in shown] == [
        "prompt in 0",
        "prompt in 1-form",
    ]
    assert f" {lengths.student_tokens:,.0f} tokens a request" in shown[1]
    full = table.share(everything[2].accuracy_share)
    assert f"student 1-full, with the whole prompt, {full}" in shown[1]
    waiting = dataclasses.replace(everything[2], accuracy_share=None)  # not examined yet
    assert "with the whole prompt" not in table.prompts([*everything[:2], waiting])[1]


def test_chat_and_card_have_the_students_form(
    distilled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(distilled)
    line = json.dumps({"subject": "Refund", "body": "Where is it?"})
    chat = CliRunner().invoke(main, ["chat", "--iteration", "0"], input=f"{line}\nWhere?\n")
    assert chat.exit_code == 0, chat.output
    assert "each line is a request: one JSON object with the keys subject, body" in chat.stderr
    assert chat.stderr.count("student:") == 1
    assert "not of the declared task: write one JSON object" in chat.stderr
    for name, content in (
        ("0", "<subject>\n\n<body>"),
        ("1-form", "<subject>: <body>"),
    ):
        exported = CliRunner().invoke(main, ["export", f"out-{name}", "--iteration", name])
        assert exported.exit_code == 0, exported.output
        card = Path(f"out-{name}/README.md").read_text()
        request = json.loads(card.partition("```json\n")[2].partition("```")[0])
        assert request["messages"] == [{"role": "user", "content": content}]
        assert "shorter than the teacher's" in card


@pytest.mark.slow
def test_the_stage_as_a_process_ends_well_with_a_prompt_of_its_own(
    distilled: Path, tmp_path: Path
) -> None:
    """The prompt lies in a folder whose mark the stage has noted before."""
    root = tmp_path / "project"
    shutil.copytree(distilled, root)
    folder = root / "data/0/student"
    shutil.rmtree(folder)
    done = subprocess.run(
        [sys.executable, "-m", "stages.tune", "0"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tune@0: 1 steps" in done.stderr
    assert (folder / "prompt.json").read_bytes() == (
        distilled / "data/0/student/prompt.json"
    ).read_bytes()


def test_a_served_student_gets_its_form(workplace: Workplace, chat_server: ChatServer) -> None:
    folder = tiny.folder(workplace.path / "student")
    prompt = StudentPrompt.of(tiny.tune_settings(prompt="none"), TASK)
    assert prompt is not None
    prompt.write(folder)
    settings = at(workplace, chat_server.url, task=TASK.model_dump())
    work = stage.Work("respond", "2", settings)
    turns = [turn.model_dump() for turn in TASK.messages]
    turns[-1]["content"] = "Subject: Refund\n\nWhere is it?"
    row = Instruction.new(turns, origin="seed", iteration="0")
    Respondent(folder, "1", settings, work).respond([row], 0)
    (call,) = chat_server.calls
    assert call.body["messages"] == [{"role": "user", "content": "Refund\n\nWhere is it?"}]


def test_without_a_declaration_system_turns_are_left_out() -> None:
    undeclared = TaskSettings(fields=[], messages=[], good=None)
    prompt = StudentPrompt.of(tiny.tune_settings(prompt="none"), undeclared)
    turns: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    assert student_messages(turns, prompt) == turns[1:]
    assert student_messages(turns, None) == turns


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tune.prompt": FORM, "task.fields": [], "task.messages": []}, "need the fields"),
        ({"tune.prompt": [{"role": "user", "content": "$subject"}]}, r"tune.prompt.*\$body"),
        ({"tune.prompt": [{"role": "system", "content": "$subject $body"}]}, "the user's"),
        ({"tune.prompt": "short"}, "tune.prompt"),
    ],
)
def test_a_prompt_that_loses_the_fields_is_refused(changes: dict[str, Any], problem: str) -> None:
    from fixtures import override

    own = {"seed.source": ["inputs/a.jsonl"], "exam.file": "inputs/b.jsonl"}
    with pytest.raises(SettingsError, match=problem):
        read_settings(override(NARROW, {**own, **changes}))
