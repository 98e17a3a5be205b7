"""A wait sees the state itself: a lock that is held, and no file that is merely open."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from polling import is_alive, suspend_holding, wait_for_end, wait_until

_LOCKING = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    print("opened", flush=True)
    input()
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held", flush=True)
    input()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "a.lock"
    path.touch()
    return path


@pytest.fixture
def locking(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that has opened a file, and locks it when it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKING, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert said(process) == "opened"
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_file_that_is_open_is_no_lock_that_is_held(
    locking: "subprocess.Popen[str]", lock: Path
) -> None:
    with pytest.raises(TimeoutError, match=r"holds .*a\.lock"):
        suspend_holding(psutil.Process(locking.pid), lock, timeout=0.2)
    go_on(locking)
    assert said(locking) == "held", "the looks took the lock from it, or left it suspended"


def test_a_process_is_suspended_with_the_lock_in_hand(
    locking: "subprocess.Popen[str]", lock: Path
) -> None:
    process = psutil.Process(locking.pid)
    go_on(locking)
    assert suspend_holding(process, lock)
    assert process.status() == psutil.STATUS_STOPPED
    process.resume()
    assert said(locking) == "held"
    go_on(locking)
    wait_for_end(process)
    assert locking.wait() == 0


def test_a_process_that_ends_without_the_lock_is_told(
    locking: "subprocess.Popen[str]", lock: Path
) -> None:
    process = psutil.Process(locking.pid)
    locking.kill()
    assert not suspend_holding(process, lock)
    assert not is_alive(process)


def test_a_wait_says_what_never_came() -> None:
    assert wait_until(iter([0, 0, 7]).__next__, "a number") == 7
    with pytest.raises(TimeoutError, match=r"not after 0\.05 s: the moon"):
        wait_until(lambda: None, "the moon", timeout=0.05)
