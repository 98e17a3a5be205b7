"""The frame of a stage, as a process: lock, settings, record, errors and exit codes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_server import ChatServer
from fixtures import Workplace

from lion.config import project
from lion.errors import TooManyDroppedError
from lion.failure_limit import check_dropped
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.pipeline import stage
from lion.records.rows import Dropped

_STAGE = """
import os, sys, time
from lion.pipeline import stage
from lion.errors import DataError
def run(work):
    what = os.environ.get("WHAT", "")
    if what == "wait":
        print("running", flush=True)
        time.sleep(3600)
    if what == "data":
        raise DataError("data/0/x.jsonl, line 3: no such thing")
    if what == "bug":
        return str(1 / 0)
    return f"done {work.iteration} after {work.previous if work.iteration != '0' else 'none'}"
stage.run("split", run)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", _STAGE, *arguments]


def ran(*arguments: str, what: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env={**os.environ, "WHAT": what}
    )


def test_a_stage_closes_with_one_sentence_and_a_record(workplace: Workplace) -> None:
    found = ran("2")
    assert (found.returncode, found.stdout) == (0, "")
    assert found.stderr == "split@2: done 2 after 1\n"
    record = files.read_metrics(workplace.path / ".lion/runs/split@2.json", RunRecord)
    assert (record.finished, record.exit_code, record.asked) == (True, 0, {})


def test_a_known_error_is_a_message_with_the_way_back(workplace: Workplace) -> None:
    found = ran("1", what="data")
    assert found.returncode == 1
    assert found.stderr.startswith("error: data/0/x.jsonl, line 3: no such thing\n")
    assert "`dvc checkout` brings the last ones back" in found.stderr
    assert "Traceback" not in found.stderr
    assert not files.read_metrics(workplace.path / ".lion/runs/split@1.json", RunRecord).finished


def test_an_unforeseen_error_keeps_its_traceback(workplace: Workplace) -> None:
    found = ran("1", what="bug")
    assert found.returncode == 1
    assert "Traceback" in found.stderr
    assert "ZeroDivisionError" in found.stderr
    assert workplace.path.exists()


def test_wrong_settings_are_told_before_anything_runs(workplace: Workplace) -> None:
    path = workplace.path / "params.yaml"
    path.write_text(path.read_text().replace("tau: 1.0", "tau: one"))
    found = ran("1")
    assert found.returncode == 2
    assert "split.tau" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("arguments", [(), ("1", "2"), ("../x",), ("--help",), ("",), ("7",)])
def test_an_iteration_that_is_none_is_refused(
    workplace: Workplace, arguments: tuple[str, ...]
) -> None:
    found = ran(*arguments)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert ("usage: " in found.stderr) or ("no iteration 7" in found.stderr)
    assert not (workplace.path / ".lion").exists()


def test_a_second_process_on_the_same_stage_is_refused(workplace: Workplace) -> None:
    """After kill -9 of dvc its stage runs on. Another stage may run, and the lock ends with it."""
    first = subprocess.Popen(
        command("1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WHAT": "wait"},
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "running\n"
        second = ran("1")
        assert second.returncode == 1
        assert "split@1 runs already in another process" in second.stderr
        assert "Traceback" not in second.stderr
        assert ran("2").returncode == 0
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert ran("1").returncode == 0
    assert workplace.path.exists()


def test_an_interrupt_exits_130(workplace: Workplace) -> None:
    process = subprocess.Popen(
        command("1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WHAT": "wait"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert workplace.path.exists()


def test_what_a_client_did_is_recorded(workplace: Workplace, chat_server: ChatServer) -> None:
    from lion.prompting.protocol import Request

    settings = workplace.params({"teacher.base_url": chat_server.url, "teacher.api_key_env": None})
    work = stage.Work("teach", "1", settings)
    with work.open("teacher", settings.teacher) as client:
        client.complete([Request(({"role": "user", "content": "a"},))])
    assert work.call_stats["teacher"].calls == 1
    assert work.call_stats["teacher"].needed == 1
    assert project.ledger().is_file()


def test_dropped_rows_are_written_with_their_number(workplace: Workplace) -> None:
    settings = workplace.params({})
    work = stage.Work("teach", "1", settings)
    for rows in ([], [Dropped("teach", "timeout", id="a")]):
        work.write_dropped(rows, 10)
        lines = Path("data/1/dropped.teach.jsonl").read_text().splitlines()
        assert len(lines) == len(rows) + 1
        assert f'"dropped":{len(rows)}' in lines[-1]


@pytest.mark.parametrize(
    ("truncated", "others", "count", "words"),
    [
        (43, 1, 84, "truncated: 43 of 84; "),
        (2, 0, 10, ""),  # a fifth, and no more
        (3, 0, 10, "truncated: 3 of 10; "),
        (2, 2, 10, ""),  # together more, but neither alone
        (0, 0, 0, ""),
    ],
)
def test_a_reason_that_drops_more_than_a_fifth_is_the_first_word(
    workplace: Workplace, truncated: int, others: int, count: int, words: str
) -> None:
    work = stage.Work("teach", "1", workplace.params({}))
    rows = [Dropped("teach", "truncated", id=f"t{number}") for number in range(truncated)]
    rows += [Dropped("teach", "timeout", id=f"o{number}") for number in range(others)]
    work.write_dropped(rows, count)
    assert work.warning == words


@pytest.mark.parametrize(
    ("dropped", "count", "share", "refused"),
    [
        (0, 0, 0.0, False),
        (2, 100, 0.02, False),
        (3, 100, 0.02, True),
        (1, 10, 0.0, True),
        (1, 3, 0.02, True),  # a quarter at most, however small the run
        (1, 4, 0.02, False),
        (2, 8, 0.02, False),
        (3, 49, 0.02, True),
        (29, 100, 0.29, False),
        (7, 100, 0.07, False),
        (100, 100, 1.0, False),
    ],
)
def test_too_many_dropped_rows_fail_the_stage(
    dropped: int, count: int, share: float, refused: bool
) -> None:
    rows = [Dropped("teach", "timeout", id=str(n), detail="slow") for n in range(dropped)]
    if not refused:
        check_dropped(rows, share, count, "teach.max_dropped")
        return
    with pytest.raises(TooManyDroppedError, match=r"timeout .*teach\.max_dropped") as caught:
        check_dropped(rows, share, count, "teach.max_dropped")
    assert f"{dropped} of {count} rows dropped" in str(caught.value)
