"""Killed with -9 at random moments, asking pays for nothing twice but what was in flight."""

import random
import subprocess
import sys
import time
from pathlib import Path

from asking import kept
from fake_server import ChatServer, says
from polling import wait_until

_ASKING = """
import sys
from pathlib import Path
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.config.settings import Api, Endpoint, Modes
from lion.prompting.protocol import Request
endpoint = Endpoint(base_url=sys.argv[1], model="m-1", api_key_env=None, send_seed=True, request={})
api = Api(concurrency=4, timeout=60.0, tries=3, max_wait=1.0, max_request_seconds=600.0,
          requests_per_minute=None, tokens_per_minute=None, batch_least=1, batch_tail=0.0,
          mode=Modes(teacher="live", referee="live", generator="live"))
with Ledger(Path(sys.argv[2])) as ledger, LLMClient(endpoint, api, ledger, 0) as client:
    print("asking", flush=True)
    requests = [Request(({"role": "user", "content": f"q{n}"},)) for n in range(600)]
    outcomes = client.complete(requests)
    print([one.text for one in outcomes])
"""
_KILLS = 2
_IN_FLIGHT = 4


def test_nothing_is_asked_twice_but_what_was_in_flight(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.answer = lambda call: says(f"to {call.question}", delay=0.01)
    command = [sys.executable, "-c", _ASKING, chat_server.url, str(tmp_path / "ledger.sqlite")]
    rng = random.Random(7)
    for _ in range(_KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        before = len(chat_server.calls)
        wait_until(lambda: len(chat_server.calls) >= before + 20, "it asks")  # noqa: B023 - at once
        time.sleep(rng.uniform(0, 0.1))  # a random moment, no state
        process.kill()
        process.wait()
        process.stdout.close()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str([f"to q{n}" for n in range(600)])
    assert kept(tmp_path) == chat_server.distinct == 600
    assert 600 <= len(chat_server.calls) <= 600 + _KILLS * _IN_FLIGHT
