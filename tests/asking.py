"""What the tests of asking share: a client of the loopback server, and short words for replies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_server import Behaviour, Call, ChatServer

from lion.config.settings import Api, Endpoint, Modes
from lion.llm.caps import Cap
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.prompting.protocol import Outcome, Reply, Request

Open = Callable[..., Any]


def ask_for(number: int | str, sample: int = 0) -> Request:
    return Request(({"role": "user", "content": f"q{number}"},), sample)


def texts(outcomes: list[Outcome]) -> list[str]:
    return [one.text if isinstance(one, Reply) else f"! {one.reason}" for one in outcomes]


@contextmanager
def client_of(url: str, folder: Path, random_seed: int = 0, **changes: Any) -> Iterator[LLMClient]:
    """Open a client of the server at `url`, with changes of endpoint and api, and its ledger."""
    endpoint = {
        "base_url": url,
        "model": "m-1",
        "api_key_env": None,
        "send_seed": True,
        "request": {},
        "headers": {},
        "query": {},
        "thinking": "strip",
    }
    api = {
        "concurrency": 8,
        "timeout": 60.0,
        "tries": 3,
        "max_wait": 0.05,
        "max_request_seconds": 60.0,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "mode": Modes(teacher="live", referee="live", generator="live"),
        "batch_least": 1,
        "batch_tail": 0.0,
    }
    cap = changes.pop("cap", Cap())
    assert set(changes) <= {*endpoint, *api}
    endpoint |= {key: value for key, value in changes.items() if key in endpoint}
    api |= {key: value for key, value in changes.items() if key in api}
    with (
        Ledger(folder / "ledger.sqlite") as ledger,
        LLMClient(Endpoint(**endpoint), Api(**api), ledger, random_seed, cap=cap) as client,
    ):
        yield client


@pytest.fixture
def opened(chat_server: ChatServer, tmp_path: Path) -> Open:
    """Return what opens a client of the server, with changes of endpoint and api, on one ledger."""
    return partial(client_of, chat_server.url, tmp_path)


def kept(folder: Path) -> int:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.count()


def in_turn(*told: Behaviour) -> Callable[[Call], Behaviour]:
    """Answer the calls one after the other, the last one for ever."""
    return lambda call: told[min(call.number, len(told)) - 1]


def held_until(count: int, answer: Callable[[Call], Behaviour]) -> Callable[[Call], Behaviour]:
    """Answer no call before `count` have come: so many are in flight at once, however slow."""
    came = threading.Event()

    def held(call: Call) -> Behaviour:
        if call.number >= count:
            came.set()
        return replace(answer(call), held=came)

    return held
