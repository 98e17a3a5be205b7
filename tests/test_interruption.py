"""Ctrl-C, as a process sees it: what is in flight is billed, so it is waited for and kept."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from asking import kept
from fake_server import ChatServer, says
from polling import wait_until

_ASKING = """
import sys
from pathlib import Path
from lion import console
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.config.settings import Api, Endpoint, Modes
from lion.prompting.protocol import Request
endpoint = Endpoint(base_url=sys.argv[1], model="m-1", api_key_env=None, send_seed=True, request={})
api = Api(concurrency=4, timeout=60.0, tries=3, max_wait=1.0, max_request_seconds=600.0,
          requests_per_minute=None, tokens_per_minute=None, batch_least=1, batch_tail=0.0,
          mode=Modes(teacher="live", referee="live", generator="live"))
with console.error_boundary():
    with Ledger(Path(sys.argv[2])) as ledger, LLMClient(endpoint, api, ledger, 0) as client:
        client.complete([Request(({"role": "user", "content": f"q{n}"},)) for n in range(1000)])
"""


WAITING = "calls in flight are waited for"


def interrupted(server: ChatServer, folder: Path, *, again: bool) -> str:
    """Answer 40 questions, hold back the next 4, interrupt; return what the process printed.

    The first signal is answered with a message. Then the 4 are answered, or a second signal sent.
    """
    held = threading.Event()
    server.answer = lambda call: replace(
        says(call.question), held=None if call.number <= 40 else held
    )
    command = [sys.executable, "-c", _ASKING, server.url, str(folder / "ledger.sqlite")]
    said = folder / "stderr"
    with said.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        wait_until(lambda: len(server.calls) == 44 and kept(folder) == 40, "40 of 44 are answered")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: WAITING in said.read_text(), f"it says: {WAITING}")
        if again:
            process.send_signal(signal.SIGINT)
        else:
            held.set()
        assert process.wait(60) == 130
    assert "Traceback" not in said.read_text()
    return said.read_text()


def test_what_is_in_flight_is_waited_for(chat_server: ChatServer, tmp_path: Path) -> None:
    interrupted(chat_server, tmp_path, again=False)
    assert kept(tmp_path) == 44


def test_a_second_signal_abandons_what_is_in_flight(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    assert "interrupted" in interrupted(chat_server, tmp_path, again=True)
    assert kept(tmp_path) == 40
