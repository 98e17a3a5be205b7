"""Waiting for a lock is said, with the process that holds it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from lion import console
from lion.llm import ledger as ledgers
from lion.llm.batch_api import batches_lock
from lion.llm.ledger import Ledger
from lion.locks import held_by

_FLOCK = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""
_SQLITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holder(code: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that holds the lock of a file until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_who_holds_a_lock_is_known(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert held_by(path) == ""
    with FileLock(path):
        assert held_by(path) == "", "we do not wait for ourselves"
    with holder(_FLOCK, path) as process:
        assert f"held by process {process.pid} (" in held_by(path)
    assert held_by(path) == ""


def test_waiting_for_the_ledger_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setattr(ledgers, "_LOCK_NOTICE", 0.2)
    with Ledger(path) as ledger, holder(_SQLITE, path) as process:
        say = console.say

        def release(sentence: str) -> None:
            say(sentence)
            process.kill()

        monkeypatch.setattr(console, "say", release)
        ledger.release([1])
        said = capsys.readouterr().err
        assert f"waiting for the ledger, held by process {process.pid} (" in said


def test_waiting_for_the_batches_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_WAIT_NOTICE", 0.1)
    lock = tmp_path / "batches.lock"
    with Ledger(tmp_path / "ledger.sqlite") as ledger, holder(_FLOCK, lock) as process:
        say = console.say

        def release(sentence: str) -> None:
            say(sentence)
            process.kill()

        monkeypatch.setattr(console, "say", release)
        with batches_lock(ledger):
            pass
        assert (
            f"the lock of the batches, held by process {process.pid} (" in capsys.readouterr().err
        )


def test_a_short_wait_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    with console.waiting("never"):
        pass
    assert capsys.readouterr().err == ""
