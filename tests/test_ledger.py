"""What was paid for stays: across crashes, processes, and later versions."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lion.errors import AskError
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.caps import Amount, Cap, Demand
from lion.llm.ledger import Ledger


def key(number: int | str) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def entry(number: int | str, reply: bytes = b"reply") -> Entry:
    return Entry(key(number), b"{}", 0, reply, Call("http://one/v1"))


def reserve(ledger: Ledger, amounts: list[Amount], cap: Cap) -> list[int | None]:
    """Return the numbers of what is set aside, None where the cap is reached."""
    grants = ledger.grant([Demand(amount, amount) for amount in amounts], cap)
    return [grant[0] if isinstance(grant, tuple) else None for grant in grants]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "deep" / "ledger.sqlite") as opened:
        yield opened


def test_a_reply_comes_back_byte_for_byte(ledger: Ledger) -> None:
    raw = bytes(range(256))
    ledger.write([entry(1, raw)])
    assert ledger.look_up([key(1)]) == {key(1): raw}


def test_more_keys_than_one_query_takes_are_found(ledger: Ledger) -> None:
    ledger.write([entry(number, str(number).encode()) for number in range(1203)])
    found = ledger.look_up([key(number) for number in range(1300)])
    assert found == {key(number): str(number).encode() for number in range(1203)}
    assert ledger.look_up([]) == {}


def test_a_key_keeps_its_first_reply(ledger: Ledger) -> None:
    """Outputs already follow from it: a second reply would change them without a reason."""
    ledger.write([entry(1, b"first")])
    ledger.write([entry(1, b"second"), entry(2, b"other")])
    assert ledger.look_up([key(1), key(2)]) == {key(1): b"first", key(2): b"other"}
    assert ledger.count() == 2


def test_a_failure_never_comes_back_as_an_answer(ledger: Ledger) -> None:
    ledger.write([FailedCall(key(1), "timeout", "no reply in 120 s", Call("http://one/v1"))])
    assert ledger.look_up([key(1)]) == {}
    assert ledger.count() == 0
    ledger.write([entry(1, b"at last")])
    assert ledger.look_up([key(1)]) == {key(1): b"at last"}


def test_a_failure_after_a_reply_does_not_hide_it(ledger: Ledger) -> None:
    ledger.write([entry(1, b"paid")])
    ledger.write([FailedCall(key(1), "timeout", "", Call("http://one/v1"))])
    assert ledger.look_up([key(1)]) == {key(1): b"paid"}


def test_a_ledger_opened_again_has_everything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as first:
        first.write([entry(1)])
    with Ledger(path) as second:
        assert second.look_up([key(1)]) == {key(1): b"reply"}


def test_a_copy_tells_what_was_asked_and_of_whom(tmp_path: Path) -> None:
    """Any SQLite client shows what was paid for, without Lion."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.write([Entry(key(1), b'{"q":1}', 3, b"r", Call("http://one/v1"))])
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        row = connection.execute("SELECT endpoint, request, sample, reply, at FROM replies")
        endpoint, request, sample, reply, at = row.fetchone()
    connection.close()
    assert (endpoint, request, sample, reply) == ("http://one/v1", b'{"q":1}', 3, b"r")
    assert at.startswith("20")
    assert at.endswith("Z")


_WRITER = """
import hashlib, sys
from pathlib import Path
from lion.llm.calls import Call, Entry
from lion.llm.ledger import Ledger
path, start, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Ledger(Path(path)) as ledger:
    for number in range(start, stop):
        key = hashlib.sha256(str(number).encode()).digest()
        ledger.write([Entry(key, b"{}", 0, str(number).encode() * 200, Call("http://one/v1"))])
        print(number, flush=True)
"""


def writer(path: Path, start: int, stop: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _WRITER, str(path), str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_reported_durable_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    reported = []
    for start in (0, 100_000):  # the second writer begins on what the killed one left
        process = writer(path, start, start + 100_000)
        assert process.stdout is not None
        reported += [int(process.stdout.readline()) for _ in range(120)]
        os.kill(process.pid, signal.SIGKILL)
        reported += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
    assert len(reported) >= 240
    with Ledger(path) as ledger:
        found = ledger.look_up([key(number) for number in reported])
    assert found == {key(number): str(number).encode() * 200 for number in reported}


@pytest.mark.parametrize("suffix", ["-wal", ""])
def test_a_file_cut_at_any_byte_gives_whole_replies_or_an_error(
    tmp_path: Path, suffix: str
) -> None:
    """What a power cut leaves of the log loses the last commits, and never half of a reply."""
    whole, rng = tmp_path / "whole.sqlite", random.Random(3)
    replies = {key(number): rng.randbytes(rng.randrange(3000)) for number in range(120)}
    with Ledger(whole) as ledger:
        for start in range(0, len(replies), 8):
            group = list(replies)[start : start + 8]
            ledger.write(
                [Entry(one, b"{}", 0, replies[one], Call("http://one/v1")) for one in group]
            )
        images = {name: whole.with_name(whole.name + name).read_bytes() for name in ("", "-wal")}
    counts = set()
    for number in range(25):
        path = tmp_path / f"cut{number}.sqlite"
        for name, image in images.items():
            cut = rng.randrange(len(image)) if name == suffix else len(image)
            path.with_name(path.name + name).write_bytes(image[:cut])
        try:
            with Ledger(path) as ledger:
                found = ledger.look_up(list(replies))
        except AskError:
            assert suffix == ""  # the log is mended, the file itself cannot be
            continue
        assert found.items() <= replies.items()
        counts.add(len(found))
    assert suffix == "" or len(counts) > 5


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    """Overlapping ranges: nothing is lost, nothing is doubled, nobody is locked out."""
    path = tmp_path / "ledger.sqlite"
    processes = [writer(path, start, start + 150) for start in (0, 100)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Ledger(path) as ledger:
        assert ledger.count() == 250
        assert len(ledger.look_up([key(number) for number in range(250)])) == 250


def test_a_ledger_that_several_create_at_the_same_instant_opens_for_all(tmp_path: Path) -> None:
    """SQLite's own time-out does not cover the switch to the write-ahead log."""
    together = threading.Barrier(4)

    def create(number: int) -> None:
        together.wait(60)
        with Ledger(tmp_path / f"{number}.sqlite") as ledger:
            assert ledger.count() == 0

    with ThreadPoolExecutor(4) as pool:
        for number in range(40):
            list(pool.map(create, [number] * 4))


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database at all, but somebody's notes\n" * 50)
    before = path.read_bytes()
    with pytest.raises(AskError, match=r"ledger.sqlite: the ledger cannot be opened"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=4")
    connection.close()
    with pytest.raises(AskError, match=r"format 4, this version reads up to 3. Update Lion"):
        Ledger(path)


def test_a_disk_that_takes_no_more_is_told_and_keeps_what_there_is(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.write([entry(1)])
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own full disk
        with pytest.raises(AskError, match=r"cannot be written: .*full.* Make room"):
            ledger.write([entry(2), entry(3, b"x" * 100_000)])
        assert ledger.look_up([key(1), key(2), key(3)]) == {key(1): b"reply"}
        ledger._connection.execute("PRAGMA max_page_count=1000000")
        ledger.write([entry(2)])
        assert ledger.count() == 2


# --- money -----------------------------------------------------------------------------------


def test_what_calls_used_is_summed_failed_ones_too(ledger: Ledger) -> None:
    ledger.write(
        [
            Entry(key(1), b"{}", 0, b"r", Call("e", "m", "teach@0", 10, 5, 700)),
            FailedCall(key(2), "empty_reply", "", Call("e", "m", "teach@0", 3, 0, None)),
        ]
    )
    assert ledger.spent() == (Amount(2, 18, 700, 1), Amount())


def test_a_cap_is_never_exceeded_by_what_is_set_aside(ledger: Ledger) -> None:
    numbers = reserve(ledger, [Amount(1, 40)] * 3, Cap(tokens=100))
    assert [number is None for number in numbers] == [False, False, True]
    assert reserve(ledger, [Amount(1, 20)], Cap(tokens=100)) != [None]
    assert reserve(ledger, [Amount(1, 1)], Cap(tokens=100)) == [None]


def test_a_reply_settles_what_was_set_aside_for_it(ledger: Ledger) -> None:
    (number,) = reserve(ledger, [Amount(1, 100)], Cap(tokens=100))
    ledger.write(
        [Entry(key(1), b"{}", 0, b"r", Call("e", prompt=10, completion=5, reservation=number))]
    )
    assert ledger.spent() == (Amount(1, 15, 0, 1), Amount())
    assert reserve(ledger, [Amount(1, 85)], Cap(tokens=100)) != [None]


def test_what_a_killed_process_had_set_aside_stays_so(tmp_path: Path) -> None:
    """Its calls may have been billed."""
    with Ledger(tmp_path / "l.sqlite") as first:
        reserve(first, [Amount(1, 60)], Cap(tokens=100))
    with Ledger(tmp_path / "l.sqlite") as second:
        assert reserve(second, [Amount(1, 60)], Cap(tokens=100)) == [None]


def test_a_cap_of_nothing_allows_nothing(ledger: Ledger) -> None:
    for cap in (Cap(calls=0), Cap(tokens=0), Cap(nanodollars=0)):
        assert reserve(ledger, [Amount(1, 1, 1)], cap) == [None]


_FORMAT_1 = """
CREATE TABLE replies (key BLOB PRIMARY KEY, endpoint TEXT NOT NULL, request BLOB NOT NULL,
    sample INTEGER NOT NULL, reply BLOB NOT NULL, at TEXT NOT NULL DEFAULT '2026-11-22T00:00:00Z');
CREATE TABLE failures (key BLOB NOT NULL, endpoint TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, at TEXT NOT NULL DEFAULT '2026-11-22T00:00:00Z');
PRAGMA user_version=1;
"""


def test_a_ledger_of_format_1_is_taken_over(tmp_path: Path) -> None:
    """Nothing that was paid for is lost to an update."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(_FORMAT_1)
    row = (key(1), "http://one/v1", b"{}", 0, b"reply")
    connection.execute(
        "INSERT INTO replies (key, endpoint, request, sample, reply) VALUES (?, ?, ?, ?, ?)", row
    )
    connection.execute(
        "INSERT INTO failures (key, endpoint, reason, detail) VALUES (?, 'e', 'x', '')", (key(2),)
    )
    connection.commit()
    connection.close()
    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.look_up([key(1), key(2)]) == {key(1): b"reply"}
            assert ledger.spent() == (Amount(2, 0, 0, 2), Amount())


def test_a_ledger_of_format_2_is_taken_over(tmp_path: Path) -> None:
    """It lacks the batches; its replies and what was spent stay."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.write([entry(1)])
        ledger._connection.executescript(
            "DROP TABLE batches; DROP TABLE batched; PRAGMA user_version=2;"
        )
    with Ledger(path) as ledger:
        assert ledger.stored_keys([key(1), key(2)]) == {key(1)}
        assert ledger.spent()[0].calls == 1
        assert ledger._connection.execute("SELECT count(*) FROM batched").fetchone() == (0,)


def test_what_is_written_together_is_there_together_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.write([entry(1)])
        reserve(ledger, [Amount(1, 5)], Cap(calls=9))
        _ = 1 // 0
    assert (ledger.count(), ledger.spent()) == (0, (Amount(), Amount()))
    with ledger.transaction():
        ledger.write([entry(1)])
    assert ledger.count() == 1


def _use(path: Path) -> None:
    with Ledger(path) as opened:
        opened.look_up([key(number) for number in range(300)])
        opened.stored_keys([key(1)])
        opened.has_failed(key(1), "timeout", 1)
        opened.answered_request("http://one/v1", "")
        opened.spent()
        opened.count()
        opened.write([entry("new")])


DAMAGES = {
    "no database": lambda raw: raw[::-1],
    "half of the file": lambda raw: raw[: len(raw) // 2],
    "its first page": lambda raw: raw[:100] + bytes(3996) + raw[4096:],
    "a page in the middle": lambda raw: raw[:8192] + b"\xa5" * 8192 + raw[16384:],
    "a page at the end": lambda raw: raw[:-4096] + b"\xa5" * 4096,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_told_and_never_taken_for_an_empty_one(
    tmp_path: Path, damage: str
) -> None:
    """Else everything would be paid for again."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as opened:
        opened.write([entry(number, b"reply" * 60) for number in range(300)])
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(AskError, match=r"the ledger cannot be (opened|read|written)"):
        _use(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_ledger_that_may_not_be_written_is_told_before_anything_is_paid() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as opened:
            opened.write([entry(1)])
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        child = os.fork()
        if child == 0:
            os.setuid(65534)  # nobody
            try:
                Ledger(path)
            except AskError:
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
