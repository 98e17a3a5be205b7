"""A key of the environment stands in no file and no message, whatever the server does with it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import Behaviour, Call, ChatServer, refuses, says
from pipeline import Project, Run

KEY = "-".join(("sk", "planted", "5d1e0a77c2"))  # in no file: this one is copied, too
VARIABLE = "PLANTED_KEY"


def leaks(root: Path, key: str) -> list[Path]:
    """Return every file below `root`, DVC's cache and the ledger included, that holds the key."""
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 100
    return [path for path in files if key.encode() in path.read_bytes()]


@pytest.fixture
def repeating(chat_server: ChatServer) -> Iterator[ChatServer]:
    """Return a server that puts the key it was sent into each of its refusals."""

    def answer(call: Call) -> Behaviour:
        sent = call.headers["Authorization"]
        if "Task 3 " in call.question:
            return refuses(400, f"{sent} asked something improper")
        return refuses(500, f"{sent} must wait") if call.number % 7 == 0 else says("an answer")

    chat_server.answer = answer
    yield chat_server


@pytest.fixture
def project(tmp_path: Path, repeating: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with a pool of its own and a teacher that wants the key."""
    monkeypatch.setenv(VARIABLE, KEY)
    project = Project.of_working_tree(tmp_path / "project", "ci")
    rows = [{"instruction": f"Task {n} of the day, please", "output": "x"} for n in range(40)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (project.root / "inputs" / "tasks.jsonl").write_text(text)
    endpoint = {"base_url": repeating.url, "api_key_env": VARIABLE, "send_seed": True}
    roles = ("teacher", "generator")
    project.edit(
        {
            **{role: {**endpoint, "model": "m-1", "request": {}} for role in roles},
            "referee": {**endpoint, "model": "m-1", "request": {}, "form": "text"},
            "seed.source": ["inputs/tasks.jsonl"],
            "exam": {"file": None, "size": 1, "scorer": {"kind": "exact", "option": None}},
            "seed.holdout": 10,
            "generate.hard": 10,
            "generate.easy": 5,
            "teach.max_dropped": 0.1,
            "api.max_wait": 0.05,
        }
    )
    project.commit()
    return project


def _repro(project: Project) -> Run:
    return project.repro("base-teach")


@pytest.mark.slow
def test_no_file_and_no_message_holds_the_key(project: Project, repeating: ChatServer) -> None:
    """A row is dropped with the server's words, others are asked again; then the key is refused."""
    run = _repro(project)
    assert run.code == 0, run.output
    dropped = (project.root / "data" / "0" / "dropped.teach.jsonl").read_text()
    assert "asked something improper" in dropped
    assert "(the key)" in dropped
    repeating.answer = lambda call: refuses(401, f"no such key: {call.headers['Authorization']}")
    project.edit({"teacher.model": "m-2"})
    refused = _repro(project)
    assert refused.code != 0
    assert "no such key" in refused.output
    assert KEY not in run.output + refused.output
    assert leaks(project.root, KEY) == []
