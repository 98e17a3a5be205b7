"""Rows and ids: what makes two conversations the same, and what survives a file."""

import hashlib
import json
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.records import (
    Answer,
    Dropped,
    Instruction,
    Message,
    Review,
    Selection,
    Tally,
    Verdict,
    canonical_text,
    instruction_id,
    read_messages,
    reasons,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = TEXT.filter(lambda text: bool(canonical_text(text)))
ROLE = st.sampled_from(["system", "user", "assistant"])
BEFORE = st.lists(st.builds(lambda role, content: {"role": role, "content": content}, ROLE, TEXT))
OUTER = st.text(st.sampled_from(" \t\n\r"), max_size=3)


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def test_an_id_is_the_documented_hash() -> None:
    """Whoever reads the rows in another language can compute the ids: design/house.md says how."""
    canonical = '[{"content":"Naïve \\"q\\"?\\nyes","role":"user"}]'
    expected = hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]
    assert instruction_id([user('  Nai\u0308ve "q"?\r\nyes\n')]) == expected


@given(BEFORE, WORDS, OUTER, OUTER)
def test_an_id_ignores_unicode_form_line_ends_and_outer_space(
    before: list[Message], text: str, left: str, right: str
) -> None:
    identity = instruction_id([*before, user(text)])
    for form in ("NFC", "NFD"):
        same = unicodedata.normalize(form, text)
        assert instruction_id([*before, user(left + same + right)]) == identity
    assume("\r" not in text)
    assert instruction_id([*before, user(text.replace("\n", "\r\n"))]) == identity


@given(st.text(st.sampled_from("\r\n a\u0301é\u2028"), max_size=8))
def test_canonical_text_is_canonical(text: str) -> None:
    r"""Also where `\r\r\n` (a text saved twice by Windows) would become `\r\n` at first."""
    once = canonical_text(text)
    assert canonical_text(once) == once
    assert instruction_id([user(once)]) == instruction_id([user(text)])


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_an_id_keeps_the_turns_apart(contents: list[str]) -> None:
    """Moving the border between two turns makes another conversation."""
    joined = "\n".join(contents)
    turns = [user(content) for content in contents]
    assert (instruction_id(turns) == instruction_id([user(joined)])) == (len(contents) == 1)


@pytest.mark.parametrize(
    "other",
    [
        [user("print(a  + b)")],  # inner spacing
        [user("Print(a + b)")],  # case
        [user("print(a\n+ b)")],
        [user("print(a + b)."), user("print(a + b)")],  # an earlier turn
        [{"role": "system", "content": "print(a + b)"}],  # role
        [{"role": "system", "content": ""}, user("print(a + b)")],
        [user("ﬁnd a + b")],
    ],
)
def test_an_id_keeps_what_is_meaning(other: list[Message]) -> None:
    assert instruction_id(other) != instruction_id([user("print(a + b)")])


def test_compatibility_forms_are_other_texts() -> None:
    assert instruction_id([user("x²")]) != instruction_id([user("x2")])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DataError, match="no valid Unicode"):
        instruction_id([user("\ud800")])


@given(BEFORE, WORDS, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
def test_an_instruction_survives_its_row(
    before: list[Message],
    text: str,
    expected: str | None,
    category: str | None,
    answer: str | None,
) -> None:
    made = Instruction.new(
        [*before, user(text)],
        origin="hard",
        iteration="2",
        parent="0123456789abcdef",
        category=category,
        expected=expected,
    )
    if answer is not None:
        made = replace(made, answer=Answer(made.id, answer, "stop", None))
    written = json.loads(json.dumps(made.to_row()))
    assert Instruction.from_row(written) == made


@pytest.mark.parametrize(
    "record",
    [
        Answer("a", "text\u2028more", "length", "model-1"),
        Answer("a", "", "stop", None),
        Review("a", "teacher_first", 9.5, 1.0, None, "because"),
        Review("a", "student_first", None, None, "no_scores", "??"),
        Verdict("a", 8.0, 7.5, 0.5, "easy", None),
        Verdict("a", None, None, None, "undecided", "half judged: no_scores"),
        Verdict("a", None, None, 0.0, "easy", None, "same_answer"),
        Verdict("a", 8.0, 1.0, 7.0, "hard", None, "one_order", 2.5),
        Selection("a", "one_order", "student_first", True, 2.5),
        Dropped("teach", "truncated", id="a", text="cut"),
        Dropped("seed", "bad_row", detail="x.jsonl:3"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_every_record_survives_its_row(record: Any) -> None:
    row = json.loads(json.dumps(record.to_row()))
    assert type(record).from_row(row) == record
    assert row["format"] == 1


def test_a_tally_tells_the_number_even_of_none() -> None:
    assert Tally("teach", 0).to_row() == {"format": 1, "stage": "teach", "dropped": 0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"messages": [user("other")]}, "is not the hash"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["hello"]}, "turn 1 is not an object"),
        ({"messages": [{"role": "user", "content": 3}]}, "content of turn 1"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [user("a"), {"role": "assistant", "content": "b"}]}, "last turn must be"),
        ({"messages": [user(" \n")]}, "last turn is empty"),
        ({"id": 7}, "id: text is expected"),
        ({"origin": "medium"}, "origin: one of seed, hard, easy, exam"),
        ({"iteration": 1}, "iteration: text is expected"),
        ({"parent": 3}, "parent: text is expected"),
        ({"answer": {"text": "a"}}, "finish_reason"),
        ({"answer": "42"}, "answer"),
        ({"answer": ["42"]}, "answer"),
    ],
)
def test_a_row_that_was_edited_wrongly_is_refused(change: dict[str, Any], told: str) -> None:
    row = Instruction.new([user("say a")], origin="seed", iteration="0").to_row()
    with pytest.raises(DataError, match=told):
        Instruction.from_row({**row, **change})


@pytest.mark.parametrize("score", [True, "8", [8]])
def test_a_score_that_is_no_number_is_refused(score: object) -> None:
    row = Review("a", "teacher_first", 9.0, 1.0, None, "").to_row()
    with pytest.raises(DataError, match="teacher_score: a number is expected"):
        Review.from_row({**row, "teacher_score": score})


def test_messages_are_read_canonically() -> None:
    """Other keys of the protocol are left out; contents become canonical."""
    assert read_messages([{"content": " e\u0301 ", "role": "user", "name": "x"}]) == [user("é")]


def test_reasons_are_counted_in_alphabetical_order() -> None:
    rows = [Dropped("s", reason) for reason in ("z", "a", "z")]
    assert list(reasons(rows).items()) == [("a", 1), ("z", 2)]
