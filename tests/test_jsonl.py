"""Files of rows: complete or as before, and errors that say file and line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, NoRows, Record, Tally


def rows(count: int) -> list[Instruction]:
    return [
        Instruction.new(
            [{"role": "user", "content": f"task {number}"}], origin="seed", iteration="0"
        )
        for number in range(count)
    ]


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "pool.jsonl"
    jsonl.write(path, rows(20))
    assert jsonl.read(path, Instruction) == rows(20)
    assert path.read_bytes().count(b"\n") == 20


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_a_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """U+2028 and its kind end lines for Python's `splitlines`, not in a file of rows."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    written = [Answer("a", text, "stop", None), Answer("b", "next", "stop", None)]
    jsonl.write(path, written)
    assert jsonl.read(path, Answer) == written


def test_no_rows_are_a_file_too(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "none.jsonl", [])
    assert jsonl.read(tmp_path / "none.jsonl", Answer) == []


def test_a_file_that_says_it_has_no_rows_has_none_of_any_kind(tmp_path: Path) -> None:
    """It is not empty, since DVC warns of empty files."""
    path = tmp_path / "reviews.jsonl"
    jsonl.write(path, [NoRows("review", 0)])
    assert jsonl.read(path, Answer) == []
    assert jsonl.read(path, Tally) == []


@pytest.mark.parametrize("first", [NoRows("review", 0), Tally("review", 0)])
def test_a_row_of_another_kind_before_the_rows_is_refused(tmp_path: Path, first: Record) -> None:
    path = tmp_path / "reviews.jsonl"
    jsonl.write(path, [first, Answer("a", "text", "stop", None)])
    with pytest.raises(DataError, match=r"reviews\.jsonl, line 1"):
        jsonl.read(path, Answer)


def test_a_row_edited_by_hand_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, rows(3))
    path.write_text(path.read_text().replace("task 1", "task one"))
    with pytest.raises(DataError) as caught:
        jsonl.read(path, Instruction)
    assert f"{path}, line 2: id {rows(3)[1].id} is not the hash" in str(caught.value)


@pytest.mark.parametrize(
    "line", ["{", "[1]", "3", "null", '"text"', '{"format": 1} {"format": 1}', "\x00", "NaN"]
)
def test_what_is_no_object_is_refused_with_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "answers.jsonl"
    good = json.dumps(jsonl.as_row(Answer("a", "x", "stop", None)))
    path.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(DataError, match=r"answers\.jsonl, line 2: "):
        jsonl.read(path, Answer)


def test_bytes_that_are_no_text_are_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    good = json.dumps(jsonl.as_row(Answer("a", "x", "stop", None))).encode()
    path.write_bytes(good + b'\n{"format": 1, "id": "\xff"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl, line 2: "):
        jsonl.read(path, Answer)


def test_a_blank_line_is_named_itself(tmp_path: Path) -> None:
    """No stage writes one: where there is one, somebody's editor was here."""
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, rows(2))
    path.write_text(path.read_text().replace("}\n{", "}\n\n{"))
    with pytest.raises(DataError, match=r"pool.jsonl, line 2: not a JSON object"):
        jsonl.read(path, Instruction)


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_another_format_is_refused(tmp_path: Path, found: object) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({**jsonl.as_row(Answer("a", "x", "stop", None)), "format": found}))
    with pytest.raises(DataError, match=r"line 1: format .* is not 1"):
        jsonl.read(path, Answer)
    with pytest.raises(DataError, match=r"format .* is not 1"):
        jsonl.read_document(path)


def test_a_missing_file_names_the_way_to_get_it(tmp_path: Path) -> None:
    for read in (lambda path: jsonl.read(path, Answer), jsonl.read_document):
        with pytest.raises(DataError, match=r"none.jsonl: no such file. `dvc checkout`"):
            read(tmp_path / "none.jsonl")


class _Crash(BaseException):
    """Not an Exception: a Ctrl-C or worse."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, _Crash])
def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, rows(2))
    before = path.read_bytes()
    with pytest.raises(error), jsonl.replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, rows(2))
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        jsonl.write(path, [rows(1)[0], Answer("a", "\ud800", "stop", None)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, a reader still sees the old rows."""
    path = tmp_path / "pool.jsonl"
    jsonl.write(path, rows(2))
    program = """
import os, signal, sys
from pathlib import Path
from lion.records import jsonl
with jsonl.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(path)])
    assert killed.returncode == -9
    assert jsonl.read(path, Instruction) == rows(2)


def test_outputs_can_be_read_by_others(tmp_path: Path) -> None:
    """Temporary files are their owner's alone; a shared DVC cache needs more."""
    jsonl.write(tmp_path / "pool.jsonl", rows(1))
    assert (tmp_path / "pool.jsonl").stat().st_mode & 0o777 == 0o644


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")).filter(lambda key: key != "format"),
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_a_document_comes_back(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "document.json"
    jsonl.write_document(path, document)
    assert jsonl.read_document(path) == {"format": 1, **document}


@pytest.mark.parametrize("content", ["{", "[]", "3", ""])
def test_a_document_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"document\.json: "):
        jsonl.read_document(path)


def test_equal_documents_are_equal_bytes(tmp_path: Path) -> None:
    """DVC compares bytes: the same metrics must not look changed."""
    for name in ("a.json", "b.json"):
        jsonl.write_document(tmp_path / name, {"x": 0.1 + 0.2, "ü": [1, None]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert os.linesep == "\n" or b"\r" not in (tmp_path / "a.json").read_bytes()
