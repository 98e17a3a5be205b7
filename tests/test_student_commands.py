"""What people do with a student, as they type it."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner, Result
from fake_server import ChatServer, refuses
from fixtures import Workplace
from huggingface_hub import ModelCard
from running import Finished
from transformers import AutoModelForCausalLM

from lion.cli import main
from lion.cli.student import chosen_student
from lion.config import project
from lion.errors import ModelError
from lion.records import jsonl
from lion.records.rows import Instruction, TeacherAnswer
from lion.serving import server
from lion.student.checkpoint import Pointer


def lion(*arguments: str, says: str = "") -> Result:
    return CliRunner().invoke(main, list(arguments), input=says)


@pytest.fixture
def run(workplace: Workplace, chat_server: ChatServer, finished: Finished) -> Workplace:
    """Make a project in which iteration 1 has ended; its teacher is at a real endpoint.

    Its metrics are those of a real run.
    """
    workplace.params(
        {
            "teacher.base_url": chat_server.url,
            "teacher.model": "expensive-1",
            "teacher.api_key_env": None,
            "student.model": "base",
            "student.threads": None,
            "seed.source": ["inputs/tasks.jsonl"],
        }
    )
    tiny.folder(Path("base"))
    Pointer("folder", "base").write(project.BASE_STUDENT)
    for name in ("0", "1"):
        tiny.folder(project.data(name, "student"), template=tiny.CHATML)
    made = Instruction.new([{"role": "user", "content": "a"}], origin="seed", iteration="0")
    rows = [
        Instruction(
            **{**_fields(made), "origin": origin, "answer": TeacherAnswer("b", "stop", "x")}
        )
        for origin in ("seed", "seed", "hard", "easy")
    ]
    jsonl.write(project.data("1", "cache_pool.jsonl"), rows)
    shutil.copytree(finished.project.root / "metrics", "metrics")
    return workplace


def _fields(row: Instruction) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


@pytest.mark.usefixtures("run")
def test_a_student_is_talked_to_beside_its_teacher(chat_server: ChatServer) -> None:
    said = lion("chat", "--beside", "teacher", "--iteration", "1", says="first\nsecond\n\nthird\n")
    assert said.exit_code == 0, said.stderr
    assert "student 1;" in said.stderr
    assert said.stderr.count("student:") == 3
    assert "teacher:\nto: first" in said.stderr
    first, second, third = [call.body["messages"] for call in chat_server.calls]
    assert [turn["role"] for turn in second] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in second if turn["role"] == "user"] == ["first", "second"]
    assert [turn["content"] for turn in third if turn["role"] == "user"] == ["third"], "begun anew"
    assert len(first) == 2
    again = lion("chat", "--beside", "teacher", says="first\n")
    assert "to: first" in again.stderr
    assert len(chat_server.calls) == 3, "what the ledger has is not paid again"


@pytest.mark.usefixtures("run")
def test_an_answer_streams_to_standard_output() -> None:
    said = lion("chat", "--temperature", "0", says="Reverse the letters\n")
    assert said.exit_code == 0, said.stderr
    assert len(said.stdout.removeprefix("you: ").strip()) > 3
    assert lion("chat", "--temperature", "0", says="Reverse the letters\n").stdout == said.stdout


@pytest.mark.usefixtures("run")
def test_a_failing_teacher_does_not_end_the_talk(chat_server: ChatServer) -> None:
    chat_server.answer = refuses(400, "no such thing")
    said = lion("chat", "--beside", "teacher", says="first\n")
    assert "no such thing" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_baselines_student_is_exported_by_name_alone(run: Workplace) -> None:
    """So it can be served, which its exam needs where `student.endpoint` is set."""
    settings = project.load_settings()
    lines = {"given-1": {"previous": "0", "like": "1", "rows": "given"}}
    run.params({**settings.model_dump(), "baselines": lines})
    for name in ("student", "cache_pool.jsonl"):
        source, copy = (project.data(key, name) for key in ("1", "given-1"))
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    done = lion("export", "out", "--iteration", "given-1")
    assert done.exit_code == 0, done.stderr
    assert "student given-1 is in out" in done.stderr
    assert "base → student 0 → student given-1" in Path("out/README.md").read_text()
    assert chosen_student("given-1")[1:] == ("given-1", project.data("given-1", "student"))
    assert chosen_student(None)[1] == "1"
    assert "params.yaml has 0, 1, 2, 3, given-1" in lion("chat", "--iteration", "9").stderr


def test_a_student_that_is_not_there_is_told(workplace: Workplace) -> None:
    assert workplace.path.exists()
    for command in ("chat", "serve-student"):
        told = lion(command)
        assert told.exit_code == 1
        assert "no student is tuned yet. Run `lion run`" in told.stderr
        assert "there is no iteration 9" in lion(command, "--iteration", "9").stderr


def test_an_export_brings_its_card(run: Workplace) -> None:
    (run.path / "base" / "README.md").write_text("---\nlicense: llama3.2\n---\nA base.\n")
    done = lion("export", "out")
    assert done.exit_code == 0, done.stderr
    AutoModelForCausalLM.from_pretrained("out")
    card = ModelCard.load("out/README.md")
    assert card.data.license == "llama3.2"
    assert card.data.base_model == "base"
    for fact in (
        "base → student 0 → student 1",
        "4 instructions with the teacher's answers (easy 1, hard 1, seed 2)",
        "Seeds: inputs/tasks.jsonl",
        "the terms of expensive-1's provider apply",
        "learning_rate: 0.005",
    ):
        assert fact in card.text, fact
    assert _row(card.text, "1", "|") == _figures()
    assert str(run.path) not in card.text
    assert "is there already" in lion("export", "out").stderr


@pytest.mark.usefixtures("run")
def test_the_cards_figures_are_those_of_the_table() -> None:
    assert lion("export", "out").exit_code == 0
    _, new, hard, accuracy, _, quality = _figures()
    row = _row(lion("table").stdout, "1", " ")
    assert [row[1], row[3], row[5], row[6]] == [new, hard, accuracy, quality]
    assert _row(ModelCard.load("out/README.md").text, "0", "|")[2] == "-"  # the base is not split


def _figures() -> list[str]:
    """Return what the metrics of iteration 1 say, as the card has it."""
    evaluate, split, generate = (
        json.loads(project.metrics("1", stage).read_bytes())
        for stage in ("evaluate", "split", "generate")
    )
    shares = (split["hard_share"], evaluate["accuracy_share"], evaluate["teacher_accuracy_share"])
    percents = [*(100 * share for share in shares), evaluate["quality_percent"]]
    return ["1", f"{generate['new']:,}", *(f"{one:.1f} %" for one in percents)]


def _row(text: str, iteration: str, start: str) -> list[str]:
    """Return the cells of an iteration's row in a table whose lines begin with `start`."""
    rows = (
        [cell.replace("_", " ") for cell in line.replace(" %", "_%").replace("|", " ").split()]
        for line in text.splitlines()
        if line.startswith(start)
    )
    return next(row for row in rows if row and row[0] == iteration)


@pytest.mark.usefixtures("run")
def test_a_licence_that_nobody_names_is_unknown() -> None:
    assert lion("export", "out", "--iteration", "1").exit_code == 0
    card = ModelCard.load("out/README.md")
    assert card.data.license is None
    assert "* base model: unknown" in card.text
    assert lion("export", "named", "--licence", "apache-2.0").exit_code == 0
    assert ModelCard.load("named/README.md").data.license == "apache-2.0"


def test_a_delta_is_made_and_recovered(run: Workplace) -> None:
    assert lion("export", "out").exit_code == 0
    made = lion("delta", "make", "out", "base", "delta")
    assert "tensors as differences and 0 whole in delta" in made.stderr
    back = lion("delta", "recover", "delta", "base", "back")
    assert back.exit_code == 0, back.stderr
    name = "model.safetensors"
    assert (run.path / "back" / name).read_bytes() == (run.path / "out" / name).read_bytes()
    assert json.loads((run.path / "delta" / "delta.json").read_text())["format"] == 1


def test_who_serves_follows_from_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: set[str] = set()
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: name in installed or None)
    with pytest.raises(ModelError, match=r"lacks fastapi, uvicorn\. Run `pip install vllm`"):
        server.server_command("student-1-ab", "127.0.0.1", 8)
    installed |= {"fastapi", "uvicorn"}
    program, *words = server.server_command("student-1-ab", "127.0.0.1", 8)
    assert Path(program).name == "transformers"
    assert words == ["serve", "student-1-ab", "--host", "127.0.0.1", "--port", "8"]
    installed.add("vllm")
    program, *words = server.server_command("student-1-ab", "127.0.0.1", 8)
    assert Path(program).name == "vllm"
    assert words[:4] == ["serve", "student-1-ab", "--served-model-name", "student-1-ab"]
