"""Ctrl-C, as a process sees it: what is in flight is billed, so it is waited for and kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from asking import kept
from loopback import ChatServer, says

_ASKING = """
import sys
from pathlib import Path
from lion import console
from lion.asking.api import Asker
from lion.asking.ledger import Ledger
from lion.settings import Api, Endpoint, Modes
from lion.wire import Request
endpoint = Endpoint(base_url=sys.argv[1], model="m-1", api_key_env=None, send_seed=True, request={})
api = Api(concurrency=4, timeout=60.0, tries=3, max_wait=1.0, patience=600.0,
          requests_per_minute=None, tokens_per_minute=None, batch_least=1, batch_tail=0.0,
          mode=Modes(teacher="live", referee="live", generator="live"))
with console.error_boundary():
    with Ledger(Path(sys.argv[2])) as ledger, Asker(endpoint, api, ledger, 0) as asker:
        asker.ask([Request(({"role": "user", "content": f"q{n}"},)) for n in range(1000)])
"""


def interrupted(server: ChatServer, folder: Path, *, slow: float, signals: int) -> str:
    """Ask 40 quick questions and 4 slow ones, interrupt then; return what was told."""
    server.answer = lambda call: says(call.question, delay=0.0 if call.number <= 40 else slow)
    command = [sys.executable, "-c", _ASKING, server.url, str(folder / "ledger.sqlite")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len(server.calls) < 44 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)  # the last replies are being written
    for _ in range(signals):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.3)
    _, told = process.communicate(timeout=25)
    assert process.returncode == 130
    assert "Traceback" not in told
    return told


def test_what_is_in_flight_is_waited_for(chat_server: ChatServer, tmp_path: Path) -> None:
    told = interrupted(chat_server, tmp_path, slow=1.5, signals=1)
    assert "calls in flight are waited for" in told
    assert kept(tmp_path) == 44


def test_a_second_signal_abandons_what_is_in_flight(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    began = time.monotonic()
    told = interrupted(chat_server, tmp_path, slow=60, signals=2)
    assert time.monotonic() - began < 45
    assert "interrupted" in told
    assert kept(tmp_path) == 40
