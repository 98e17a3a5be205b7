"""Pools as tables: every text as the row by row reader has it, and broken rows by their line."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pooled import instruction, verdict

from lion.errors import DataError
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, NoRows, Record, TeacherAnswer
from lion.reporting import snapshot

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
PIECES = st.sampled_from(['"', "\\", "\\u0041", "\n", "\u2028", "\x00", "}]", '{"a": [1', "null"])
NASTY = st.lists(TEXTS | PIECES, min_size=1, max_size=6).map("".join)
NEAREST = st.none() | st.tuples(st.just("0123456789abcdef"), st.floats(0, 1))


@st.composite
def rows(draw: st.DrawFn) -> Instruction:
    turns = [
        {"role": role, "content": draw(NASTY.filter(str.strip))}
        for role in ("user", "assistant", "user")[: draw(st.sampled_from([1, 3]))]
    ]
    made = Instruction.new(turns, origin="seed", iteration="0", category=draw(st.none() | TEXTS))
    answer = TeacherAnswer(draw(NASTY), "stop", "oracle-1") if draw(st.booleans()) else None
    return replace(made, nearest=draw(NEAREST), answer=answer)


@settings(max_examples=150)
@given(st.lists(rows(), min_size=1, max_size=6, unique_by=lambda row: row.id))
def test_every_text_is_that_of_the_rows(pool: list[Instruction]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        jsonl.write(path, pool)
        table = snapshot.pool_frame(path)
        read = jsonl.read(path, Instruction)
    assert table.select("id", "text", "category", "nearest", "answer").rows() == [
        (
            row.id,
            "\n\n".join(turn["content"] for turn in row.messages),
            row.category,
            None if row.nearest is None else row.nearest[1],
            None if row.answer is None else row.answer.text,
        )
        for row in read
    ]


@pytest.mark.parametrize(
    "broken",
    ['"messages":"no list"', '"messages":[{"role":"user"', '"messages":[1]', '"messages":{}'],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, [instruction("one"), instruction("two")])
    whole, other = path.read_text(encoding="utf-8").splitlines()
    start = other.index('"messages"')
    cut = other[:start] + broken + other[other.index("]", start) + 1 :]
    path.write_text(f"{whole}\n{cut}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pool\.jsonl, line 2: "):
        snapshot.pool_frame(path)


@pytest.mark.parametrize("rows", [[], [NoRows("split", 0)]], ids=["older Lion", "NoRows"])
@pytest.mark.parametrize(
    ("read", "row"),
    [
        (snapshot.pool_frame, instruction("one")),
        (snapshot.verdicts_frame, verdict(instruction("one").id, 2.0)),
        (snapshot.answers_frame, Answer("0123456789abcdef", "two", "stop", "0")),
    ],
)
def test_a_file_without_rows_is_an_empty_table_of_the_same_columns(
    read: Callable[[Path], pl.DataFrame], row: Record, rows: list[NoRows], tmp_path: Path
) -> None:
    """Where the loop has stopped."""
    path, full = tmp_path / "rows.jsonl", tmp_path / "full.jsonl"
    jsonl.write(path, rows)
    jsonl.write(full, [row])
    assert read(path).is_empty()
    assert read(path).columns == read(full).columns
