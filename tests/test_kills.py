"""Killed at random while answering, a task ends with the answers of an undisturbed one."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import tiny
from fixtures import ROOT
from polling import wait_until

from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.records.rows import Instruction

KILLS = 20
SETTINGS = tiny.student_settings(threads=1)
ROWS = [tiny.instruction(f"{text} {n}") for n in range(30) for text in tiny.TEXTS]


def _task(folder: Path) -> AnsweringTask:
    options = {"temperature": 1.0, "batch_size": 5, "max_tokens": 40}
    return AnsweringTask(folder, SETTINGS, tiny.answering_settings(**options), 0, "me")


def work(folder: Path, keep: Path) -> None:
    """Answer, in a process that will be killed."""
    answer(ROWS, _task(folder), keep)


def batches(keep: Path) -> int:
    return len(list(keep.glob("*/0*.jsonl")))


@pytest.mark.slow
def test_twenty_kills_change_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, keep = tiny.folder(tmp_path / "student"), tmp_path / "keep"
    undisturbed = answer(ROWS, _task(folder), tmp_path / "other")
    total = batches(tmp_path / "other")
    assert total == 30
    # forks of a process that has imported everything: each is ready at once; it imports by the
    # environment's path alone
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_kills", "lion.inference.hf_backend"])
    draw = random.Random(0)
    landed = seen = 0
    for kill in range(KILLS):
        # at about as many moments as there are batches left, so that each kill finds work
        process = context.Process(target=work, args=(folder, keep))
        process.start()
        goal = min(seen + 1, total - 1)
        wait_until(
            lambda: not process.is_alive() or batches(keep) >= goal,  # noqa: B023 - used at once
            "one batch more is kept",
            interval=0.002,
        )
        time.sleep(draw.random() * 0.05)  # a random moment, no state
        process.kill()
        process.join()
        landed += process.exitcode == -9
        seen = batches(keep)
        if kill < 3:
            assert 0 < seen < total
    assert landed >= 10, "the task ended before it could be killed"
    assert answer(ROWS, _task(folder), keep) == undisturbed
    assert not [path for path in keep.rglob("*") if "stale" in path.name]


def test_the_rows_are_distinct() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert isinstance(ROWS[0], Instruction)
