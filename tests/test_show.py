"""`lion show`: filters and orders against plain Python."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fixtures import Workplace
from msgspec.structs import replace
from pooled import drawn, instruction, project, verdict

from lion.cli import main
from lion.config.project import ledger, load_settings
from lion.llm.calls import Call, Entry
from lion.llm.ledger import Ledger
from lion.prompting import protocol, teacher, templates
from lion.records import jsonl
from lion.records.rows import Answer, Instruction


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def shown(*arguments: str) -> list[dict[str, Any]]:
    found = lion("show", "--json", "-n", "0", *arguments)
    assert found.exit_code == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Two judged iterations; returns every row as `lion show` without a filter has it."""
    rng = random.Random(0)
    rows = drawn(rng, 30)
    for key in ("1", "2"):
        judged = rng.sample(rows, 30)
        project(
            tmp_path,
            key,
            rows,
            [verdict(row.id, rng.choice([None, 0.0, 1.0, 3.0, 4.5])) for row in judged],
            [Answer(row.id, f"of {key}", "stop", "s") for row in judged],
        )
    monkeypatch.chdir(tmp_path)
    return shown()


def test_a_row_has_its_latest_verdict_and_the_answer_it_judged(pool: Any) -> None:
    verdicts = {
        key: {
            row["id"]: row
            for row in map(json.loads, Path(f"data/{key}/verdicts.jsonl").read_text().splitlines())
        }
        for key in ("1", "2")
    }
    for row in pool:
        latest = next((key for key in ("2", "1") if row["id"] in verdicts[key]), None)
        assert row["judged"] == latest
        if latest:
            assert row["gap"] == verdicts[latest][row["id"]]["gap"]
            assert row["student"] == f"of {latest}"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--hard"], lambda row: row["difficulty"] == "hard"),
        (["--undecided"], lambda row: row["difficulty"] == "undecided"),
        (["--gap", "3.."], lambda row: row["gap"] is not None and row["gap"] >= 3),
        (["--gap", "..0"], lambda row: row["gap"] is not None and row["gap"] <= 0),
        (["--gap", "1..3", "--hard"], lambda row: row["gap"] in (1.0, 3.0)),
        (["--domain", "writing"], lambda row: row["domain"] == "writing"),
        (["--origin", "hard", "--iteration", "2"], lambda row: (row["origin"], row["iteration"])
         == ("hard", "2")),
        (["--search", "RIVER"], lambda row: "river" in f"{row['instruction']}\n{row['teacher']}"),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_plain_python_keeps(options: list[str], wanted: Any, pool: Any) -> None:
    expected = [row["id"] for row in pool if wanted(row)]
    assert 0 < len(expected) < len(pool)
    assert [row["id"] for row in shown(*options)] == expected


def test_a_sort_is_stable_and_ends_with_what_has_no_gap(pool: Any) -> None:
    known = [row for row in pool if row["gap"] is not None]
    unknown = [row for row in pool if row["gap"] is None]
    expected = sorted(known, key=lambda row: -row["gap"]) + unknown
    assert shown("--sort=-gap") == expected


def test_the_beginning_of_an_id_will_do(pool: Any) -> None:
    child = next(row for row in pool if row["parent"])
    assert [row["id"] for row in shown("--id", child["id"][:12])] == [child["id"]]
    assert child in shown("--parent", child["parent"][:12])


@pytest.mark.usefixtures("pool")
def test_a_range_that_is_none_is_refused() -> None:
    found = lion("show", "--gap", "three")
    assert found.exit_code != 0
    assert "3.." in found.stderr


def test_the_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    jsonl.write(path, [instruction("red \x1b[31m \u202e [bold]text[/bold]", answer="\x07bell")])
    told = lion("show", str(path)).stdout
    assert "\\x1b[31m" in told and "\\u202e" in told and "\\x07bell" in told
    assert "[bold]text[/bold]" in told
    assert not set(told) & {"\x1b", "\u202e", "\x07"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--hard", "--iteration", "3"], "--iteration 3 leaves none of "),
        (["--iteration", "3"], "--iteration 3 leaves none of 60 rows (theirs: 0, 1, 2)"),
        (["--gap", "9.."], "--gap 9.. leaves none of 60 rows"),
        (["--search", "zebra", "--gap", "0.."], "--search zebra leaves none of "),
        (["--domain", "law"], "--domain law leaves none of 60 rows (theirs: code, writing)"),
        (["--undecided", "--gap", "1.."], "--gap 1.. leaves none of "),
    ],
)
@pytest.mark.usefixtures("pool")
def test_an_empty_result_names_the_filter_that_emptied_it(
    options: list[str], sentence: str
) -> None:
    result = lion("show", *options)
    assert result.exit_code == 0
    assert "0 of 0 rows; the pool has 60" in result.stderr
    assert sentence in " ".join(result.stderr.split())
    assert "leaves none" not in lion("show", "-n", "1").stderr


def keep_in_ledger(row: Instruction, text: str) -> None:
    """Add a reply of the teacher to the ledger, as params ask for it."""
    settings = load_settings()
    prompts = templates.load(Path("prompts/teacher"), "teacher")
    request = teacher.answer_request(row, prompts)
    body = protocol.canonical(protocol.body(request, settings.teacher, settings.random_seed))
    key = protocol.key(settings.teacher, body, 0)
    message = {"role": "assistant", "content": text}
    reply = {"choices": [{"message": message, "finish_reason": "stop"}], "model": "oracle-1"}
    with Ledger(ledger()) as opened:
        opened.write([Entry(key, body, 0, json.dumps(reply).encode(), Call("embedded"))])


def test_several_students_stand_side_by_side_on_the_exam(workplace: Workplace) -> None:
    """A case study: one row that both have, wrong at first and right later."""
    workplace.params({})
    rows = [replace(instruction(text, answer=None), expected="yes") for text in ("A?", "B?")]
    jsonl.write(Path("data/exam.jsonl"), rows)
    for name, texts in {"0": ["no", "no"], "1": ["yes"], "2": ["yes", "no"]}.items():
        answers = [
            Answer(row.id, text, "stop", "s") for row, text in zip(rows, texts, strict=False)
        ]
        jsonl.write(Path(f"data/{name}/exam_responses.jsonl"), answers)
    keep_in_ledger(rows[0], "yes")
    result = lion("show", "--exam", "--student", "0", "--student", "2", "--json")
    assert result.exit_code == 0, result.stderr
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["teacher"] == {"text": "yes", "correct": True}
    assert first["students"] == {
        "0": {"text": "no", "correct": False},
        "2": {"text": "yes", "correct": True},
    }
    assert second["teacher"] is None
    text = lion("show", "--exam", "--student", "0", "--student", "1", "--wrong").stdout
    assert "student 0, wrong: no" in text
    assert "student 1, right: yes" in text
    assert "B?" not in text, "the second row has no answer of student 1"
    assert lion("show", "--student", "1").exit_code == 2


def test_wrong_exam_rows_show_expected_teacher_student_and_what_differs(
    workplace: Workplace,
) -> None:
    """Of four rows the student failed two; the ledger has the teacher's answer to one of them."""
    workplace.params({})
    expected = '{"label": "refund", "urgency": 2}'
    rows = [
        replace(instruction(f"Ticket {number}", answer=None), expected=expected)
        for number in range(4)
    ]
    wrong = '{"label": "refund", "urgency": 3, "note": "x"}'
    answers = [expected, wrong, "no JSON at all", expected]
    jsonl.write(Path("data/exam.jsonl"), rows)
    jsonl.write(
        Path("data/1/exam_responses.jsonl"),
        [Answer(row.id, text, "stop", "s") for row, text in zip(rows, answers, strict=True)],
    )
    keep_in_ledger(rows[1], expected)
    result = lion("show", "--exam", "--wrong", "--json")
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 rows; the exam has 4" in result.stderr
    first, second = (json.loads(text) for text in result.stdout.splitlines())
    assert first == {
        "id": rows[1].id,
        "category": None,
        "input": "Ticket 1",
        "question": "Ticket 1",
        "expected": expected,
        "teacher": expected,
        "student": wrong,
        "teacher_correct": True,
        "student_correct": False,
        "differing": ["urgency", "note"],
        "teacher_points": None,
        "student_points": None,
        "reasons": [],
    }
    assert (second["teacher"], second["differing"]) == (None, [])
    text = lion("show", "1", "--exam", "--wrong").stdout
    assert "student wrong  teacher right" in text
    assert "differ in: urgency, note" in text
    assert lion("show", "--wrong").exit_code == 2
    assert "data/2/exam_responses.jsonl: workspace has none" in lion("show", "2", "--exam").stderr
