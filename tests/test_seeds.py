"""The starter tasks that ship: enough, varied, ours, and none of them like another."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from fixtures import ROOT

from lion.config.settings import Decontaminate
from lion.conversations import transcript
from lion.generation.filters import decontamination
from lion.generation.filters.novelty import Novelty
from lion.readers import files
from lion.readers.files import SourceRow
from lion.records.rows import Instruction

FILE = ROOT / "seeds" / "seeds.jsonl"
SHARED = ROOT.parent / "shared" / "data"
LIMIT = 0.7

needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")


@pytest.fixture(scope="module")
def rows() -> tuple[SourceRow, ...]:
    loaded = files.read_rows(FILE)
    assert loaded.problems == ()
    return loaded.rows


@pytest.fixture(scope="module")
def raw() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n") if line]


def test_there_are_175_of_them_each_with_a_name_and_an_answer(
    rows: tuple[SourceRow, ...], raw: list[dict[str, Any]]
) -> None:
    assert len(rows) == len({row["name"] for row in raw}) == 175
    assert len(files.split_duplicates(rows)[0]) == 175
    assert all(row.expected and row.category for row in rows)


def test_no_two_are_closer_than_the_limit(rows: tuple[SourceRow, ...]) -> None:
    known = Novelty(LIMIT, "unicode")
    for row in rows:
        text = transcript(row.messages)
        assert known.nearest(text) is None, f"line {row.line}"
        known.add(str(row.line), text)


def test_a_quarter_are_classification(rows: tuple[SourceRow, ...]) -> None:
    kinds = Counter(row.classification for row in rows)
    assert None not in kinds
    assert 0.22 <= kinds[True] / len(rows) <= 0.28


def test_they_are_varied_in_field_and_form(
    rows: tuple[SourceRow, ...], raw: list[dict[str, Any]]
) -> None:
    fields = Counter(row.category for row in rows)
    assert len(fields) >= 40
    assert max(fields.values()) <= len(rows) // 15
    shapes = Counter(tuple(turn["role"] for turn in row.messages) for row in rows)
    assert {("user",), ("system", "user"), ("user", "assistant", "user")} <= set(shapes)
    assert 40 <= sum("input" in row for row in raw) <= 100
    answers = [row.expected or "" for row in rows]
    for form in (r"^[\[{]", r"^\|", r"```", r"^1\. ", r"^- "):
        assert sum(bool(re.search(form, answer, re.MULTILINE)) for answer in answers) >= 5, form
    lengths = sorted(len(answer.split()) for answer in answers)
    assert lengths[0] == 1
    assert lengths[-1] > 120


def test_some_are_in_other_scripts(rows: tuple[SourceRow, ...]) -> None:
    scripts = {"Han": "一-鿿", "Arabic": "؀-ۿ", "Devanagari": "ऀ-ॿ", "Cyrillic": "Ѐ-ӿ"}
    for name, span in scripts.items():
        assert any(re.search(f"[{span}]", transcript(row.messages)) for row in rows), name


def test_answers_that_should_be_json_are(rows: tuple[SourceRow, ...]) -> None:
    answers = [row.expected for row in rows if row.expected and row.expected[0] in "[{"]
    assert len(answers) >= 5
    for answer in answers:
        json.loads(answer)


def test_python_in_answers_compiles(rows: tuple[SourceRow, ...]) -> None:
    snippets = [
        code
        for row in rows
        for code in re.findall(r"```python\n(.*?)```", row.expected or "", re.DOTALL)
    ]
    assert len(snippets) >= 5
    for code in snippets:
        compile(code, "a seed", "exec")


@needs_shared
def test_they_are_our_own(rows: tuple[SourceRow, ...]) -> None:
    """Not even half like one of the 175 tasks of self-instruct."""
    theirs = Novelty(0.5, "unicode")
    for row in files.read_rows(SHARED / "instructions" / "seed_tasks_175.jsonl").rows:
        theirs.add(str(row.line), transcript(row.messages))
    assert len(theirs) >= 175
    assert [row.line for row in rows if theirs.nearest(transcript(row.messages))] == []


@needs_shared
def test_none_meets_a_known_exam(rows: tuple[SourceRow, ...]) -> None:
    exam = [
        Instruction.new([{"role": "user", "content": text}], origin="exam", iteration="0")
        for text in _exam_texts()
    ]
    assert len(exam) > 300
    guard = decontamination.guard(exam, Decontaminate(whole=True, ngram=13, against=[]))
    assert [row.line for row in rows if guard.find_overlap(transcript(row.messages))] == []


def _exam_texts() -> list[str]:
    vicuna = (SHARED / "vicuna80" / "question.jsonl").read_text(encoding="utf-8").splitlines()
    users = files.read_rows(SHARED / "instructions" / "user_oriented_252.jsonl").rows
    return [json.loads(line)["text"] for line in vicuna] + [
        transcript(row.messages) for row in users
    ]
