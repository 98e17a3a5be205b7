"""docs/reference/security.md: what nobody but a foe would send, before what would have to hold."""

import csv
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pipeline import ROOT
from polling import wait_until
from running import Finished

from lion import console
from lion.config import project
from lion.config.addresses import TOKEN, is_loopback
from lion.errors import AskError, LionError, ModelError, SettingsError
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.serving import server as serving
from lion.simulator import server

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
ESCAPE = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe"


def bomb(levels: int) -> str:
    """Return aliases of aliases: ten to the power of `levels` values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{bomb(9)}\n{PARAMS}", "its aliases stand for more than"),
        ("&a [*a]", "its aliases stand for more than"),
        (f"a: {'[' * 5000}{']' * 5000}", "nested too deeply"),
        (PARAMS.replace("random_seed: 0", f"random_seed: {'9' * 6000}"), "not readable as YAML"),
        ("random_seed: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
    ids=["aliases", "a circle", "depth", "an integer", "a tag"],
)
def test_params_that_are_a_bomb_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=told):
        project.load_settings(path)


def test_anchors_of_an_honest_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    once = PARAMS.replace("request: {temp", "request: &asked {temp", 1)
    path.write_text(once, encoding="utf-8")
    assert project.load_settings(path) == project.load_settings(ROOT / "params.yaml")


def test_what_a_model_wrote_cannot_act_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    console.say(f"dropped: {ESCAPE}")
    with pytest.raises(SystemExit), console.error_boundary():
        raise LionError(f"the server says: {ESCAPE}")
    told = capfd.readouterr().err
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert told.count("\\x1b[2J") == 2


def test_no_csv_holds_a_text_of_a_model(finished: Finished) -> None:
    """Every cell is a number, a name of an iteration, or nothing."""
    tables = [
        *finished.project.root.glob("report/*.csv"),
        *finished.project.root.glob("metrics/*/*.csv"),
    ]
    assert tables
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
        for cell in cells:
            assert not cell or cell[0].isdigit() or float(cell) < 0, (path, cell)


@pytest.mark.parametrize("identity", ["../../etc/passwd", "/etc/passwd", "..", "a" * 16 + "/.."])
def test_an_id_that_is_none_never_becomes_a_path(identity: str) -> None:
    made = Instruction.new([{"role": "user", "content": "x"}], origin="seed", iteration="0")
    row = jsonl.as_row(made)
    with pytest.raises(LionError):
        jsonl.parsed({**row, "id": identity}, Instruction)


# --- servers of ours


@pytest.mark.parametrize(
    ("host", "ours"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.1.4", "example.org", "")],
)
def test_loopback_is_told_from_the_world(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_a_teacher_for_others_wants_a_token_before_it_listens() -> None:
    with pytest.raises(AskError, match=TOKEN):
        server.serve_teacher("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("host", "engine", "environment", "told"),
    [
        ("0.0.0.0", "vllm", {}, TOKEN),
        ("0.0.0.0", "transformers", {TOKEN: "t"}, "asks for no token"),
    ],
)
def test_a_student_for_others_wants_a_token_and_an_engine_that_asks_for_it(
    host: str, engine: str, environment: Mapping[str, str], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        serving.guarded(host, engine, environment)
    assert serving.guarded("127.0.0.1", engine, environment) == environment
    vllm = serving.guarded("0.0.0.0", "vllm", {TOKEN: "t"})
    assert vllm["VLLM_API_KEY"] == "t"


@pytest.fixture
def guarded() -> Iterator[int]:
    """Yield the port of a teacher that asks for a token, on every address of this machine."""
    command = [sys.executable, "-m", "lion.simulator.server", "--host", "0.0.0.0"]
    with subprocess.Popen(
        command,
        env={**os.environ, TOKEN: "sesame"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield port_of(process.stderr.readline())
        finally:
            process.kill()


def port_of(printed: str) -> int:
    """Return the port of the address that a teacher prints when it listens."""
    found = re.search(r"embedded teacher.* http://[\d.]+:(\d+)", printed)
    assert found, printed
    return int(found[1])


@pytest.mark.parametrize(
    ("header", "status"),
    [({}, 401), ({"Authorization": "Bearer open"}, 401), ({"Authorization": "Bearer sesame"}, 200)],
)
def test_nobody_is_let_in_without_the_token(
    guarded: int, header: dict[str, str], status: int
) -> None:
    for path in ("/v1/models", "/health"):
        connection = http.client.HTTPConnection("127.0.0.1", guarded, timeout=60)
        connection.request("GET", path, headers=header)
        assert connection.getresponse().status == status
        connection.close()


def test_a_body_that_drips_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.3)
    threading.Thread(target=server.serve_teacher, args=("127.0.0.1", 0), daemon=True).start()
    printed = wait_until(lambda: capsys.readouterr().err, "the teacher listens")
    with socket.create_connection(("127.0.0.1", port_of(printed))) as client:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        client.sendall(head.encode())
        client.settimeout(60)
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
