"""What was paid for can be looked at, checked, taken along and shared."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import polars
import pytest
from fake_server import says

from lion.errors import DataError
from lion.llm import ledger_maintenance
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.caps import Amount
from lion.llm.ledger import Ledger
from lion.prompting import protocol

URL = "https://api.example.com/v1"


def entry(number: int, text: str = "fine", **call: int) -> Entry:
    request = protocol.canonical(
        {"model": "m", "messages": [{"role": "user", "content": f"q{number}"}]}
    )
    key = protocol.key_of(URL, request, 0)
    return Entry(key, request, 0, says(text).body, Call(URL, "m", "teach@1", **call))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        opened.write(
            [
                entry(1, prompt=10, completion=5, nanodollars=100),
                entry(2, prompt=10, completion=5, nanodollars=100),
                FailedCall(b"k" * 32, "timeout", "", Call(URL, "m", "review@1", 7, 0)),
            ]
        )
        yield opened


def test_calls_are_summed_by_model_and_by_stage(ledger: Ledger, path: Path) -> None:
    assert ledger.count() == 2
    (model,) = ledger_maintenance.by_model(path)
    assert model == ledger_maintenance.CallStatistics((URL, "m"), 3, 1, 37, 200, 1, None, None)
    assert model.wasted == pytest.approx(1 / 3)
    teach, review = ledger_maintenance.by_stage(path)
    assert (teach.names, teach.calls, teach.failed, teach.nanodollars) == (("teach@1",), 2, 0, 200)
    assert (review.names, review.failed, review.unpriced) == (("review@1",), 1, 1)
    assert ledger_maintenance.failures(path) == {"timeout": 1}


def test_a_sound_ledger_has_no_problem(ledger: Ledger, path: Path) -> None:
    assert ledger.count() == 2
    assert ledger_maintenance.ledger_problems(path) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE replies SET request = '{}'", "the key does not belong to its request"),
        ("UPDATE replies SET sample = 7", "the key does not belong to its request"),
        ("UPDATE replies SET reply = '{\"cho'", "malformed_reply"),
    ],
)
def test_rows_that_were_tampered_with_are_told(
    ledger: Ledger, path: Path, change: str, told: str
) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    found = ledger_maintenance.ledger_problems(path)
    assert len(found) == ledger.count()
    assert all(told in line for line in found)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "sqlite"])
def test_a_colleagues_replies_are_taken_in(
    ledger: Ledger, path: Path, tmp_path: Path, suffix: str
) -> None:
    """By export or by the ledger's own file; ours stay as they are, and nothing is spent."""
    source = path if suffix == "sqlite" else tmp_path / f"replies.{suffix}"
    if suffix != "sqlite":
        assert ledger_maintenance.export_replies(path, source) == 2
    with Ledger(tmp_path / "mine.sqlite") as mine:
        ours = entry(1, "ours")
        mine.write([ours])
        spent = mine.spent()
        assert ledger_maintenance.import_replies(mine, source) == (1, 1)
        assert mine.spent() == spent
        found = mine.look_up([entry(1).key, entry(2).key])
        assert found == {entry(1).key: ours.reply, entry(2).key: entry(2).reply}
        assert ledger_maintenance.import_replies(mine, source) == (0, 2)
    assert ledger_maintenance.ledger_problems(tmp_path / "mine.sqlite") == []
    assert ledger.count() == 2


def test_exports_are_json_that_others_read(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    assert ledger.count() == 2
    ledger_maintenance.export_replies(path, tmp_path / "r.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    asked = {json.loads(row["request"])["messages"][0]["content"] for row in rows}
    assert asked == {"q1", "q2"}
    ledger_maintenance.export_replies(path, tmp_path / "r.parquet")
    frame = polars.read_parquet(tmp_path / "r.parquet")
    assert frame["request"].to_list() == [row["request"] for row in rows]
    with pytest.raises(DataError, match=r"\.jsonl or \.parquet"):
        ledger_maintenance.export_replies(path, tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"endpoint": URL}, "no reply of a ledger"),
        ({"endpoint": URL, "request": "{}", "sample": "x", "reply": "{}"}, "no reply of a ledger"),
        ({"endpoint": URL, "request": "{}", "sample": 0, "reply": "{}"}, "malformed_reply"),
    ],
)
def test_a_file_of_somebody_that_cannot_be_used_adds_nothing(
    ledger: Ledger, path: Path, tmp_path: Path, line: dict[str, object], told: str
) -> None:
    source = tmp_path / "theirs.jsonl"
    ledger_maintenance.export_replies(path, source)
    with source.open("a") as file:
        file.write(json.dumps({"format": 1, **line}) + "\n")
    with Ledger(tmp_path / "mine.sqlite") as mine:
        with pytest.raises(DataError, match=f"row 3: {told}"):
            ledger_maintenance.import_replies(mine, source)
        assert mine.count() == 0
    assert ledger.count() == 2


def test_a_ledger_whose_keys_lie_is_refused(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    """Else a colleague's file could put any answer under any question."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE replies SET request = '{}' WHERE rowid = 1")
    connection.close()
    assert ledger.count() == 2
    with Ledger(tmp_path / "mine.sqlite") as mine:
        with pytest.raises(DataError, match="does not belong"):
            ledger_maintenance.import_replies(mine, path)
        assert mine.count() == 0


def test_pruning_forgets_failures_and_no_reply(ledger: Ledger, path: Path) -> None:
    spent, _ = ledger.spent()
    assert ledger.prune() == 1
    assert ledger.spent() == (spent, Amount())
    assert ledger_maintenance.failures(path) == {}
    assert ledger.count() == 2


def test_no_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such ledger"):
        ledger_maintenance.by_model(tmp_path / "none.sqlite")
