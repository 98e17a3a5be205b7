"""Standard exams before a real tiny student and a referee on loopback."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from click.testing import CliRunner
from fake_server import Behaviour, Call, ChatServer, says
from fixtures import Workplace

from lion.cli import main
from lion.evaluation import likelihood
from lion.generation import seed_pool
from lion.generation.filters import decontamination
from lion.metrics import files
from lion.metrics.exams import ExamineMetrics, ReasoningMetrics
from lion.pipeline.stage import Work
from lion.readers import official_exams
from lion.student import chat_format, checkpoint
from stages import examine

MOVIES = [
    {"input": f"Find {n}:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big", "target": f"({'ABC'[n % 3]})"}
    for n in range(9)
]


@pytest.fixture
def bbh(workplace: Workplace) -> Path:
    folder = workplace.path / "inputs/bbh"
    folder.mkdir()
    document = {"canary": "x", "examples": MOVIES}
    (folder / "movie_recommendation.json").write_text(json.dumps(document))
    tiny.folder(workplace.path / "data/1/student")
    return folder


def exams(scoring: str) -> dict[str, Any]:
    return {
        "exams": {
            "students": ["1"],
            "folders": ["inputs/bbh"],
            "scoring": scoring,
            "max_tokens": 4,
        },
        "evaluate.resamples": 100,
    }


@pytest.mark.usefixtures("bbh")
@pytest.mark.parametrize("scoring", ["first_letter", "likelihood"])
def test_a_student_sits_the_exam(workplace: Workplace, scoring: str) -> None:
    settings = workplace.params(exams(scoring))
    sentence = examine.main(Work("examine", "1", settings))
    found = files.read_metrics(Path("metrics/1/examine.json"), ExamineMetrics).exams["bbh"]
    assert found.items == 9 and found.subset is True
    assert found.chance_percent == pytest.approx(100 / 3)
    averages = files.read_metrics(Path("metrics/1/reasoning.json"), ReasoningMetrics)
    assert (averages.bbh_percent, averages.agieval_percent) == (found.average_percent, None)
    assert "a subset: 9 of 5,511 items" in sentence
    if scoring == "likelihood":
        assert found.unread_percent == 0


def test_the_likeliest_letter_is_the_models(workplace: Workplace, bbh: Path) -> None:
    """Against one unpadded forward pass an option, at any batch size."""
    folder, settings = workplace.path / "data/1/student", tiny.student_settings()
    items = official_exams.read_items(bbh)
    model, tokenizer = checkpoint.load_student(folder, settings)
    encoder = chat_format.ChatFormatter(tokenizer, "auto")

    def score(prompt: list[int], letter: str) -> float:
        tokens = tokenizer(letter, add_special_tokens=False).input_ids
        with torch.inference_mode():
            logs = model(torch.tensor([[*prompt, *tokens]])).logits[0].log_softmax(-1)
        return sum(float(logs[len(prompt) - 1 + k, t]) for k, t in enumerate(tokens))

    expected = []
    for item in items:
        prompt = encoder.prompt(item.instruction().messages)
        expected.append(max(item.letters, key=lambda letter: score(prompt, letter)))
    for size in (1, 4, 64):
        found = likelihood.likeliest(items, student=folder, settings=settings, batch_size=size)
        assert found == expected


def test_what_does_not_fit_the_context_is_unread(workplace: Workplace, bbh: Path) -> None:
    long = {"input": "so " * 300 + "\nOptions:\n(A) x\n(B) y", "target": "(A)"}
    (bbh / "snarks.json").write_text(json.dumps({"examples": [long]}))
    items = official_exams.read_items(bbh)
    found = likelihood.likeliest(
        items,
        student=workplace.path / "data/1/student",
        settings=tiny.student_settings(),
        batch_size=4,
    )
    assert [one is None for one in found] == [item.task == "snarks" for item in items]


@pytest.mark.usefixtures("bbh")
def test_the_exams_questions_stay_out_of_the_pools(workplace: Workplace) -> None:
    settings = workplace.params(exams("stated"))
    rows = seed_pool.further_exams(settings.decontaminate, settings.exams)
    assert len(rows) == len(MOVIES)
    guard = decontamination.guard(rows, settings.decontaminate)
    assert guard.find_overlap(f"Please help. {rows[0].messages[0]['content']}") is not None


# --- open questions ---------------------------------------------------------------------------

_ANSWER = re.compile(r"^\[Answer of Assistant \d \w+\]\n(.*)$", re.MULTILINE)


def judge(call: Call) -> Behaviour:
    """Score an answer by its length; favour the first place by one."""
    first, second = (len(answer) for answer in _ANSWER.findall(call.question))
    if "first line" in call.question:
        return says(f"{first + 1} {second}\nBecause.")
    return says(f"Because.\nScore of Assistant 1: {first + 1}\nScore of Assistant 2: {second}")


@pytest.mark.parametrize(("setting", "quality"), [("1", 100 * 8 / 14), ("2", 100 * 9 / 13)])
def test_the_referee_compares_answers_of_files(
    workplace: Workplace, chat_server: ChatServer, setting: str, quality: float
) -> None:
    """Two questions; 6 against 4 characters. One order favours its first place, two do not."""
    chat_server.answer = judge
    at = {"base_url": chat_server.url, "api_key_env": None}
    workplace.params({f"referee.{name}": value for name, value in at.items()})
    names = ("question", "reference", "candidate")
    texts = ("What is {}?", "six{:03}", "{:04}")
    for name, text in zip(names, texts, strict=True):
        rows = [{"question_id": n, "text": text.format(n), "category": "x"} for n in range(2)]
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["exam", "open", *names, "--setting", setting, "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["figures"]
    assert found["quality"]["value_percent"] == pytest.approx(quality)
    assert (found["win"], found["loss"]) == (0, 2)
    assert found["length_controlled_win_rate"] is not None
    assert len(chat_server.calls) == 2 * int(setting)


@pytest.mark.usefixtures("workplace")
def test_a_side_that_is_nothing_is_told() -> None:
    Path("q").write_text('{"id": 1, "question": "?"}\n')
    done = CliRunner().invoke(main, ["exam", "open", "q", "nowhere", "teacher"])
    assert done.exit_code == 1
    assert "nowhere: neither a file of answers nor a student's folder" in done.output
