# ruff: noqa: E501 - each row of a data set stands on a line, as in its file
"""Files as the field has them: no text of a row is lost in reading."""

import json
from pathlib import Path
from typing import Any

import pytest

from lion.config.settings import TaskSettings
from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.readers.files import Loaded, read_rows


def rows(folder: Path, *values: Any, task: TaskTemplate | None = None) -> Loaded:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return read_rows(path, task)


def turns(*texts: str) -> list[dict[str, str]]:
    """Return user and assistant in turn; the text after `system:` of a system turn."""
    first = [{"role": "system", "content": texts[0][7:]}] if texts[0].startswith("system:") else []
    rest = texts[len(first) :]
    return first + [
        {"role": ("user", "assistant")[place % 2], "content": text}
        for place, text in enumerate(rest)
    ]


ROWS: dict[str, tuple[Any, list[dict[str, str]], str | None]] = {
    "Alpaca": ({"instruction": "Sort.", "input": "b a", "output": "a b"}, turns("Sort.\n\nb a"), "a b"),
    "Dolly": (
        {"instruction": "Who met?", "context": "Anna met Ben.", "response": "Anna, Ben"},
        turns("Who met?\n\nAnna met Ben."), "Anna, Ben",
    ),
    "OpenOrca": (
        {"system_prompt": "Be a pirate.", "question": "What is a brick?", "response": "Arr."},
        turns("system:Be a pirate.", "What is a brick?"), "Arr.",
    ),
    "LLaMA-Factory": (
        {"instruction": "Its capital?", "input": "", "output": "Lisbon", "system": "Be brief.",
         "history": [["West of Spain?", "Portugal"]]},
        turns("system:Be brief.", "West of Spain?", "Portugal", "Its capital?"), "Lisbon",
    ),
    "LLaMA-Factory, query": (
        {"prompt": "Translate.", "query": "bonjour", "response": "good day"},
        turns("Translate.\n\nbonjour"), "good day",
    ),
    "TRL": ({"prompt": "Say hi.", "completion": "Hi."}, turns("Say hi."), "Hi."),
    "preferences": ({"prompt": "Say hi.", "chosen": "Hi.", "rejected": "Go away now."}, turns("Say hi."), "Hi."),
    "inputs": ({"instruction": "Sort.", "inputs": "c b a", "outputs": "a b c"}, turns("Sort.\n\nc b a"), "a b c"),
    "FLAN": ({"inputs": "Is it so? It is.", "targets": "yes"}, turns("Is it so? It is."), "yes"),
    "MATH": ({"problem": "2+2?", "solution": "It is $4$.", "level": "1"}, turns("2+2?"), "It is $4$."),
    "GSM8K": ({"question": "How many?", "answer": "3+4\n#### 7"}, turns("How many?"), "3+4\n#### 7"),
    "ShareGPT with a prompt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ahoy"}],
         "system_prompt": "Be a pirate."},
        turns("system:Be a pirate.", "Hi"), "Ahoy",
    ),
    "MMLU": (
        {"question": "Largest?", "subject": "astronomy", "choices": ["Mars", "Jupiter"], "answer": 1},
        turns("Largest?\nOptions:\n(A) Mars\n(B) Jupiter"), "B",
    ),
    "MMLU, a letter": (
        {"question": "Largest?", "choices": ["Mars", "Jupiter"], "answer": "B"},
        turns("Largest?\nOptions:\n(A) Mars\n(B) Jupiter"), "B",
    ),
    "MMLU, columns": (
        {"question": "Which?", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "C"},
        turns("Which?\nOptions:\n(A) w\n(B) x\n(C) y\n(D) z"), "C",
    ),
    "MMLU-Pro": (
        {"question_id": 70, "question": "Which gas?", "options": ["Oxygen", "Neon"], "answer": "B",
         "answer_index": 1, "category": "biology"},
        turns("Which gas?\nOptions:\n(A) Oxygen\n(B) Neon"), "B",
    ),
    "ARC": (
        {"question": "What bends light?", "choices": {"text": ["glass", "air"], "label": ["A", "B"]},
         "answerKey": "A"},
        turns("What bends light?\nOptions:\n(A) glass\n(B) air"), "A",
    ),
    "ARC, numbers": (
        {"question": "What?", "choices": {"text": ["glass", "air"], "label": ["1", "2"]}, "answerKey": "2"},
        turns("What?\nOptions:\n(1) glass\n(2) air"), "2",
    ),
    "CommonsenseQA": (
        {"question": {"stem": "Where?", "choices": [{"label": "A", "text": "sea"}, {"label": "B", "text": "sky"}]},
         "answerKey": "B"},
        turns("Where?\nOptions:\n(A) sea\n(B) sky"), "B",
    ),
    "HellaSwag": (
        {"ctx": "She opens the door and", "endings": ["flies.", "goes in."], "label": "1"},
        turns("She opens the door and\nOptions:\n(A) flies.\n(B) goes in."), "B",
    ),
    "the text of an option": (
        {"question": "Largest?", "options": {"A": "Mars", "B": "Jupiter"}, "answer": "Jupiter"},
        turns("Largest?\nOptions:\n(A) Mars\n(B) Jupiter"), "B",
    ),
    "AGIEval, letters without marks": (
        {"passage": None, "question": "x?", "options": ["A Bern", "C Rome", "B Oslo"], "label": "B"},
        turns("x?\nOptions:\nA Bern\nC Rome\nB Oslo"), "B",
    ),
    "AGIEval keeps its letters": (
        {"passage": None, "question": "x?", "options": ["(A)2", "(B)4"], "label": "B"},
        turns("x?\nOptions:\n(A)2\n(B)4"), "B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_read_by_the_names_of_its_data_set(name: str, tmp_path: Path) -> None:
    value, messages, expected = ROWS[name]
    loaded = rows(tmp_path, value)
    assert loaded.problems == ()
    (row,) = loaded.rows
    assert list(row.messages) == messages
    assert row.expected == expected
    assert row.unread == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"question": "Which?", "choices": ["a", "b"], "answer": "Z"}, "'Z' is no option"),
        ({"question": "Which?", "choices": ["a", "b"], "answer": 2}, "2 is no option"),
        ({"question": "Which?", "choices": [1, 2], "answer": 0}, "choices"),
        ({"question": "Which?", "choices": {"text": ["a"], "label": ["A", "B"]}}, "choices"),
        ({"instruction": "Why?", "history": ["before"]}, "history: pairs"),
        (
            {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
             "system": "c"},
            "begins with a system turn already",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_problem_with_its_line(
    value: Any, words: str, tmp_path: Path
) -> None:
    loaded = rows(tmp_path, {"instruction": "Fine."}, value)
    assert len(loaded.rows) == 1
    (problem,) = loaded.problems
    assert problem.line == 2
    assert words in problem.what


def test_text_that_nobody_reads_is_counted_by_its_key(tmp_path: Path) -> None:
    value = {"instruction": "Sum up.", "article": "A long text.", "id": "a b", "topic": "two words"}
    assert rows(tmp_path, value, value, {"instruction": "Sort."}).unread == {"article": 2}


def test_a_key_that_stands_twice_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a b c", "input": "x", "input": "y"}\n{"instruction": "b"}\n')
    loaded = read_rows(path)
    assert [problem.what for problem in loaded.problems] == [
        "the key 'input' stands twice; keep one of them"
    ]
    assert len(loaded.rows) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("instruction,input\nSort.\n", "fewer cells than the header has"),
        ("instruction, input \nSort.,b a\n", None),
        ('instruction,input\n"Sort\nit.",b a\n', None),
    ],
)
def test_a_table_is_read_or_its_rows_are_problems(
    text: str, words: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    loaded = read_rows(path)
    assert [problem.what for problem in loaded.problems] == ([words] if words else [])
    assert all("b a" in row.messages[0]["content"] for row in loaded.rows)
    assert len(loaded.rows) + len(loaded.problems) == 1


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("instruction,,input", "column 2 has no name"),
        ("instruction,input,instruction", "'instruction' stands twice"),
        ("instruction;input", "separated by `;`"),
    ],
)
def test_a_header_that_cannot_be_told_apart_is_refused(
    header: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\na,b,c\n")
    with pytest.raises(DataError, match=words):
        read_rows(path)


TASK = TaskTemplate.declared(
    TaskSettings.model_validate(
        {
            "fields": ["subject", "body"],
            "messages": [
                {"role": "system", "content": "To JSON."},
                {"role": "user", "content": "$subject: $body"},
            ],
            "good": None,
        }
    )
)


def test_fields_and_conversations_of_a_task_are_the_same_rows(tmp_path: Path) -> None:
    fields = {"subject": "Hi", "body": "Broken.", "expected": {"label": "defect"}}
    whole = {"messages": [*turns("system:To JSON.", "Hi: Broken."),
                          {"role": "assistant", "content": '{"label": "defect"}'}]}  # fmt: skip
    loaded = rows(tmp_path, fields, whole, {"instruction": "Another task."}, task=TASK)
    first, second = loaded.rows
    assert first.messages == second.messages
    assert first.expected == second.expected
    (problem,) = loaded.problems
    assert "the fields of the task (subject, body)" in problem.what
