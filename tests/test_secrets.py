"""A key of the environment stands in no file and no message, whatever the server does with it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import Behaviour, Call, ChatServer, refuses, says
from pipeline import Project, Run

# in no file: this one is copied, too
PLANTED = {
    "PLANTED_KEY": "-".join(("sk", "planted", "5d1e0a77c2")),
    "AZURE_KEY": "-".join(("azure", "planted", "90b3f1")),
}


def leaks(root: Path) -> list[Path]:
    """Return every file below `root`, DVC's cache and the ledger included, that holds a key."""
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 100
    return [path for path in files if shown_keys(path.read_bytes())]


def shown_keys(content: bytes) -> list[str]:
    """Return the variables whose keys stand in `content`."""
    return [variable for variable, key in PLANTED.items() if key.encode() in content]


def sent(call: Call) -> str:
    """Return headers of a request, as a server shows them that is being debugged."""
    return json.dumps({name: call.headers[name] for name in ("Host", "Authorization", "api-key")})


@pytest.fixture
def repeating(chat_server: ChatServer) -> Iterator[ChatServer]:
    """Return a server that puts the headers it was sent into each of its refusals."""

    def answer(call: Call) -> Behaviour:
        if "Task 3 " in call.question:
            return refuses(400, f"{sent(call)} asked something improper")
        return (
            refuses(500, f"{sent(call)} must wait") if call.number % 7 == 0 else says("an answer")
        )

    chat_server.answer = answer
    yield chat_server


@pytest.fixture
def project(tmp_path: Path, repeating: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with a pool of its own and a teacher that wants the key."""
    for variable, key in PLANTED.items():
        monkeypatch.setenv(variable, key)
    project = Project.of_working_tree(tmp_path / "project", "ci")
    rows = [{"instruction": f"Task {n} of the day, please", "output": "x"} for n in range(40)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (project.root / "inputs" / "tasks.jsonl").write_text(text)
    endpoint = {
        "base_url": repeating.url,
        "api_key_env": "PLANTED_KEY",
        "send_seed": True,
        "headers": {"api-key": "AZURE_KEY"},
        "query": {"api-version": "2024-10-21"},
    }
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
    assert dropped.count("(the key)") == 2, "of each key"
    assert {call.query for call in repeating.calls} == {"api-version=2024-10-21"}
    repeating.answer = lambda call: refuses(401, f"no such key: {sent(call)}")
    project.edit({"teacher.model": "m-2"})
    refused = _repro(project)
    assert refused.code != 0
    assert "no such key" in refused.output
    assert shown_keys((run.output + refused.output).encode()) == []
    assert leaks(project.root) == []
