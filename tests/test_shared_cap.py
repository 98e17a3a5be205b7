"""Several clients on one ledger under one cap: turns, locks, links, and what each learns."""

import asyncio
import fcntl
import random
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lion.config.settings import Endpoint
from lion.errors import AskError
from lion.llm import live_reservations, turns
from lion.llm.batch_api import batches_lock
from lion.llm.budget import BELIEVED, CostEstimator
from lion.llm.calls import Call, Entry
from lion.llm.caps import Amount, Cap, Demand, Shortage
from lion.llm.ledger import Ledger
from lion.llm.ledger_writer import LedgerWriter
from lion.llm.prices import Prices
from lion.llm.reservations import Reservations

ENDPOINT = Endpoint(
    base_url="http://localhost/v1",
    model="m-1",
    api_key_env=None,
    send_seed=False,
    request={"max_tokens": 100},
)
BODY = b"a" * 100
BOUND = Amount(1, 200)
MOST = BOUND.times(BELIEVED)
CAP = Cap(tokens=int(2.5 * MOST.tokens))


def estimator(cap: Cap = CAP) -> CostEstimator:
    return CostEstimator(ENDPOINT, Prices({}), cap)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


# --- turns ----------------------------------------------------------------------------------------


def test_who_has_calls_in_flight_begins_none_before_one_that_waits_without(path: Path) -> None:
    small, large = Demand(BOUND, MOST), Demand(BOUND, BOUND.times(40))

    async def share() -> None:
        with Ledger(path) as first, Ledger(path) as second:
            async with LedgerWriter(first, CAP) as busy, LedgerWriter(second, CAP) as waiting:
                calls = [await busy.reserve(small), await busy.reserve(small)]
                assert await waiting.reserve(large) == Shortage(elsewhere=True)
                for call in calls:
                    assert isinstance(call, tuple)
                    await busy.release(call[0])
                    assert isinstance(await busy.reserve(small), Shortage), "it would fit"
                call = await waiting.reserve(large)
                assert isinstance(call, tuple)
                await waiting.release(call[0])
                assert isinstance(await busy.reserve(small), tuple)

    asyncio.run(share())


def test_a_waiting_client_has_its_turn_while_another_is_busy(path: Path) -> None:
    """The busy one has more calls than fit, which never end at one time; it refills at once."""

    async def work(reservations: Reservations, writer: LedgerWriter, order: list[str]) -> None:
        reservation = await reservations.reserve(BODY, writer)
        assert reservation is not None
        await asyncio.sleep(0.02 + 0.01 * random.random())
        order.append("busy")
        await writer.release(reservation.number)
        reservations.settle(reservation)

    async def busy(reservations: Reservations, writer: LedgerWriter, order: list[str]) -> None:
        while "waiting" not in order and len(order) < 150:
            await work(reservations, writer, order)

    async def waiting(reservations: Reservations, writer: LedgerWriter, order: list[str]) -> None:
        await asyncio.sleep(0.05)
        reservation = await reservations.reserve(b"a" * 250, writer)  # fits alone
        assert reservation is not None
        order.append("waiting")
        await writer.release(reservation.number)
        reservations.settle(reservation)

    async def share() -> list[str]:
        order: list[str] = []
        with Ledger(path) as first, Ledger(path) as second:
            async with LedgerWriter(first, CAP) as one, LedgerWriter(second, CAP) as other:
                many = Reservations(estimator(), first)
                few = Reservations(estimator(), second)
                await asyncio.gather(
                    *(busy(many, one, order) for _ in range(8)), waiting(few, other, order)
                )
        return order

    random.seed(0)
    order = asyncio.run(share())
    assert order.index("waiting") < 60, "of 150"


def test_the_turn_of_a_stopped_process_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(turns.time, "time", lambda: now)
    stopped, second, third = turns.QueuePlace(), turns.QueuePlace(), turns.QueuePlace()
    with Ledger(path) as ledger, ledger.transaction() as connection:
        assert second.has_come(connection)
        stopped.keep_or_leave(connection, waits=True)
        now += 1
        second.keep_or_leave(connection, waits=True)
        assert [turn.has_come(connection) for turn in (stopped, second, third)] == [True, 0, 0]
        now += 1.5
        assert [turn.has_come(connection) for turn in (second, third)] == [True, False]
        second.keep_or_leave(connection, waits=False)
        assert third.has_come(connection)


def test_a_turn_that_never_comes_to_anything_passes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it waits for is held by a process that was stopped; a smaller call may fit."""
    now = time.time()
    monkeypatch.setattr(turns.time, "time", lambda: now)
    large, small = turns.QueuePlace(), turns.QueuePlace()
    with Ledger(path) as ledger, ledger.transaction() as connection:
        for _ in range(1000):
            large.keep_or_leave(connection, waits=True)
            now += 1
        assert small.has_come(connection)


# --- locks ----------------------------------------------------------------------------------------


async def reserve(ledger: Ledger) -> object:
    async with LedgerWriter(ledger, CAP) as writer:
        return await writer.reserve(Demand(BOUND, MOST))


def test_clients_meet_on_a_ledger_that_one_has_by_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "shared" / "l.sqlite", tmp_path / "clone" / "ledger.sqlite"
    link.parent.mkdir()
    link.symlink_to(target)

    async def share() -> object:
        with Ledger(target) as first, Ledger(link) as second:
            async with LedgerWriter(first, CAP) as one:
                for _ in range(2):
                    assert isinstance(await one.reserve(Demand(BOUND, MOST)), tuple)
                return await reserve(second)

    target.parent.mkdir()
    assert asyncio.run(share()) == Shortage(elsewhere=True)
    with Ledger(link) as ledger, batches_lock(ledger):
        assert (target.parent / "batches.lock").exists()


def test_what_a_killed_client_left_is_removed_by_the_next(path: Path) -> None:
    leftover = path.with_name("ledger.sqlite-live-0123")
    leftover.touch()
    with Ledger(path) as ledger:
        asyncio.run(reserve(ledger))
    assert [file.name for file in path.parent.glob("*-live-*")] == []


def test_nothing_is_locked_after_the_end(path: Path) -> None:
    """A thread that a second Ctrl-C abandoned goes on for a moment."""
    call = live_reservations.InFlight(BOUND)
    with Ledger(path) as ledger, ledger.transaction() as connection:
        live = live_reservations.LiveReservations(ledger.path)
        live.elsewhere(connection)
        live.close()
        live.publish(connection, call)
    assert list(path.parent.glob("*-live-*")) == []


def test_without_locks_a_reply_is_kept_and_the_error_says_what_helps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(37, "No locks available")

    async def ask(ledger: Ledger) -> None:
        call = Call(ENDPOINT.base_url, "m-1", "teach@0", 1, 1, 0)
        async with LedgerWriter(ledger, CAP) as writer:
            kept, refused = await asyncio.gather(
                writer.put(Entry(b"k" * 32, b"{}", 0, b"reply", call)),
                writer.reserve(Demand(BOUND, MOST)),
                return_exceptions=True,
            )
        assert kept is None
        assert isinstance(refused, AskError)
        assert "No locks available" in str(refused)
        assert "move the ledger to a local disk" in str(refused)

    # the ledger's module alone: other threads of this process lock files meanwhile
    locks = SimpleNamespace(**{**vars(fcntl), "flock": refuses})
    monkeypatch.setattr(live_reservations, "fcntl", locks)
    with Ledger(path) as ledger:
        asyncio.run(ask(ledger))
        assert ledger.count() == 1
    assert list(path.parent.glob("*-live-*")) == []


# --- what is charged ------------------------------------------------------------------------------


def test_the_largest_count_of_another_process_holds_at_once(path: Path) -> None:
    with Ledger(path) as first, Ledger(path) as second:
        reservations = Reservations(estimator(), first)
        counted = Call(ENDPOINT.base_url, "m-1", "teach@0", 1, 1, 0, ratio=6.0)
        second.write([Entry(b"k" * 32, b"{}", 0, b"reply", counted)])
        charge = estimator().charge_reply(BODY, None, MOST, reservations.largest_ratio)
    assert charge.usage is not None
    assert charge.usage.prompt == 6 * BOUND.tokens
