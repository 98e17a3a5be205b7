# ruff: noqa: E501 - each row of a data set stands on a line, as in its file
"""Files as the field has them: no text of a row is lost in reading."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lion.config.settings import TaskSettings
from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.readers.field_names import unread
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
    "axolotl, oasst": ({"INSTRUCTION": "Sort.", "RESPONSE": "a b"}, turns("Sort."), "a b"),
    "axolotl, context_qa": (
        {"article": "Anna met Ben.", "question": "Who met?", "answer": "Anna"},
        turns("Who met?\n\nAnna met Ben."), "Anna",
    ),
    "axolotl, camel_ai": ({"message_1": "How so?", "message_2": "So."}, turns("How so?"), "So."),
    "axolotl, metharme": ({"prompt": "Say hi.", "generation": "Hi."}, turns("Say hi."), "Hi."),
    "axolotl, input alone": ({"input": "Say hi.", "output": "Hi."}, turns("Say hi."), "Hi."),
    "Firefly": ({"kind": "NLI", "input": "Is it so?", "target": "yes"}, turns("Is it so?"), "yes"),
    "Cosmopedia": ({"prompt": "Write.", "text": "A text."}, turns("Write."), "A text."),
    "P3": ({"inputs_pretokenized": "So?", "targets_pretokenized": "yes"}, turns("So?"), "yes"),
    "Super-NaturalInstructions": (
        {"definition": "Sort.", "inputs": "b a", "targets": "a b"}, turns("Sort.\n\nb a"), "a b",
    ),
    "HumanEval": (
        {"task_id": "1", "prompt": "def f():", "canonical_solution": "    return 1",
         "entry_point": "f"},
        turns("def f():"), "    return 1",
    ),
    "SQuAD": (
        {"context": "Anna met Ben.", "question": "Who?", "answers": {"text": ["Anna"], "answer_start": [0]}},
        turns("Who?\n\nAnna met Ben."), "Anna",
    ),
    "Natural Questions": ({"question": "Who?", "answer": ["Anna", "Ann"]}, turns("Who?"), "Anna"),
    "TriviaQA": (
        {"question": "Who?", "answer": {"value": "Anna", "aliases": ["Ann"]}}, turns("Who?"), "Anna",
    ),
    "SVAMP": (
        {"Body": "Ann has 2 apples.", "Question": "How many?", "Answer": 4.0, "Type": "Addition"},
        turns("How many?\n\nAnn has 2 apples."), "4",
    ),
    "AIME": ({"ID": "1", "Problem": "2+2?", "Solution": "It is 4.", "Answer": 4}, turns("2+2?"), "4"),
    "TRL, turns": (
        {"prompt": turns("Say hi."), "completion": [{"role": "assistant", "content": "Hi."}]},
        turns("Say hi."), "Hi.",
    ),
    "TRL, turns of a prompt": ({"prompt": turns("Say hi.")}, turns("Say hi."), None),
    "TRL, preferences": (
        {"prompt": turns("Say hi."), "chosen": [{"role": "assistant", "content": "Hi."}],
         "rejected": [{"role": "assistant", "content": "Go away."}]},
        turns("Say hi."), "Hi.",
    ),
    "TRL, preferences without a prompt": (
        {"chosen": turns("Say hi.", "Hi."), "rejected": turns("Say hi.", "Go.")},
        turns("Say hi."), "Hi.",
    ),
    "TRL, a good answer": (
        {"prompt": "Say hi.", "completion": "Hi.", "label": True}, turns("Say hi."), "Hi.",
    ),
    "TRL, a bad answer": (
        {"prompt": "Say hi.", "completion": "Go.", "label": False}, turns("Say hi."), None,
    ),
    "LLaMA-Factory, preferences": (
        {"conversations": [{"from": "human", "value": "Say hi."}],
         "chosen": {"from": "gpt", "value": "Hi."}, "rejected": {"from": "gpt", "value": "Go."}},
        turns("Say hi."), "Hi.",
    ),
    "LMSYS": (
        {"conversation": turns("Hi", "Ho"), "model": "v", "language": "English"}, turns("Hi"), "Ho",
    ),
    "LIMA": ({"conversations": ["Hi", "Ho", "Why?"], "source": "x"}, turns("Hi", "Ho", "Why?"), None),
    "ShareGPT, another bot": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "bing", "value": "Ho"}]},
        turns("Hi"), "Ho",
    ),
    "OpenAI, a developer": (
        {"messages": [{"role": "developer", "content": "Be brief."}, *turns("Hi", "Ho")]},
        turns("system:Be brief.", "Hi"), "Ho",
    ),
    "OpenAI, parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, turns("Hi"), None,
    ),
    "Cohere": (
        {"messages": [{"role": "User", "content": "Hi"}, {"role": "Chatbot", "content": "Ho"}]},
        turns("Hi"), "Ho",
    ),
    "SciQ": (
        {"question": "What bends light?", "distractor1": "air", "correct_answer": "glass",
         "support": "Glass bends."},
        turns("What bends light?\n\nGlass bends."), "glass",
    ),
    "TruthfulQA": ({"question": "What?", "best_answer": "Nothing"}, turns("What?"), "Nothing"),
    "OpenBookQA, flat": (
        {"question_stem": "The sun is", "choices": {"text": ["a star", "a moon"], "label": ["A", "B"]},
         "answerKey": "A"},
        turns("The sun is\nOptions:\n(A) a star\n(B) a moon"), "A",
    ),
    "PIQA": (
        {"goal": "Open a jar", "sol1": "twist", "sol2": "eat", "label": 1},
        turns("Open a jar\nOptions:\n(A) twist\n(B) eat"), "B",
    ),
    "Winogrande counts from 1": (
        {"sentence": "It fits since _ is small.", "option1": "the cup", "option2": "the box", "answer": "1"},
        turns("It fits since _ is small.\nOptions:\n(A) the cup\n(B) the box"), "A",
    ),
    "SocialIQA counts from 1": (
        {"context": "Ann slept.", "question": "Why?", "answerA": "tired", "answerB": "hungry",
         "answerC": "cold", "label": "1"},
        turns("Why?\nOptions:\n(A) tired\n(B) hungry\n(C) cold\n\nAnn slept."), "A",
    ),
    "SWAG": (
        {"sent1": "She opens.", "sent2": "She", "ending0": "flies.", "ending1": "goes in.",
         "ending2": "sits.", "ending3": "sings.", "label": 1},
        turns("She opens. She\nOptions:\n(A) flies.\n(B) goes in.\n(C) sits.\n(D) sings."), "B",
    ),
    "MedMCQA without its count": (
        {"question": "Which?", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "answer": "C"},
        turns("Which?\nOptions:\n(A) w\n(B) x\n(C) y\n(D) z"), "C",
    ),
    "LogiQA": (
        {"question": "Which?", "options": ["a cat", "a dog"], "label": "b"},
        turns("Which?\nOptions:\n(A) a cat\n(B) a dog"), "B",
    ),
    "AQuA": (
        {"question": "2+2?", "options": ["A)3", "B)4"], "correct": "B"},
        turns("2+2?\nOptions:\nA)3\nB)4"), "B",
    ),
    "five columns": (
        {"question": "Which?", "A": "v", "B": "w", "C": "x", "D": "y", "E": "z", "answer": "E"},
        turns("Which?\nOptions:\n(A) v\n(B) w\n(C) x\n(D) y\n(E) z"), "E",
    ),
    "three columns": (
        {"question": "Which?", "A": "w", "B": "x", "C": "y", "D": None, "answer": "C"},
        turns("Which?\nOptions:\n(A) w\n(B) x\n(C) y"), "C",
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
        ({"question": "Which?", "choices": ["a", "b"] * 15, "answer": 0}, "more than there are letters"),
        ({"instruction": "<image>What is it?", "image": "a.png"}, "image: instructions with"),
        ({"messages": turns("What is it?"), "videos": ["a.mp4"]}, "videos: instructions with"),
        ({"instruction": "Its capital?", "history": [["", ""]]}, "history: a turn is empty"),
        ({"question": "Which?", "choices": {"text": ["a"], "label": ["A", "B"]}}, "choices"),
        ({"instruction": "Why?", "history": ["before"]}, "history: pairs"),
        (
            {"question": "Which?", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": 2},
            "counts from 0 in one release of MedMCQA",
        ),
        ({"article": "A long text.", "summary": "A text."}, "found article, summary"),
        ({"question": "Who?", "answer": True}, "answer: text is expected"),
        (
            {"conversations": [{"from": "human", "value": "Book it."},
                               {"from": "function_call", "value": "{}"}]},
            "turn 2 is from 'function_call'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "turn 1 is not text",
        ),
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
    value = {"instruction": "Sum up.", "essay": "A long text.", "id": "a b", "topic": "two words"}
    assert rows(tmp_path, value, value, {"instruction": "Sort."}).unread == {"essay": 2}


def test_text_without_spaces_is_counted() -> None:
    row = {"原文": "今天天气很好我们去公园", "标签": "好评"}
    assert list(unread(row, "翻译")) == ["原文"]


def test_text_that_stands_in_the_conversation_is_not_missed(tmp_path: Path) -> None:
    """UltraChat and NuminaMath repeat the first turn under a key of its own."""
    value = {"prompt": "Hi there.", "problem": "Hi there.", "messages": turns("Hi there.", "Ho.")}
    assert rows(tmp_path, value).unread == {}


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


# --- ten further variants of lost text and of files that are none, from issue threads ---------------


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"instruction": "Translate.", "question": "Good day to you"}, "question"),
        ({"instruction": "Summarize.", "passage": "A long text of words"}, "passage"),
        (
            {"messages": [{"role": "user", "content": "Who?", "context": "Anna met Ben."}]},
            "messages[].context",
        ),
        (
            {"conversations": [
                {"from": "human", "value": "Who?"},
                {"from": "gpt", "value": "Ben.", "reasoning_content": "Let me think of it."}]},
            "conversations[].reasoning_content",
        ),
    ],
)  # fmt: skip
def test_text_beside_what_is_read_is_counted_by_its_key(
    tmp_path: Path, value: dict[str, Any], key: str
) -> None:
    """Before, a question beside an instruction was passed over without a word."""
    assert rows(tmp_path, value).unread == {key: 1}


@pytest.mark.parametrize("missing", ["nan", "NaN", "None", " null ", "<noinput>", "<NA>", "#N/A"])
def test_a_missing_value_written_as_text_is_no_input(tmp_path: Path, missing: str) -> None:
    """Pandas and spreadsheets write them; the teacher was paid to answer `Sort.` with nan."""
    loaded = rows(tmp_path, {"instruction": "Sort.", "input": missing})
    assert loaded.rows == ()
    assert "stands for a missing value" in loaded.problems[0].what


KINDS = {
    "rows.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "git lfs pull"),
    "rows.parquet": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
        "git lfs pull",
    ),
    "parquet.jsonl": (b"PAR1\x15\x04", "name it .parquet"),
    "rows.csv": (b"PK\x03\x04\x14", "save it as CSV"),
    "packed.jsonl": (b"\x1f\x8b\x08\x00", "name it .gz"),
    "page.json": (b"\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
    "page.csv": (b"<html><title>404</title>", "a web page"),
    "words.csv": (b"<html><title>instruction, output</title>", "a web page"),
    "page.tsv": (b"<!doctype html>\ninstruction\toutput\n", "a web page"),
}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.csv.gz"])
def test_a_table_with_a_column_of_markup_is_no_page(tmp_path: Path, name: str) -> None:
    delimiter = "\t" if ".tsv" in name else ","
    header = delimiter.join(("<html>", "instruction", "output"))
    content = f"{header}\n{delimiter.join(('<p>', 'Sort.', 'a'))}\n".encode()
    packed = gzip.compress(content) if name.endswith(".gz") else content
    (tmp_path / name).write_bytes(packed)
    assert read_rows(tmp_path / name).rows[0].messages[0]["content"] == "Sort."


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_holds_no_rows_says_what_it_is(tmp_path: Path, name: str) -> None:
    content, words = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_rows(tmp_path / name)
