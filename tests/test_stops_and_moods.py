"""Every orderly stop under every mood of a server: what it answered is in the ledger.

The moods are those of public bug reports: see `MOODS`.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Open, ask_for, held_until, kept
from fake_server import Behaviour, Call, ChatServer, refuses, says

from lion.errors import LionError
from lion.llm.caps import Cap
from lion.llm.ledger import Ledger
from lion.llm.request_set import DropLimit
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome, Reply
from lion.prompting.replies import incomplete

IN_FLIGHT = 64
FIRST = "q39"


def reply(change: Callable[[dict[str, Any]], object]) -> Behaviour:
    document = json.loads(says("Half an answer").body)
    change(document)
    return Behaviour(body=json.dumps(document).encode())


MOODS: dict[str, Behaviour] = {
    "plain": says("whole"),
    "half-emoji": Behaviour(400, b'{"error": {"message": "input refused: smile \\ud83d"}}'),
    "no-usage": says("whole", usage=None),
    "zero-usage": says("whole", usage=(0, 0)),
    "negative-usage": says("whole", usage=(-5, -3)),
    "absurd-usage": says("whole", usage=(10**15, 10**15)),
    "finish:model_length": says("half", finish_reason="model_length"),
    "finish:network_error": says("half", finish_reason="network_error"),
    "finish:safety": says("half", finish_reason="safety"),
    "choice-error": reply(lambda document: document["choices"][0].update(error={"code": 502})),
    "no-credit": refuses(402, "Insufficient balance"),
    "flagged": refuses(403, "the input was flagged by moderation"),
    "parts": reply(
        lambda document: document["choices"][0]["message"].update(
            content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "42"}]
        )
    ),
    "error-text": Behaviour(400, b'{"error": "no such model, pull it first"}'),
    "overloaded": refuses(503, "overloaded"),
}


def truncated(_: int, outcome: Outcome) -> str | None:
    return incomplete(outcome.finish_reason) if isinstance(outcome, Reply) else None


def interrupt() -> Behaviour:
    os.kill(os.getpid(), signal.SIGINT)
    return says("whole")


STOPS: dict[str, tuple[Callable[[], Behaviour], Cap, DropLimit]] = {
    "401": (lambda: refuses(401, "bad key"), Cap(), DropLimit()),
    "403": (lambda: refuses(403, "not allowed"), Cap(), DropLimit()),
    "404": (lambda: refuses(404, "no such model"), Cap(), DropLimit()),
    "402": (lambda: refuses(402, "no"), Cap(), DropLimit()),
    "quota": (lambda: refuses(429, "no", code="insufficient_quota"), Cap(), DropLimit()),
    "budget": (lambda: says("whole"), Cap(calls=IN_FLIGHT), DropLimit()),
    "dropped": (lambda: refuses(400, "too long"), Cap(), DropLimit(0)),
    "truncated": (lambda: says("h", finish_reason="length"), Cap(), DropLimit(0, truncated)),
    "signal": (interrupt, Cap(), DropLimit()),
}


def stopped(server: ChatServer, opened: Open, stop: str, moods: list[Behaviour]) -> None:
    """Hold 64 calls; cause the stop with one, and answer the others in `moods` a moment later."""
    cause, cap, limit = STOPS[stop]

    def answer(call: Call) -> Behaviour:
        if call.question == FIRST:
            return cause()
        return replace(moods[call.number % len(moods)], delay=0.15)

    server.answer = held_until(IN_FLIGHT, answer)
    with opened(concurrency=IN_FLIGHT, cap=cap, max_wait=0.01) as client, pytest.raises(LionError):
        client.complete([ask_for(number) for number in range(200)], limit)


def lacking(server: ChatServer, folder: Path, moods: list[Behaviour]) -> tuple[int, int, int]:
    """Return calls not recorded, replies not kept, and reservations left."""
    bodies = [moods[call.number % len(moods)].body for call in server.calls]
    final = sum(protocol.is_final(protocol.parse(body)) for body in bodies)
    with Ledger(folder / "ledger.sqlite") as ledger:
        spent, reserved = ledger.spent()
    return len(server.calls) - spent.calls, max(0, final - 1 - kept(folder)), reserved.calls


@pytest.mark.parametrize("stop", STOPS)
def test_nothing_that_was_answered_is_lost(
    chat_server: ChatServer, opened: Open, tmp_path: Path, stop: str
) -> None:
    """All moods at once, each call in another."""
    moods = list(MOODS.values())
    stopped(chat_server, opened, stop, moods)
    assert len(chat_server.calls) == IN_FLIGHT
    assert lacking(chat_server, tmp_path, moods) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("mood", MOODS)
def test_nothing_is_lost_in_any_single_mood(
    chat_server: ChatServer, opened: Open, tmp_path: Path, stop: str, mood: str
) -> None:
    moods = [MOODS[mood]]
    stopped(chat_server, opened, stop, moods)
    assert lacking(chat_server, tmp_path, moods) == (0, 0, 0)


# --- the cap --------------------------------------------------------------------------------------

COUNTS: dict[str, tuple[int, int] | None] = {
    "honest": (60, 40),
    "none": None,
    "zero": (0, 0),
    "negative": (-20, -9),
    "absurd": (10**9, 10**9),
    "twice the bound": (300, 300),
    "14 times the bound": (1400, 1400),
}
CAP = 8_000  # tokens
ABSURD = 20 * 200  # above 20 times the upper bound of a call, some 200 tokens


@pytest.mark.parametrize("count", COUNTS)
def test_the_cap_holds_by_the_servers_own_count(
    chat_server: ChatServer, opened: Open, tmp_path: Path, count: str
) -> None:
    """With 64 in flight; what nobody can believe spends the upper bound of its call."""
    usage = COUNTS[count]
    chat_server.answer = says("x", usage=usage, delay=0.01)
    changes: dict[str, Any] = {"request": {"max_tokens": 100}, "concurrency": IN_FLIGHT}
    with opened(cap=Cap(tokens=CAP), **changes) as client, pytest.raises(LionError, match="budget"):
        client.complete([ask_for(number) for number in range(2000)])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        spent, reserved = ledger.spent()
    calls = len(chat_server.calls)
    believed = sum(usage) if usage and 0 < sum(usage) < ABSURD else 0
    assert calls * believed <= CAP
    assert spent.tokens <= CAP
    assert spent.calls == calls
    assert reserved.calls == 0
    most_of_a_call = max(believed, 300)
    assert spent.tokens > CAP - 2 * most_of_a_call, "the cap is used up"


@pytest.mark.parametrize(
    ("change", "sudden"), [(40, (1400, 1400)), (100, (900, 900)), (120, (300, 300))]
)
def test_a_server_that_counts_more_all_of_a_sudden_stays_below_the_cap(
    chat_server: ChatServer, opened: Open, tmp_path: Path, change: int, sudden: tuple[int, int]
) -> None:
    """After `change` calls, with many in flight: by the server's own count, not by ours alone."""
    counts: list[int] = []

    def answer(call: Call) -> Behaviour:
        usage = (20, 9) if call.number < change else sudden
        counts.append(sum(usage))
        return says("x", usage=usage, delay=0.01)

    chat_server.answer = answer
    changes: dict[str, Any] = {"request": {"max_tokens": 100}, "concurrency": IN_FLIGHT}
    with (
        opened(cap=Cap(tokens=2 * CAP), **changes) as client,
        pytest.raises(LionError, match="budget"),
    ):
        client.complete([ask_for(number) for number in range(2000)])
    assert sum(counts) <= 2 * CAP
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens == sum(counts)


def test_a_cap_of_calls_alone_believes_every_count(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Without max_tokens there is no upper bound, and none is needed."""
    chat_server.answer = says("x", usage=(2000, 500))
    with opened(cap=Cap(calls=50)) as client:
        client.complete([ask_for(number) for number in range(3)])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens == 7500


# --- max_dropped ----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1, 2])
def test_answers_that_are_cut_off_stop_the_asking_as_they_arrive(
    chat_server: ChatServer, opened: Open, share: int
) -> None:
    """All are cut off, or half: after the dropped ones that are allowed and those in flight."""
    chat_server.answer = lambda call: says(
        "half", finish_reason="stop" if call.number % share else "length", delay=0.01
    )
    changes: dict[str, Any] = {"request": {"max_tokens": 80}, "concurrency": 8}
    limit = DropLimit(4, truncated, "teach.max_dropped")
    with opened(**changes) as client, pytest.raises(LionError) as caught:
        client.role = "teacher"
        client.complete([ask_for(number) for number in range(200)], limit)
    assert len(chat_server.calls) <= share * (4 + 1) + 8
    assert "truncated" in str(caught.value)
    assert "teach.max_dropped allows 4" in str(caught.value)
    assert "teacher.request.max_tokens: 80" in str(caught.value)
    before = len(chat_server.calls)
    with opened(**changes) as again, pytest.raises(LionError, match="allows 4"):
        again.complete([ask_for(number) for number in range(200)], limit)
    assert len(chat_server.calls) == before, "the ledger knows that it would not help"


# --- a key that was revoked -----------------------------------------------------------------------


@pytest.mark.parametrize(("status", "calls"), [(401, 1), (403, 2)])
def test_a_key_revoked_between_runs_stops_at_the_first_refusal(
    chat_server: ChatServer, opened: Open, tmp_path: Path, status: int, calls: int
) -> None:
    """A 403 may concern the row alone: a request that was answered before is sent once more."""
    chat_server.answer = says("x")
    with opened() as client:
        client.complete([ask_for(number) for number in range(10)])
    chat_server.answer = refuses(status, "no access")
    with opened(concurrency=1) as client, pytest.raises(LionError, match="no access"):
        client.complete([ask_for(number) for number in range(20)])
    assert len(chat_server.calls) == 10 + calls
    assert kept(tmp_path) == 10


@pytest.mark.parametrize("status", [403, 404])
def test_a_row_that_is_refused_before_any_answer_stops_one_run_and_no_second(
    chat_server: ChatServer, opened: Open, status: int
) -> None:
    """The first row, one call at a time; and alone, once all others are in the ledger."""
    chat_server.answer = lambda call: (
        refuses(status, "rule 7") if call.question == "q0" else says("x")
    )
    requests = [ask_for(number) for number in range(4)]
    with opened(concurrency=1) as client, pytest.raises(LionError, match="run again"):
        client.complete(requests)
    for _ in range(2):
        with opened(concurrency=1) as client:
            found = client.complete(requests)
        assert [isinstance(outcome, Failure) for outcome in found] == [True, False, False, False]
    assert len(chat_server.calls) == 1 + 4 + 2


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_moderated_rows_alone_in_a_stage_are_dropped_at_once(
    chat_server: ChatServer, opened: Open, tmp_path: Path, status: int, rows: int
) -> None:
    """A later stage asks nothing but rows that are refused: the key works, one more call shows."""
    chat_server.answer = says("x")
    with opened() as client:
        client.complete([ask_for(number) for number in range(6)])
    chat_server.answer = lambda call: (
        refuses(status, "rule 7") if call.question.startswith("qbad") else says("x")
    )
    with opened(concurrency=4) as client:
        found = client.complete([ask_for(f"bad{number}") for number in range(rows)])
    assert [outcome.reason for outcome in found if isinstance(outcome, Failure)] == [
        f"http_{status}"
    ] * rows
    asked_again = len(chat_server.calls) - 6 - rows  # at first, and after each eight in a row
    assert 1 <= asked_again <= 2 + rows // 8
    assert kept(tmp_path) == 6, "the known request has its first reply"


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_key_that_stays_revoked_drops_no_row(
    chat_server: ChatServer, opened: Open, status: int, concurrency: int
) -> None:
    """Two rows are left, and each run is refused: none of them is taken for moderated."""
    chat_server.answer = says("x")
    with opened(concurrency=1) as client:
        client.complete([ask_for(number) for number in range(6)])
    chat_server.answer = refuses(status, "no longer allowed")
    for _ in range(3):
        with (
            opened(concurrency=concurrency) as client,
            pytest.raises(LionError, match="no longer allowed"),
        ):
            client.complete([ask_for(number) for number in range(8)])
    chat_server.answer = says("x")
    with opened(concurrency=1) as client:
        assert all(isinstance(row, Reply) for row in client.complete(list(map(ask_for, range(8)))))


@pytest.mark.parametrize("left", [1, 3, 7])
def test_a_key_that_is_revoked_when_few_rows_are_left_drops_none(
    chat_server: ChatServer, opened: Open, left: int
) -> None:
    """Fewer than eight denials in a row, among replies of the same run."""
    rows = [ask_for(number) for number in range(20)]
    chat_server.answer = lambda call: (
        says("x") if call.number <= 20 - left else refuses(403, "revoked")
    )
    with opened(concurrency=1) as client, pytest.raises(LionError, match="revoked"):
        client.complete(rows)
    assert len(chat_server.calls) == 20 + 1


# --- background tasks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "lion.llm.ledger_writer.LedgerWriter._write_all",
        "lion.llm.ledger_writer.LedgerWriter._write",
        "lion.llm.rate_limit.AdaptiveRateLimiter._take",
        "lion.llm.rate_limit.AdaptiveRateLimiter._wait",
        "lion.llm.concurrency.ConcurrencyLimiter.record_success",
        "lion.llm.reservations.Reservations.settle",
        "lion.llm.budget.CostEstimator.charge_reply",
    ],
)
def test_a_fault_anywhere_reaches_those_who_wait(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(place, fails)
    chat_server.answer = says("x")
    changes: dict[str, Any] = {"requests_per_minute": 60_000.0, "concurrency": 16}
    ended = threading.Event()
    watchdog = threading.Timer(30.0, lambda: ended.is_set() or os._exit(70))
    watchdog.start()
    started = time.monotonic()
    with (
        opened(cap=Cap(calls=1000), **changes) as client,
        pytest.raises((ValueError, LionError), match="planted"),
    ):
        client.complete([ask_for(number) for number in range(100)])
    ended.set()
    watchdog.cancel()
    assert time.monotonic() - started < 10
