"""A served student answers as the student itself does, and as no other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from fake_server import ChatServer, refuses, says
from fixtures import Workplace
from test_servers import wait_for

from lion.config.settings import Settings
from lion.errors import EndpointError, ModelError
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.inference.respondent import Respondent
from lion.pipeline import stage
from lion.records.rows import Answer
from lion.serving import server
from lion.student import checkpoint
from lion.student.fingerprint import served_name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(work: stage.Work, folder: Path, iteration: str, random_seed: int) -> list[Answer]:
    return Respondent(folder, iteration, work.settings, work).respond(ROWS, random_seed)


ROWS = [tiny.instruction(text) for text in ("Say yes", "What is 17 plus 25?", "Reverse c a f b")]


def at(workplace: Workplace, url: str, **changes: object) -> Settings:
    endpoint = {"base_url": url, "api_key_env": None, "send_seed": True, "request": {}}
    return workplace.params(
        {"student.endpoint": endpoint, "student.threads": None, **changes, "api.tries": 1}
    )


def test_the_student_is_asked_by_its_own_name_with_a_seed_a_row(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    folder = tiny.folder(workplace.path / "student")
    work = stage.Work("respond", "2", at(workplace, chat_server.url))
    given = answers(work, folder, "1", 5)
    assert [one.text for one in given] == [f"to: {r.messages[0]['content']}" for r in ROWS]
    assert {call.body["model"] for call in chat_server.calls} == {served_name(folder, "1")}
    assert {call.body["max_tokens"] for call in chat_server.calls} == {24}
    seeds = {call.body["seed"] for call in chat_server.calls}
    assert len(seeds) == len(ROWS)
    assert work.call_stats["student"].calls == len(ROWS)
    assert answers(work, folder, "1", 5) == given
    assert len(chat_server.calls) == len(ROWS), "the ledger has them"
    answers(work, folder, "1", 6)
    assert seeds.isdisjoint(call.body["seed"] for call in chat_server.calls[len(ROWS) :])


def test_another_students_bytes_are_another_name(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    before = served_name(folder, "1")
    assert before.startswith("student-1-")
    checkpoint.save(tiny.model(seed=1), tiny.tokenizer(), folder)
    assert served_name(folder, "1") != before


def test_a_server_of_another_student_is_refused_with_the_command(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    folder = tiny.folder(workplace.path / "student")
    chat_server.answer = refuses(404, "model not found", code="model_not_found")
    work = stage.Work("respond", "2", at(workplace, chat_server.url))
    with pytest.raises(EndpointError, match=r"run `lion serve-student --iteration 1` there"):
        answers(work, folder, "1", 0)


def test_a_name_refused_as_one_requests_fault_is_the_servers_other_student(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    """`transformers serve` answers 400 to the name of a student that it does not have."""
    folder = tiny.folder(workplace.path / "student")
    chat_server.answer = refuses(400, "Server is pinned to 'student-1-0'; requested another")
    work = stage.Work("respond", "2", at(workplace, chat_server.url))
    with pytest.raises(EndpointError, match=r"pinned to.*run `lion serve-student --iteration 1`"):
        answers(work, folder, "1", 0)


def test_an_empty_answer_is_one_and_a_failure_is_not(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    folder = tiny.folder(workplace.path / "student")
    work = stage.Work("respond", "2", at(workplace, chat_server.url))
    chat_server.answer = says("", finish_reason="length")
    assert {(one.text, one.finish_reason) for one in answers(work, folder, "1", 0)} == {
        ("", "length")
    }
    chat_server.answer = says(None, finish_reason="content_filter")
    with pytest.raises(ModelError, match="content_filter"):
        answers(work, folder, "1", 1)


@pytest.mark.slow
def test_a_student_that_transformers_serves_answers_as_here(workplace: Workplace) -> None:
    """`lion serve-student` on a real engine: the greedy answers are those of the student itself."""
    folder = tiny.folder(workplace.path / "data" / "1" / "student")
    port = free_port()
    settings = at(workplace, f"http://127.0.0.1:{port}/v1", **{"answering.max_tokens": 8})
    command = [sys.executable, "-m", "lion.cli", "serve-student", "--iteration", "1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        work = stage.Work("respond", "2", settings)
        there = [one.text for one in answers(work, folder, "1", 0)]
        with pytest.raises(EndpointError):
            answers(work, folder, "0", 0)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    task = AnsweringTask(folder, settings.student, settings.answering, 0, "me")
    assert there == [one.text for one in answer(ROWS, task)]
    server.prepared(folder, served_name(folder, "1"), settings)
