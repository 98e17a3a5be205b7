"""A base model from a hub: a real one on loopback, with a cache, a commit, and a gate."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny
from fixtures import ROOT

COMMIT = "a" * 40
NEXT = "b" * 40


class Hub(ThreadingHTTPServer):
    """The part of the hub's protocol that downloads use; `calls` are the paths asked for.

    `org/free` has two commits, `main` being the second; `org/gated` refuses with the hub's words.
    """

    daemon_threads = True

    def __init__(self, commits: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits = {**commits, "main": commits[NEXT]}
        self.calls: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.server.calls.append(path)
        if "gated" in path:
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
            self._send(403, b"{}", headers)
            return
        parts = path.strip("/").split("/")
        if parts[4:5] == ["tree"]:
            self._send(200, b"[]", {"Content-Type": "application/json"})
        elif parts[:2] == ["api", "models"]:
            self._listing(parts[5] if len(parts) > 5 else "main")
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file(parts[3], "/".join(parts[4:]))
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _listing(self, revision: str) -> None:
        folder = self.server.commits.get(revision)
        if folder is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = [{"rfilename": one.name, "size": one.stat().st_size} for one in folder.iterdir()]
        document = {"id": "org/free", "sha": self._commit(revision), "siblings": files}
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _file(self, revision: str, name: str) -> None:
        folder = self.server.commits.get(revision)
        if folder is None or not (folder / name).is_file():
            code = "RevisionNotFound" if folder is None else "EntryNotFound"
            self._send(404, b"", {"X-Error-Code": code, "X-Repo-Commit": self._commit(revision)})
            return
        content = (folder / name).read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self._commit(revision)})

    def _commit(self, revision: str) -> str:
        return NEXT if revision == "main" else revision

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    commits = {COMMIT: tiny.folder(folder / "first", "qwen2")}
    commits[NEXT] = tiny.folder(folder / "second", "neox")
    server = Hub(commits)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


USER = """
import json, sys
from pathlib import Path
import tiny
from lion.generation import seed_pool as base
from lion.pipeline.checks import student as inspection
from lion.student import checkpoint as student
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.errors import ModelError

said = []
for model, revision in json.loads(sys.argv[1]):
    settings = tiny.student_settings(model=model, revision=revision)
    told = inspection.checkpoint_problems(settings, ask_hub=True)
    size = inspection.student_bytes(settings, ask_hub=True)
    pointer = text = None
    try:
        folder = Path(sys.argv[2]) / f"{model.replace('/', '-')}-{revision}"
        base.write_student(folder, settings, [], 0)
        pointer = student.Pointer.read(folder).revision
        task = AnsweringTask(folder, settings, tiny.answering_settings(), 0, "me")
        text = answer([tiny.instruction("What is 17 plus 25?")], task)[0].text
    except ModelError as error:
        told.append(str(error))
    said.append({"told": told, "size": size, "pinned": pointer, "text": text})
print(json.dumps(said))
"""


def use(hub: Hub, folder: Path, models: list[tuple[str, str | None]], **env: str) -> Any:
    """Let a new process take up base models: the hub library reads its environment once."""
    done = subprocess.run(
        [sys.executable, "-c", USER, json.dumps(models), str(folder / "students")],
        env={
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(folder / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            **env,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_base_model_is_taken_from_a_hub_and_again_from_its_cache(
    hub: Hub, tmp_path: Path
) -> None:
    wanted = [("org/free", None), ("org/free", COMMIT), ("org/gated", None), ("org/none", "c" * 40)]
    latest, pinned, gated, absent = use(hub, tmp_path, wanted)
    assert (latest["told"], latest["pinned"]) == ([], NEXT)
    assert (pinned["told"], pinned["pinned"]) == ([], COMMIT)
    assert latest["text"] != pinned["text"], "two commits, two models"
    assert min(latest["size"], pinned["size"]) > 10_000
    for told in gated["told"]:
        assert "org/gated: gated on the hub. Accept its terms there and set HF_TOKEN." in told
    assert len(gated["told"]) == 2, "when it is looked up, and when it is taken"
    assert "no such revision on the hub" in absent["told"][0]

    before = len(hub.calls)
    again = [("org/free", COMMIT), ("org/free", None), ("org/other", None)]
    pinned_again, latest_again, other = use(hub, tmp_path, again, HF_HUB_OFFLINE="1")
    assert pinned_again == pinned
    assert "pin student.revision" in latest_again["told"][0], "which commit is the latest?"
    assert "org/other: not in the cache, and the hub cannot be reached" in other["told"][0]
    assert len(hub.calls) == before, "offline, nobody is asked"
