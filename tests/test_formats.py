"""Files of today's formats, kept as they were written: what comes later reads or refuses them.

tests/formats/ holds a few rows as version 0.1.0 wrote them, most of them in a real run (rows of
format 1, a ledger of format 3, as SQL). They are never written anew: a change of format adds a
folder beside them.
"""

import json
import sqlite3
from pathlib import Path

import pytest

from lion.errors import AskError, DataError
from lion.generation.bootstrap import BootstrappedTask
from lion.llm import ledger_maintenance
from lion.llm.ledger import Ledger
from lion.records import jsonl
from lion.records.rows import Answer, Dropped, Instruction, Record, Review, Selection, Verdict

FORMATS = Path(__file__).parent / "formats"
READERS: dict[str, type[Record]] = {
    "cache_pool": Instruction,
    "responses": Answer,
    "reviews": Review,
    "verdicts": Verdict,
    "dropped": Dropped,
    "selection": Selection,
    "bootstrapped": BootstrappedTask,
}


@pytest.mark.parametrize("name", READERS)
def test_rows_are_read_and_written_as_they_were(name: str, tmp_path: Path) -> None:
    before = FORMATS / f"{name}.jsonl"
    rows = jsonl.read(before, READERS[name])
    jsonl.write(tmp_path / "after.jsonl", rows)
    assert (tmp_path / "after.jsonl").read_bytes() == before.read_bytes()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("later", [0, 2, "1", None])
def test_rows_of_another_format_are_refused_by_line(
    name: str, later: object, tmp_path: Path
) -> None:
    first, second = (FORMATS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    path = tmp_path / f"{name}.jsonl"
    path.write_text(f"{first}\n{json.dumps({**json.loads(second), 'format': later})}\n")
    with pytest.raises(DataError, match=r"line 2: format .* is not 1"):
        jsonl.read(path, READERS[name])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return the ledger, made from its SQL."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript((FORMATS / "ledger.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def test_a_ledger_is_read_and_each_reply_is_that_of_its_request(old: Path) -> None:
    with Ledger(old) as ledger:
        assert ledger.count() == 2
    assert ledger_maintenance.ledger_problems(old) == []


def test_a_ledger_of_a_later_version_is_refused_and_left_as_it_was(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = old.read_bytes()
    with pytest.raises(AskError, match="format 99, this version reads up to 3"):
        Ledger(old)
    assert old.read_bytes() == before
