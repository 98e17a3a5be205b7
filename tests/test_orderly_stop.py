"""An orderly stop: what the server answers while 64 calls are in flight is in the ledger."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from asking import Open, ask_for, held_until, kept
from fake_server import Behaviour, Call, ChatServer, refuses, says
from polling import wait_until

from lion.errors import AskError, BudgetError, EndpointError, LionError, TooManyDroppedError
from lion.llm.caps import Cap
from lion.llm.ledger import Ledger
from lion.llm.request_set import DropLimit
from lion.prompting.protocol import Failure

IN_FLIGHT = 64
REFUSED = "q39"


def one_refused(trouble: Behaviour) -> object:
    """Hold 64 calls; then refuse one at once, and answer the others a little later."""
    return held_until(
        IN_FLIGHT,
        lambda call: trouble if call.question == REFUSED else says(call.question, delay=0.5),
    )


def answered(server: ChatServer) -> int:
    """Return how many calls the server answered with a reply."""
    return sum(call.question != REFUSED for call in server.calls)


def no_reservation_is_left(folder: Path) -> bool:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.spent()[1].calls == 0


@pytest.mark.parametrize(
    ("trouble", "error", "words"),
    [
        (refuses(401, "bad key"), EndpointError, "bad key"),
        (refuses(403, "not allowed"), EndpointError, "not allowed"),
        (refuses(404, "no such model"), EndpointError, "no such model"),
        (refuses(429, "quota", code="insufficient_quota"), EndpointError, "Top up"),
        (refuses(400, "too long"), TooManyDroppedError, "too long"),
        (refuses(422, "too long"), TooManyDroppedError, "too long"),
    ],
    ids=["401", "403", "404", "quota", "dropped-400", "dropped-422"],
)
def test_what_is_in_flight_at_a_refusal_is_kept(
    chat_server: ChatServer,
    opened: Open,
    tmp_path: Path,
    trouble: Behaviour,
    error: type[LionError],
    words: str,
) -> None:
    chat_server.answer = one_refused(trouble)  # type: ignore[assignment]
    requests = [ask_for(number) for number in range(200)]
    with (
        opened(concurrency=IN_FLIGHT, cap=Cap(calls=10_000)) as client,
        pytest.raises(error, match=words),
    ):
        client.complete(requests, DropLimit(0))
    assert len(chat_server.calls) == IN_FLIGHT
    assert kept(tmp_path) == answered(chat_server) == IN_FLIGHT - 1
    assert no_reservation_is_left(tmp_path)


def test_what_is_in_flight_when_the_budget_is_reached_is_kept(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = held_until(
        IN_FLIGHT,
        lambda call: says(call.question, delay=0.0 if call.question == "q0" else 0.5),
    )
    with (
        opened(concurrency=IN_FLIGHT, cap=Cap(calls=IN_FLIGHT)) as client,
        pytest.raises(BudgetError),
    ):
        client.complete([ask_for(number) for number in range(200)])
    assert kept(tmp_path) == len(chat_server.calls) == IN_FLIGHT


def test_the_first_reason_is_told(chat_server: ChatServer, opened: Open) -> None:
    """The quota ends first; the key is refused while the others are waited for."""

    def answer(call: Call) -> Behaviour:
        if call.question == "q0":
            return refuses(429, "first", code="insufficient_quota")
        return replace(refuses(401, "second"), delay=0.3)

    chat_server.answer = held_until(8, answer)
    with opened(concurrency=8) as client, pytest.raises(EndpointError, match="first"):
        client.complete([ask_for(number) for number in range(50)])
    assert len(chat_server.calls) == 8


def test_a_call_in_flight_is_waited_for_no_longer_than_its_timeout(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """It is not tried again either: nothing is begun after the refusal."""

    def answer(call: Call) -> Behaviour:
        if call.question == "q0":
            return refuses(401, "bad key")
        return says("x", delay=60.0 if call.question == "q1" else 0.2)

    chat_server.answer = held_until(4, answer)
    with (
        opened(concurrency=4, timeout=1.0) as client,
        pytest.raises(EndpointError, match="bad key"),
    ):
        client.complete([ask_for(number) for number in range(50)])
    assert len(chat_server.calls) == 4
    assert kept(tmp_path) == 2


def test_a_fault_in_what_is_told_of_progress_keeps_what_is_in_flight(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Whatever ends one worker ends the asking, after the others' replies are kept."""
    chat_server.answer = one_refused(says("early"))  # type: ignore[assignment]

    def broken(done: int, _: int) -> None:
        if done:
            raise ValueError("a fault")

    with opened(concurrency=IN_FLIGHT) as client, pytest.raises(ValueError, match="a fault"):
        client.progress = broken
        client.complete([ask_for(number) for number in range(200)])
    assert kept(tmp_path) == len(chat_server.calls) == IN_FLIGHT


def test_a_call_that_waits_for_its_turn_is_not_sent_after_the_stop(
    chat_server: ChatServer, opened: Open
) -> None:
    """With one call a minute allowed, nobody waits a minute to learn of a refused key."""
    chat_server.answer = refuses(401, "bad key")
    with (
        opened(concurrency=8, requests_per_minute=1.0) as client,
        pytest.raises(EndpointError, match="bad key"),
    ):
        client.complete([ask_for(number) for number in range(8)])
    assert len(chat_server.calls) <= 2


_ASKING = """
import sys
from pathlib import Path
from lion import console
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.config.settings import Api, Endpoint, Modes
from lion.prompting.protocol import Request
endpoint = Endpoint(base_url=sys.argv[1], model="m-1", api_key_env=None, send_seed=True, request={})
api = Api(concurrency=64, timeout=60.0, tries=3, max_wait=1.0, max_request_seconds=600.0,
          requests_per_minute=None, tokens_per_minute=None, batch_least=1, batch_tail=0.0,
          mode=Modes(teacher="live", referee="live", generator="live"))
with console.error_boundary():
    with Ledger(Path(sys.argv[2])) as ledger, LLMClient(endpoint, api, ledger, 0) as client:
        client.complete([Request(({"role": "user", "content": f"q{n}"},)) for n in range(1000)])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("refused_before", [False, True])
def test_what_is_in_flight_at_a_signal_is_kept(
    chat_server: ChatServer, tmp_path: Path, number: signal.Signals, refused_before: bool
) -> None:
    """A first signal during the stop for another reason changes nothing."""
    held = threading.Event()
    trouble = refuses(401, "bad key") if refused_before else replace(says("x"), held=held)
    chat_server.answer = held_until(
        IN_FLIGHT,
        lambda call: says("x") if call.question != REFUSED else trouble,
    )
    inner = chat_server.answer
    chat_server.answer = lambda call: (
        replace(inner(call), held=held) if call.question != REFUSED else trouble
    )
    said = tmp_path / "stderr"
    command = [sys.executable, "-c", _ASKING, chat_server.url, str(tmp_path / "ledger.sqlite")]
    with said.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        wait_until(lambda: len(chat_server.calls) >= IN_FLIGHT - 1, "64 are in flight")
        wait_until(lambda: not refused_before or "stopping" in said.read_text(), "it stops")
        before = said.read_text().count("stopping")
        process.send_signal(number)
        wait_until(lambda: said.read_text().count("stopping") > before, "the signal is told")
        held.set()
        assert process.wait(60) == (1 if refused_before else 130)
    assert ("bad key" if refused_before else "interrupted") in said.read_text()
    assert "Traceback" not in said.read_text()
    replies = len(chat_server.calls) - refused_before
    assert kept(tmp_path) == replies >= IN_FLIGHT - 1


# --- the writer -------------------------------------------------------------------------------


def test_one_entry_that_cannot_be_written_leaves_its_neighbours(
    chat_server: ChatServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the database does not take: the 63 others of its batch are kept."""
    write = Ledger.write

    def refusing(self: Ledger, entries: object) -> None:
        listed = list(entries)  # type: ignore[call-overload]
        if any(b"q39" in one.request for one in listed):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        write(self, listed)

    monkeypatch.setattr(Ledger, "write", refusing)
    chat_server.answer = held_until(IN_FLIGHT, lambda _: says("x"))
    with opened(concurrency=IN_FLIGHT) as client, pytest.raises(AskError, match="too large"):
        client.complete([ask_for(number) for number in range(IN_FLIGHT)])
    assert kept(tmp_path) == IN_FLIGHT - 1


@pytest.mark.parametrize("error", [MemoryError("none left"), UnicodeError("half"), KeyError("x")])
def test_a_writer_that_ends_tells_all_who_wait(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The stage ends with the reason, where it waited for ever."""

    async def ends(*_: object) -> None:
        raise error

    monkeypatch.setattr("lion.llm.ledger_writer.LedgerWriter._write", ends)
    chat_server.answer = held_until(IN_FLIGHT, lambda _: says("x"))
    with opened(concurrency=IN_FLIGHT) as client, pytest.raises(AskError, match="cannot keep"):
        client.complete([ask_for(number) for number in range(200)])


def test_a_pace_that_fails_tells_all_who_wait(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(_: object) -> None:
        raise ValueError("a fault of the pace")

    monkeypatch.setattr("lion.llm.rate_limit.AdaptiveRateLimiter._give_all", ends)
    with opened(requests_per_minute=1.0) as client, pytest.raises(ValueError, match="of the pace"):
        client.complete([ask_for(number) for number in range(20)])


HALVES = {
    "high at the end": b'{"error": {"message": "refused: smile \\ud83d", "code": 400}}',
    "low at the start": b'{"error": {"message": "\\ude00 refused: smile", "code": 400}}',
    "in a list": b'{"error": [{"message": "refused: smile \\ud83d"}]}',
    "as a string": b'{"error": "refused: smile \\ud83d"}',
    "in a detail": b'{"detail": "refused: smile \\ud83d"}',
    "two highs": b'{"error": {"message": "refused: smile \\ud83d\\ud83d x"}}',
    "no JSON": b"refused: smile \xed\xa0\xbd",
}


def test_half_an_emoji_in_an_error_fails_its_row_alone(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    troubles = {
        f"q{number}": Behaviour(status, body)
        for number, (status, body) in enumerate(product((400, 500), HALVES.values()))
    }
    chat_server.answer = held_until(IN_FLIGHT, lambda call: troubles.get(call.question, says("x")))
    with opened(concurrency=IN_FLIGHT, tries=1) as client:
        outcomes = client.complete([ask_for(number) for number in range(100)])
    assert client.usage.failed == len(troubles)
    for outcome in outcomes[: len(troubles)]:
        assert isinstance(outcome, Failure)
        outcome.detail.encode()  # valid Unicode
    assert kept(tmp_path) == 100 - len(troubles)
