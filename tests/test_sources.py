"""Claims about lion.readers.files: real files whole, broken rows named, nothing lost."""

import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.readers.files import Loaded, looser_key, read_rows, split_duplicates
from lion.readers.formats import SourceRow
from lion.records.rows import Message, canonical_text

SHARED = Path(__file__).parents[2] / "shared" / "data" / "instructions"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows, or raw bytes, to a file and return its path."""

    def _write(*rows: Any, raw: bytes | None = None, name: str = "pool.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes("\n".join(map(json.dumps, rows)).encode() if raw is None else raw)
        return path

    return _write


def one(loaded: Loaded) -> SourceRow:
    """Return the only row of a file without problems."""
    assert loaded.problems == ()
    assert len(loaded.rows) == 1
    return loaded.rows[0]


def contents(row: SourceRow) -> list[tuple[str, str]]:
    """Roles and contents."""
    return [(message["role"], message["content"]) for message in row.messages]


@pytest.mark.parametrize(
    ("value", "turns", "expected"),
    [
        ({"instruction": "Sort."}, [("user", "Sort.")], None),
        ({"instruction": "Sort.", "input": "", "output": ""}, [("user", "Sort.")], None),
        (
            {"instruction": "Sort.", "input": "  b\n  a", "output": "a b"},
            [("user", "Sort.\n\n  b\n  a")],
            "a b",
        ),
        (
            {"system": "Be kind.", "instruction": "Hi"},
            [("system", "Be kind."), ("user", "Hi")],
            None,
        ),
        ({"instruction": "2+2?", "output": "It is 4.", "expected": "4"}, [("user", "2+2?")], "4"),
        ({"instruction": "2+2?", "answer": "4"}, [("user", "2+2?")], "4"),
        ({"instruction": "2+2?", "expected": " ", "target": "4"}, [("user", "2+2?")], "4"),
        (
            {"messages": [{"role": "user", "content": "Hi"}]},
            [("user", "Hi")],
            None,
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": "A"},
                    {"role": "assistant", "content": "B"},
                    {"role": "user", "content": "C"},
                    {"role": "assistant", "content": "D"},
                ]
            },
            [("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C")],
            "D",
        ),
        (
            {"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]},
            [("user", "A")],
            "B",
        ),
    ],
)
def test_every_shape_becomes_messages_and_an_expected_answer(
    write: Write, value: dict[str, Any], turns: list[tuple[str, str]], expected: str | None
) -> None:
    """Alpaca, chat and ShareGPT; an exam's own key goes before the shape's answer."""
    row = one(read_rows(write(value)))
    assert contents(row) == turns
    assert row.expected == expected


def test_each_instance_of_self_instruct_is_a_row(write: Write) -> None:
    """An instance without input is the instruction alone; a wrong one is a problem of its own."""
    instances = [{"input": "x", "output": "1"}, {"input": "", "output": "2"}, {"input": 3}, "no"]
    loaded = read_rows(write({"instruction": "Do.", "instances": instances[:3]}))
    assert [(contents(row)[0][1], row.expected) for row in loaded.rows] == [
        ("Do.\n\nx", "1"),
        ("Do.", "2"),
    ]
    assert [problem.what for problem in loaded.problems] == [
        "instance 3: input: text is expected, found 3"
    ]
    broken = read_rows(write({"instruction": "Do.", "instances": instances}))
    assert broken.rows == ()
    assert "instance 4: an object is expected" in broken.problems[0].what


def test_category_is_kept(write: Write) -> None:
    """So that accuracy can be told by category."""
    assert one(read_rows(write({"instruction": "x", "category": " maths "}))).category == "maths"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "one of instruction, messages, conversations is expected, found nothing"),
        ({"text": "x"}, "is expected, found text"),
        ({"instruction": "x", "messages": []}, "found instruction, messages"),
        ({"instruction": ""}, "instruction: it is empty"),
        ({"instruction": " \n"}, "instruction: it is empty"),
        ({"instruction": 3}, "instruction: text is expected, found 3"),
        ({"instruction": ["a"]}, "instruction: text is expected, found"),
        ({"instruction": "x", "input": 1.5}, "input: text is expected, found 1.5"),
        ({"instruction": "x", "output": True}, "output: text is expected, found True"),
        ({"instruction": "x", "expected": 42}, "expected: text is expected, found 42"),
        ({"instruction": "x", "category": 7}, "category: text is expected, found 7"),
        ({"instruction": "x", "instances": []}, "instances: a list of {input, output}"),
        ({"instruction": "x", "instances": [{}], "output": "y"}, "both `instances` and"),
        ({"instances": [{}]}, "instances: they belong to an `instruction`"),
        ({"messages": "hello"}, "messages: a list of turns"),
        ({"messages": []}, "messages: a list of turns"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages: a list"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "turn 1 is not text"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "turn 1 is from 'robot'"),
        ({"messages": ["hi"]}, "turn 1 is not an object"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]},
            "messages: the content of turn 2 is not text",
        ),
        ({"conversations": [{"from": "alien", "value": "a"}]}, "turn 1 is from 'alien'"),
        ({"conversations": [{"from": "human", "value": None}]}, "turn 1 is not text"),
        ({"instruction": "x", "tools": [{"name": "f"}]}, "tools: instructions with tools"),
        ({"instruction": "half \ud83d here"}, r"half of a surrogate pair (\ud83d)"),
        ({"instruction": "x", "output": "\udc00"}, r"half of a surrogate pair (\udc00)"),
        ("text", "an object is expected, found 'text'"),
        (None, "an object is expected, found None"),
        ([1], "an object is expected"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_problem_with_file_and_line(
    write: Write, value: Any, told: str
) -> None:
    """The good rows around it are read, in lines and in an array alike."""
    rows = [{"instruction": "first"}, value, {"instruction": "last"}]
    for path in (
        write(*rows),
        write(raw=("[" + ",\n".join(map(json.dumps, rows)) + "]").encode(), name="pool.json"),
    ):
        loaded = read_rows(path)
        assert [(contents(row)[0][1], row.line) for row in loaded.rows] == [
            ("first", 1),
            ("last", 3),
        ]
        (problem,) = loaded.problems
        assert (problem.file, problem.line) == (str(path), 2)
        assert told in problem.what
        assert str(problem).startswith(f"{path}:2: ")


def test_broken_lines_are_problems_and_the_others_are_read(write: Write) -> None:
    """Cut JSON, Latin-1, numbers beyond reading, nesting beyond reason; blank lines are no rows."""
    lines = [
        b'\xef\xbb\xbf{"instruction": "after a byte order mark"}\r',
        b'{"instruction": "cut',
        b"",
        b'{"instruction": "caf\xe9"}',
        b'{"instruction": "two"} {"instruction": "three"}',
        b'{"instruction": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        '{"instruction": "line\u2028separator"}'.encode(),
    ]
    loaded = read_rows(write(raw=b"\n".join(lines)))
    assert [row.line for row in loaded.rows] == [1, 8]
    assert [problem.line for problem in loaded.problems] == [2, 4, 5, 6, 7]
    told = [problem.what for problem in loaded.problems]
    assert told[0].startswith("broken JSON: ")
    assert told[0].endswith("at column 17")
    assert told[1] == "not UTF-8 at byte 21"
    assert all(what.startswith("broken JSON: ") for what in told[2:])


def test_lines_of_an_array_are_those_where_its_rows_begin(write: Write) -> None:
    """However it is laid out; the content decides what a file is, not its name."""
    text = '\n[\n {"instruction":\n "a\\nb"},\n\n {"instruction": ""}, {"instruction": "c"}\n]\n'
    loaded = read_rows(write(raw=text.encode()))
    assert [row.line for row in loaded.rows] == [3, 6]
    assert [problem.line for problem in loaded.problems] == [6]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'[{"instruction": "a"},\n{"instruction": "b]', r"json:2: broken JSON: Unterminated"),
        (b'[{"instruction": "a"}\n\n{"instruction": "b"}]', r"json:3: broken JSON: a comma"),
        (b'[{"instruction": "a"},\n]', r"json:2: broken JSON: a comma and a row"),
        (b'[\n{"instruction": "a"}', r"json:2: broken JSON: a comma and a row, or `]`"),
        (b'[{"instruction": "a"},\n', r"json:2: broken JSON"),
        (b"[", r"json:1: broken JSON"),
        (b'[{"instruction": "a"}]\nmore', r"json:2: broken JSON: the array has ended"),
        (b'[{"instruction": "a"},\n{"instruction": "\xe9"}]', r"json:2: not UTF-8"),
        (b'{\n "instruction": "a"\n}', r"an object over several lines"),
        ("[]".encode("utf-16"), r"json:1: this is UTF-16"),
    ],
)
def test_a_file_whose_rows_cannot_be_told_apart_is_refused(
    write: Write, raw: bytes, told: str
) -> None:
    """Going on would lose rows without a number; the message names file and line."""
    with pytest.raises(DataError, match=told):
        read_rows(write(raw=raw, name="pool.json"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the next action."""
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read .*check the path"):
        read_rows(tmp_path / "none.jsonl")


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"[]", b" [ ] "])
def test_an_empty_file_has_no_rows(write: Write, raw: bytes) -> None:
    """Whether that is a problem is the stage's question."""
    assert read_rows(write(raw=raw)) == Loaded((), ())


def test_parquet_is_read_by_its_own_types(tmp_path: Path) -> None:
    """Rows are numbered; a null is no text; a file that is not Parquet is named."""
    path = tmp_path / "pool.parquet"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    polars.DataFrame(
        {
            "instruction": ["a", None, None],
            "input": ["b", "", None],
            "messages": [None, turns, None],
        }
    ).write_parquet(path)
    loaded = read_rows(path)
    assert [(contents(r), r.expected, r.line) for r in loaded.rows] == [
        ([("user", "a\n\nb")], None, 1),
        ([("user", "Hi")], "Hello", 2),
    ]
    assert [problem.line for problem in loaded.problems] == [3]
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"pool\.parquet: cannot be read as Parquet"):
        read_rows(path)


@pytest.mark.parametrize(
    ("one_text", "other_text", "same"),
    [
        ("Sort  the\nlist.", "sort the list.", True),
        ("STRASSE", "straße", True),
        ("\uff21\uff22", "ab", True),
        ("Sort the list.", "Sort the lists.", False),
        ("a b", "ab", False),
        ("sort the list", "sort the list.", False),
    ],
)
def test_the_looser_key_folds_case_form_and_white_space(
    one_text: str, other_text: str, same: bool
) -> None:
    """And nothing else."""
    keys = {looser_key([{"role": "user", "content": text}]) for text in (one_text, other_text)}
    assert (len(keys) == 1) == same


def test_the_looser_key_keeps_roles_apart() -> None:
    """The same words from another speaker are another conversation."""
    user: list[Message] = [{"role": "user", "content": "a"}]
    system: list[Message] = [{"role": "system", "content": "a"}]
    assert looser_key(user) != looser_key(system)


values = st.fixed_dictionaries(
    {},
    optional={
        "instruction": st.sampled_from(["Sort.", "sort. ", "Add.", "", 3, None]),
        "input": st.sampled_from(["", "x", 1]),
        "output": st.sampled_from(["y", None, []]),
        "messages": st.sampled_from([[], [{"role": "user", "content": "Sort."}]]),
    },
)


@given(rows=st.lists(values | st.none() | st.text(max_size=3), max_size=8), array=st.booleans())
def test_no_row_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], array: bool
) -> None:
    """Rows, problems and duplicates add up to the rows of the file, whatever those are."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(rows) if array else "\n".join(map(json.dumps, rows)), "utf-8")
    loaded = read_rows(path)
    kept, duplicates = split_duplicates(loaded.rows)
    assert len(kept) + len(duplicates) + len(loaded.problems) == len(rows)
    assert len({looser_key(row.messages) for row in kept}) == len(kept)
    for row, first in duplicates:
        assert looser_key(row.messages) == looser_key(first.messages)
        assert first in kept


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("seed_tasks_175.jsonl", 175),
        ("user_oriented_252.jsonl", 252),
        ("gsm8k_train.json", 7_473),
        ("gpteacher_roleplay.json", 3_146),
        ("gpteacher_toolformer.json", 7_673),
    ],
)
def test_real_files_are_read_whole_and_word_for_word(name: str, rows: int) -> None:
    """As json.loads says; every line number leads to its row."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    path = SHARED / name
    text = path.read_text("utf-8")
    parsed = json.loads(text) if name.endswith("json") else list(map(json.loads, text.splitlines()))
    loaded = read_rows(path)
    assert loaded.problems == ()
    assert len(loaded.rows) == len(parsed) == rows
    lines = text.split("\n")
    for row, value in zip(loaded.rows, parsed, strict=True):
        (instance,) = value.get("instances", [value])
        parts = [value["instruction"], *filter(None, [instance["input"]])]
        assert contents(row) == [("user", canonical_text("\n\n".join(parts)))]
        assert row.expected == (instance["output"] or None)
        assert lines[row.line - 1].lstrip()[0] in "{["


@pytest.mark.parametrize(
    ("value", "text", "expected", "category"),
    [
        (
            {"passage": "A tale.", "question": "Who?", "options": ["(A)I", "(B)You"], "label": "B"},
            "A tale.\nWho?\nOptions:\n(A)I\n(B)You",
            "B",
            "pool",
        ),
        (
            {"passage": None, "question": "2+2?", "options": None, "label": None, "answer": "4"},
            "2+2?",
            "4",
            "pool",
        ),
        ({"question_id": 3, "text": "Why?", "category": "generic"}, "Why?", None, "generic"),
        ({"question": "2+2?", "answer": "4"}, "2+2?", "4", None),
        ({"instruction": "Sort.", "question": "x", "task": "y"}, "Sort.", None, None),
    ],
)  # fmt: skip
def test_items_of_agieval_and_vicuna_are_rows(
    write: Write, value: Any, text: str, expected: str | None, category: str | None
) -> None:
    """Passage, question and options, in that order; the task is the file's name."""
    row = one(read_rows(write(value)))
    assert contents(row) == [("user", text)]
    assert (row.expected, row.category) == (expected, category)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_task_of_big_bench_hard_is_its_examples(write: Write, indent: int | None) -> None:
    """One object for the whole file, on one line or on many; a bad example costs only itself."""
    examples = [
        {"input": "Is it?", "target": "yes"},
        {"input": 3},
        {"input": "Or?", "target": "no"},
    ]
    raw = json.dumps({"canary": "c", "examples": examples}, indent=indent).encode()
    loaded = read_rows(write(raw=raw, name="snarks.json"))
    assert [(row.messages[0]["content"], row.expected, row.category) for row in loaded.rows] == [
        ("Is it?", "yes", "snarks"),
        ("Or?", "no", "snarks"),
    ]
    assert [problem.what for problem in loaded.problems] == [
        "example 2: instruction: text is expected, found 3"
    ]


EXAMS = {"bbh/*.json": 4074, "agieval/*.jsonl": 2110, "vicuna80/question.jsonl": 80}


@pytest.mark.parametrize("pattern", EXAMS)
def test_real_exams_are_read_whole(pattern: str) -> None:
    """As they come from their authors."""
    files = sorted(SHARED.parent.glob(pattern))
    if not files:
        pytest.skip(f"{SHARED.parent} is absent: real exams are not part of the project")
    loaded = [read_rows(file) for file in files]
    assert sum(len(one.rows) for one in loaded) == EXAMS[pattern]
    assert not any(one.problems for one in loaded)
    assert all(row.category for one in loaded for row in one.rows)


def test_tables_are_read_with_the_lines_of_their_rows(write: Write) -> None:
    """Quoted ends of lines, an empty cell, a row too long, and one that is not UTF-8."""
    raw = (
        b"\xef\xbb\xbfinstruction,input,output\r\n"
        b'Sort.,"b\n a",1.50\r\n'
        b"Add.,,\r\n"
        b"one,two,three,four\r\n"
        b"caf\xe9,,\r\n"
        b"Last.,,\r\n"
    )
    loaded = read_rows(write(raw=raw, name="pool.csv"))
    assert [(row.messages[0]["content"], row.expected, row.line) for row in loaded.rows] == [
        ("Sort.\n\nb\n a", "1.50", 2),
        ("Add.", None, 4),
        ("Last.", None, 7),
    ]
    assert [(one.line, one.what) for one in loaded.problems] == [
        (5, "more cells than the header has"),
        (6, "not UTF-8"),
    ]
    tabs = read_rows(write(raw=b"instruction\tinput\nA, b\tc\n", name="pool.tsv"))
    assert contents(one(tabs)) == [("user", "A, b\n\nc")]


def test_a_quotation_that_never_ends_is_no_silent_loss(write: Write) -> None:
    raw = b'instruction\nfirst\n"second\nthird\n'
    with pytest.raises(DataError, match=r"pool\.csv:3: broken CSV"):
        read_rows(write(raw=raw, name="pool.csv"))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["pool.jsonl", "pool.csv", "pool.parquet"])
def test_packed_files_are_the_same_rows(
    write: Write, pack: Callable[[bytes], bytes], name: str
) -> None:
    """Whatever lies inside; a broken pack is told as such."""
    plain = write({"instruction": "Sort."}, {"instruction": "Add."}, name="plain.jsonl")
    if name == "pool.csv":
        raw = b"instruction\nSort.\nAdd.\n"
    elif name == "pool.parquet":
        frame = io.BytesIO()
        polars.DataFrame({"instruction": ["Sort.", "Add."]}).write_parquet(frame)
        raw = frame.getvalue()
    else:
        raw = plain.read_bytes()
    suffix = ".gz" if pack is gzip.compress else ".zst"
    packed = pack(raw)
    found = read_rows(write(raw=packed, name=name + suffix)).rows
    assert [row.messages for row in found] == [row.messages for row in read_rows(plain).rows]
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_rows(write(raw=packed[: len(packed) // 2], name=name + suffix))


GARBAGE = {
    "random bytes": random.Random(0).randbytes(20_000),
    "a line of 10 MB": json.dumps({"instruction": "word " * 2_000_000}).encode(),
    "nested": b"[" * 100_000 + b"\n" + b'{"instruction": ' * 5_000,
    "nested in a line": b'{"a": 1}\n' + b'{"a": ' * 50_000,
    "half pairs": b'{"instruction": "a \\ud800 b"}\n{"instruction": "\\udc00\\ud800"}',
    "right to left": json.dumps({"instruction": "\u202eabc \u05e9\u05dc \u200f!"}).encode(),
    "NULs": b"\x00\x00\n" + json.dumps({"instruction": "a\x00b"}).encode(),
    "a million words": json.dumps({"instruction": "x y " * 500_000}).encode(),
    "numbers": b"1\n2.5\nnull\ntrue\nNaN\n[]\n" + b"9" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.csv", "pool.parquet", "pool.jsonl.gz"])
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_gives_reasons_and_counts(write: Write, what: str, name: str) -> None:
    """Every line is a row or a problem, or the whole file is refused with its reason."""
    raw = GARBAGE[what]
    path = write(raw=gzip.compress(raw, 1) if name.endswith(".gz") else raw, name=name)
    try:
        loaded = read_rows(path)
    except DataError as error:
        assert str(path) in str(error)
        return
    if "jsonl" in name:
        lines = [line for line in raw.split(b"\n") if line.strip()]
        assert len(loaded.rows) + len(loaded.problems) == len(lines)
    assert all(problem.what and problem.line for problem in loaded.problems)
    for row in loaded.rows:
        for message in row.messages:
            message["content"].encode()
