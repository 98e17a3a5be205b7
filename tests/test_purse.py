"""The budget: met exactly, by whatever calls, and never exceeded."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Open, ask_for, kept, texts
from fake_server import Behaviour, Call, ChatServer, refuses, says

from lion import console
from lion.errors import BudgetError, EndpointError
from lion.llm import stall_report
from lion.llm.budget import BELIEVED, CostEstimator
from lion.llm.caps import Cap, Demand, Shortage
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.llm.ledger_writer import LedgerWriter
from lion.llm.live_reservations import InFlight, clients_in_flight
from lion.llm.reservations import Reservations


def test_a_budget_of_calls_is_met_exactly(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = lambda call: says(call.question)
    requests = [ask_for(number) for number in range(60)]
    with opened(cap=Cap(calls=25)) as client, pytest.raises(BudgetError) as caught:
        client.complete(requests)
    assert len(chat_server.calls) == kept(tmp_path) == 25
    assert "raise `budget` in params.yaml" in str(caught.value)
    assert caught.value.exit_code == 3
    with opened(cap=Cap(calls=60)) as client:
        assert len(client.complete(requests)) == 60
    assert len(chat_server.calls) == 60


def test_failed_calls_count_against_the_budget(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = refuses(500)
    with opened(cap=Cap(calls=7), tries=50) as client, pytest.raises(BudgetError):
        client.complete([ask_for(number) for number in range(3)])
    assert len(chat_server.calls) == 7


def test_a_budget_of_tokens_is_never_exceeded(chat_server: ChatServer, opened: Open) -> None:
    """Each call is reserved at the most that it can use, and settled at what it did."""
    chat_server.answer = says("x", usage=(5, 3))
    changes = {"request": {"max_tokens": 100}, "concurrency": 1}
    with opened(cap=Cap(tokens=400), **changes) as client, pytest.raises(BudgetError):
        client.complete([ask_for(number) for number in range(100)])
    with opened() as client:
        spent, reserved = client.ledger.spent()
    assert 200 - 8 < spent.tokens <= 400 - 100
    assert reserved.calls == 0


def test_a_budget_needs_to_know_the_most_that_a_call_can_cost(
    chat_server: ChatServer, opened: Open
) -> None:
    with opened(cap=Cap(tokens=400)) as client, pytest.raises(BudgetError, match="max_tokens"):
        client.complete([ask_for(1)])
    changes = {"request": {"max_tokens": 100}}
    with (
        opened(cap=Cap(nanodollars=10**9), **changes) as client,
        pytest.raises(BudgetError, match=r"price .* is unknown"),
    ):
        client.complete([ask_for(1)])
    assert chat_server.calls == []


# --- reservations ---------------------------------------------------------------------------------

CAPPED: dict[str, Any] = {"request": {"max_tokens": 100}, "concurrency": 8}


def test_a_killed_process_leaves_no_more_set_aside_than_its_requests_allow(
    opened: Open, tmp_path: Path
) -> None:
    """The margin for servers that count more is this process' own."""

    async def reserve(client: LLMClient) -> None:
        estimator = CostEstimator(client.endpoint, client.prices, client.cap)
        bound = estimator.upper_bound(b"a" * 200)
        async with LedgerWriter(client.ledger, client.cap) as writer:
            reservations = Reservations(estimator, client.ledger)
            first = await reservations.reserve(b"a" * 200, writer)
            assert first is not None
            assert first.amount.tokens == 1000, "all that is left, below 20 times the bound"
            assert await writer.reserve(Demand(bound, bound)) == Shortage(), "it is this call's"

    with opened(cap=Cap(tokens=1000), **CAPPED) as client:
        asyncio.run(reserve(client))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[1].tokens == 300


def test_a_long_request_waits_for_a_short_one_that_holds_the_budget(
    chat_server: ChatServer, opened: Open
) -> None:
    """The short one fits with its margin, the long one only after it."""
    with opened(cap=Cap(tokens=4500), **CAPPED) as client:
        found = client.complete([ask_for("long" * 250), ask_for(1)])
    assert len(texts(found)) == len(chat_server.calls) == 2


def test_time_outs_after_a_wait_for_the_budget_count(chat_server: ChatServer, opened: Open) -> None:
    """One call at a time fits: eight wait from the start, and each is too slow."""
    chat_server.answer = says("x", delay=1.0)
    with (
        opened(cap=Cap(tokens=3000), timeout=0.1, **CAPPED) as client,
        pytest.raises(EndpointError, match="one call at a time"),
    ):
        client.complete([ask_for(number) for number in range(8)])
    assert len(chat_server.calls) <= 5


def test_the_count_of_a_reply_without_an_answer_is_learnt_from(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: (
        says("", usage=(900, 900)) if call.number == 20 else says("x", usage=(20, 9))
    )
    with opened(cap=Cap(tokens=50_000), **CAPPED) as client:
        client.complete([ask_for(number) for number in range(40)])
        assert client._sender._reservations.largest_ratio() > BELIEVED / 4


@pytest.mark.parametrize("trouble", ["no count", "slow", "broken off"])
def test_what_a_server_does_not_count_is_charged_as_its_largest_count(
    chat_server: ChatServer, opened: Open, tmp_path: Path, trouble: str
) -> None:
    """A server that counts six times the bound has worked as much for a call that timed out."""
    counted = says("x", usage=(900, 900))
    troubles = {
        "no count": says("x", usage=None),
        "slow": replace(counted, delay=1.0),
        "broken off": replace(counted, broken_off=True),
    }
    chat_server.answer = lambda call: counted if call.number % 2 else troubles[trouble]
    changes = {**CAPPED, "concurrency": 1, "timeout": 0.3, "tries": 1}
    with opened(cap=Cap(tokens=20_000), **changes) as client, pytest.raises(BudgetError):
        client.complete([ask_for(number) for number in range(100)])
    assert len(chat_server.calls) * 1800 <= 20_000
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens > 20_000 - 2 * 1800


# --- several processes on one ledger --------------------------------------------------------------

_COUNTED = 19  # times the bound
_ASKS = """
import sys
from pathlib import Path
from asking import ask_for, client_of
from lion.errors import BudgetError
from lion.llm.caps import Cap
url, folder, name, tokens, count = sys.argv[1:]
cap = Cap(tokens=int(tokens))
changes = {"request": {"max_tokens": 100}, "concurrency": 8, "cap": cap, "tries": 1}
with client_of(url, Path(folder), **changes) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        client.complete([ask_for(f"{name}-{number}") for number in range(int(count))])
    except BudgetError:
        print("budget", flush=True)
"""


def asking(
    server: ChatServer, folder: Path, name: str, tokens: int, count: int = 100
) -> "subprocess.Popen[str]":
    """Start a process that asks up to `tokens` of the shared budget; it waits for a line."""
    path = [str(Path(__file__).parent), *sys.path]
    command = [sys.executable, "-c", _ASKS, server.url, str(folder), name, str(tokens), str(count)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process


def bound_of(call: Call) -> int:
    return len(call.raw) + 100


def counts_much(call: Call) -> Behaviour:
    return says("x", usage=(_COUNTED * bound_of(call) - 9, 9), delay=0.1)


def begin(*processes: "subprocess.Popen[str]") -> None:
    """Let all ask at the same time."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize("calls", [3.5, 12.5])
def test_a_cap_holds_for_two_processes_at_a_time(
    calls: float, chat_server: ChatServer, tmp_path: Path
) -> None:
    """The cap leaves room for so many calls at their margin: the margins of all count."""
    chat_server.answer = counts_much
    cap = int(calls * BELIEVED * 240)
    processes = [asking(chat_server, tmp_path, name, cap) for name in ("a", "b")]
    begin(*processes)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["budget\n", "budget\n"]
    counted = sum(_COUNTED * bound_of(call) for call in chat_server.calls)
    most = _COUNTED * max(map(bound_of, chat_server.calls))
    assert cap - most < counted <= cap, "neither above it, nor given up early"
    with Ledger(tmp_path / "ledger.sqlite") as ledger, ledger.transaction() as connection:
        spent, reserved = ledger.spent()
        assert clients_in_flight(connection, ledger.path) == {}
    assert (spent.tokens, reserved.calls) == (counted, 0)
    assert list(tmp_path.glob("*-live-*")) == []


def test_the_margins_of_a_killed_process_do_not_count(
    chat_server: ChatServer,
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bounds stay set aside; a live one's margins are waited for, with its name."""
    monkeypatch.setattr(stall_report, "STALL_SECONDS", 0.2)
    came, over = threading.Event(), threading.Event()

    def answers(call: Call) -> Behaviour:
        came.set()
        return replace(says("x", usage=(50, 9)), held=over if "qfirst" in call.question else None)

    chat_server.answer = answers
    killed = asking(chat_server, tmp_path, "first", 6000, count=1)
    begin(killed)
    assert came.wait(30)
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger, ledger.transaction() as connection:
        held = sum(clients_in_flight(connection, path).values(), InFlight()).bounds.tokens
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if sentence.startswith("no reply for"):
            killed.kill()

    monkeypatch.setattr(console, "say", say)
    with opened(cap=Cap(tokens=6000), **CAPPED) as client:
        assert len(texts(client.complete([ask_for(1)]))) == 1
    assert killed.poll() is not None, "waited for"
    advice = rf"reserved .* held by process {killed.pid} .* raise `budget`"
    assert all(re.search(advice, sentence) for sentence in said[:2]), "at once, and after some time"
    over.set()
    killed.communicate()
    with Ledger(path) as ledger, ledger.transaction() as connection:
        assert ledger.spent()[1].tokens == held, "its bound"
        assert clients_in_flight(connection, path) == {}
    assert list(tmp_path.glob("*-live-*")) == []
