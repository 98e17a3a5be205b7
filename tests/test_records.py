"""Rows and ids: what makes two conversations the same, and what survives a file."""

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from lion.errors import DataError
from lion.generation.bootstrap import BootstrappedTask
from lion.records import jsonl
from lion.records.rows import (
    Answer,
    Basis,
    Difficulty,
    Dropped,
    Instruction,
    Message,
    NoRows,
    Order,
    Origin,
    Record,
    Review,
    Selection,
    Tally,
    TeacherAnswer,
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
ORDER, BASIS = st.sampled_from(get_args(Order)), st.sampled_from(get_args(Basis))
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


SCORE = st.none() | st.floats(1, 10)
NUMBER = st.floats(-1e15, 1e15)
NEIGHBOUR = st.none() | st.tuples(TEXT, st.floats(-1, 1))
GIVEN = st.none() | st.builds(TeacherAnswer, TEXT, TEXT, st.none() | TEXT)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    made = Instruction.new(
        [*draw(BEFORE), user(draw(WORDS))],
        origin=draw(st.sampled_from(get_args(Origin))),
        iteration=draw(TEXT),
        parent=draw(st.none() | TEXT),
        category=draw(st.none() | TEXT),
        expected=draw(st.none() | TEXT),
    )
    return replace(
        made,
        domain=draw(st.none() | TEXT),
        nearest=draw(NEIGHBOUR),
        closest=draw(NEIGHBOUR),
        answer=draw(GIVEN),
    )


RECORDS: dict[type[Record], st.SearchStrategy[Record]] = {
    Instruction: instructions(),
    Answer: st.builds(Answer, TEXT, TEXT, TEXT, st.none() | TEXT),
    Review: st.builds(Review, TEXT, ORDER, SCORE, SCORE, st.none() | TEXT, TEXT, st.integers(0, 9)),
    Selection: st.builds(Selection, TEXT, BASIS, ORDER, st.booleans(), NUMBER),
    Verdict: st.builds(
        Verdict,
        *(TEXT, SCORE, SCORE, st.none() | NUMBER),
        *(st.sampled_from(get_args(Difficulty)), st.none() | TEXT, BASIS, NUMBER),
    ),
    Dropped: st.builds(Dropped, TEXT, TEXT, *[st.none() | TEXT] * 3),
    Tally: st.builds(Tally, TEXT, st.integers(0, 10**9)),
    NoRows: st.builds(NoRows, TEXT, st.just(0)),
    BootstrappedTask: st.builds(
        lambda made, *more: BootstrappedTask(made.id, made.messages, *more),
        *(instructions(), st.booleans(), st.lists(TEXT).map(tuple)),
        *(st.none() | TEXT, st.none() | TEXT, NEIGHBOUR),
    ),
}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_is_written_is_read_again(
    kind: type[Record], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And its bytes are those that `orjson` would write of the same object, `format` first."""
    path = tmp_path_factory.getbasetemp() / f"{kind.__name__}.jsonl"
    records = data.draw(st.lists(RECORDS[kind], max_size=3))
    jsonl.write(path, records)
    assert jsonl.read(path, kind) == records
    rows = [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert path.read_bytes() == b"".join(
        orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )
    assert [next(iter(row.items())) for row in rows] == [("format", 1)] * len(records)
    assert [jsonl.parsed(row, kind) for row in rows] == records
    assert [jsonl.as_row(record) for record in records] == rows


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (
            Answer("a", "\u2028", "length", None),
            '"id":"a","text":"\u2028","finish_reason":"length","model":null',
        ),
        (
            Review("a", "teacher_first", 9.5, 1.0, None, "because"),
            '"id":"a","order":"teacher_first","teacher_score":9.5,"student_score":1.0,"reason":null,'
            '"evidence":"because"',
        ),
        (
            Review("a", "student_first", None, None, "no_scores", "??", 2),
            '"id":"a","order":"student_first","teacher_score":null,"student_score":null,'
            '"reason":"no_scores","evidence":"??","sample":2',
        ),
        (
            Verdict("a", None, None, 0.0, "easy", None, "same_answer"),
            '"id":"a","teacher_mean":null,"student_mean":null,"gap":0.0,"difficulty":"easy",'
            '"reason":null,"basis":"same_answer","weight":1.0',
        ),
        (
            Selection("a", "one_order", "student_first", True, 2.5),
            '"id":"a","basis":"one_order","first":"student_first","audited":true,"weight":2.5',
        ),
        (
            Dropped("seed", "bad_row", detail="x.jsonl:3"),
            '"stage":"seed","reason":"bad_row","detail":"x.jsonl:3"',
        ),
        (Tally("teach", 0), '"stage":"teach","dropped":0'),
        (NoRows("split", 0), '"stage":"split","rows":0'),
    ],
    ids=lambda record: type(record).__name__,
)
def test_the_bytes_of_a_row(record: Record, row: str, tmp_path: Path) -> None:
    """`format` first, keys in a fixed order; what is absent is null, or left out."""
    jsonl.write(tmp_path / "rows.jsonl", [record])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == f'{{"format":1,{row}}}\n'


def test_the_bytes_of_an_instruction(tmp_path: Path) -> None:
    made = Instruction.new([user("Say a")], origin="hard", iteration="1")
    jsonl.write(tmp_path / "bare.jsonl", [made])
    expected = (
        f'{{"format":1,"id":"{made.id}","messages":[{{"role":"user","content":"Say a"}}],'
        '"origin":"hard","parent":null,"iteration":"1"'
    )
    assert (tmp_path / "bare.jsonl").read_text() == f"{expected}}}\n"
    taught = replace(made, nearest=("b", 0.5), answer=TeacherAnswer("a", "stop", None))
    jsonl.write(tmp_path / "taught.jsonl", [taught])
    more = ',"nearest":["b",0.5],"answer":{"text":"a","finish_reason":"stop","model":null}}'
    assert (tmp_path / "taught.jsonl").read_text() == f"{expected}{more}\n"


def test_messages_are_read_canonically_from_rows_too() -> None:
    """Whoever wrote them otherwise, as long as the id is that of the canonical ones."""
    made = Instruction.new([user("é")], origin="seed", iteration="0")
    row = jsonl.as_row(made) | {
        "messages": [{"content": " e\u0301\r\n", "role": "user", "name": "x"}]
    }
    assert jsonl.parsed(row, Instruction) == made
    assert list(jsonl.parsed(row, Instruction).messages[0]) == ["role", "content"]


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
        ({"id": 7}, r"^id: Expected `str`, got `int`"),
        ({"origin": "medium"}, "^origin: one of seed, hard, easy, exam, certify is exp"),
        ({"iteration": 1}, r"^iteration: Expected `str`, got `int`"),
        ({"parent": 3}, r"^parent: Expected `str \| null`, got `int`"),
        ({"answer": {"text": "a"}}, "^answer: .*required field `finish_reason`"),
        ({"answer": "42"}, r"^answer: Expected `object \| null`, got `str`"),
        ({"answer": ["42"]}, r"^answer: Expected `object \| null`, got `array`"),
    ],
)
def test_a_row_that_was_edited_wrongly_is_refused(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    row = jsonl.as_row(Instruction.new([user("say a")], origin="seed", iteration="0"))
    with pytest.raises(DataError, match=told):
        jsonl.parsed({**row, **change}, Instruction)
    path = tmp_path / "pool.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps({**row, **change})}\n")
    with pytest.raises(DataError, match=f"pool.jsonl, line 2: .*{told.removeprefix('^')}"):
        jsonl.read(path, Instruction)


@pytest.mark.parametrize("score", [True, "8", [8]])
def test_a_score_that_is_no_number_is_refused(score: object) -> None:
    row = jsonl.as_row(Review("a", "teacher_first", 9.0, 1.0, None, ""))
    with pytest.raises(DataError, match=r"^teacher_score: Expected `float \| null`, got `"):
        jsonl.parsed({**row, "teacher_score": score}, Review)


@pytest.mark.parametrize("name", ["order", "evidence", "teacher_score"])
def test_a_field_that_is_missing_is_named(name: str) -> None:
    row = jsonl.as_row(Review("a", "teacher_first", 9.0, 1.0, None, ""))
    del row[name]
    with pytest.raises(DataError, match=f"required field `{name}`"):
        jsonl.parsed(row, Review)


def test_messages_are_read_canonically() -> None:
    """Other keys of the protocol are left out; contents become canonical."""
    assert read_messages([{"content": " e\u0301 ", "role": "user", "name": "x"}]) == [user("é")]


def test_reasons_are_counted_in_alphabetical_order() -> None:
    rows = [Dropped("s", reason) for reason in ("z", "a", "z")]
    assert list(reasons(rows).items()) == [("a", 1), ("z", 2)]
