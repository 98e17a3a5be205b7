"""Batches over a real socket: half the price, a day later, and nothing asked twice."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_server import BatchServer, Behaviour, ChatServer, refuses, says
from fixtures import Configure, Workplace

from lion.cli import main
from lion.config import project
from lion.config.settings import Endpoint
from lion.errors import BatchesPendingError, BudgetError, BusyError, EndpointError
from lion.generation import seed_pool
from lion.llm import batch_api, batch_client, ledger_maintenance
from lion.llm.batch_api import batches_lock
from lion.llm.batch_store import BatchStore
from lion.llm.budget import BELIEVED
from lion.llm.caps import Amount, Cap, Demand
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.llm.ledger_writer import LedgerWriter
from lion.llm.prices import Price, Prices
from lion.pipeline import plan
from lion.pipeline.checks.endpoint_rehearsal import probe_endpoints
from lion.pipeline.checks.offline import offline_problems
from lion.pipeline.rehearsal import rehearse
from lion.pipeline.stage import Work
from lion.prompting.protocol import Outcome, Reply, Request
from lion.records import jsonl
from stages import teach

Open = Callable[..., Any]
PRICES = Prices({"m-1": Price(input=1.0, output=2.0, batch=0.5)})


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer.running() as running:
        yield running


def questions(count: int, first: int = 0) -> list[Request]:
    return [
        Request(({"role": "user", "content": f"q{number}"},))
        for number in range(first, first + count)
    ]


def texts(outcomes: list[Outcome]) -> list[str]:
    return [one.text if isinstance(one, Reply) else f"! {one.reason}" for one in outcomes]


@pytest.fixture
def opened(server: BatchServer, tmp_path: Path, configure: Configure) -> Open:
    """Return what opens a client in batch mode, with changes of endpoint and api, on one ledger."""

    @contextmanager
    def made(mode: str = "batch", name: str = "ledger", **changes: Any) -> Iterator[LLMClient]:
        cap = changes.pop("cap", Cap())
        endpoint: dict[str, Any] = {
            "base_url": changes.pop("base_url", server.url),
            "model": "m-1",
            "api_key_env": changes.pop("api_key_env", None),
            "send_seed": True,
            "request": changes.pop("request", {"max_tokens": 10}),
        }
        api: dict[str, Any] = {"tries": 3, "max_wait": 0.05, "batch_least": 1, "batch_tail": 0.0}
        settings = configure({f"api.{key}": value for key, value in (api | changes).items()})
        with (
            Ledger(tmp_path / f"{name}.sqlite") as ledger,
            LLMClient(
                Endpoint(**endpoint),
                settings.api,
                ledger,
                0,
                stage="teach@0",
                prices=PRICES,
                cap=cap,
                mode=mode,  # type: ignore[arg-type]  # as params have it
            ) as client,
        ):
            yield client

    return made


def submit(opened: Open, requests: list[Request], **changes: Any) -> str:
    """Ask once and leave; return the message."""
    with opened(**changes) as client, pytest.raises(BatchesPendingError) as left:
        client.complete(requests)
    return str(left.value)


@pytest.mark.parametrize(
    "line",
    [
        b'\xef\xbb\xbf{"custom_id": "ab", "response": {"status_code": 200, "body": {"a": 1}}}',
        b'{"custom_id": "ab", "response": {"status_code": 200, "body": {"a": NaN}}}',
        b'{"custom_id": "ab", "response": {"status_code": 200, "body": {"a": "\\ud83d"}}}',
    ],
)
def test_a_line_in_a_writing_that_json_forbids_is_kept(line: bytes) -> None:
    """It is billed; before, it was passed over and asked for again."""
    found = batch_client.read_line(line)
    assert found is not None
    assert (found.key, found.failure) == (b"\xab", None)
    assert found.reply is not None


# --- the whole life --------------------------------------------------------------------------


def test_a_run_submits_and_leaves_and_a_later_one_has_the_replies(
    server: BatchServer, opened: Open, tmp_path: Path
) -> None:
    """Outcomes and the ledger's requests are those of live asking; nobody was asked live."""
    server.answer = lambda call: says(f"a {call.question} {call.body['seed']} \u2028 naïve")
    requests = [*questions(30), replace(questions(1)[0], sample=1), questions(1)[0]]
    told = submit(opened, requests)
    assert "31 requests wait for batches of m-1 at http" in told
    assert "1 batch is at work, 0 of 31 done" in told
    assert "Run `dvc repro` again after 2026-09-22 14:13 UTC" in told
    assert submit(opened, requests) == told
    server.end()
    with opened() as client:
        found = client.complete(requests)
    assert (len(server.batches), server.calls) == (1, [])
    assert set(server.done.values()) == {1}
    assert (client.usage.calls, client.usage.hits, client.usage.needed) == (31, 0, 31)
    with opened(mode="live", name="other") as live:
        assert live.complete(requests) == found
        assert live.usage.versioned() == client.usage.versioned()
    assert kept(tmp_path / "ledger.sqlite") == kept(tmp_path / "other.sqlite")


def kept(path: Path) -> list[tuple[bytes, bytes, int, Any]]:
    """Return key, request, sample and reply of every row."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT key, request, sample, reply FROM replies ORDER BY key")
        found = [(key, asked, sample, json.loads(reply)) for key, asked, sample, reply in rows]
    connection.close()
    return found


def test_a_batch_costs_what_a_batch_costs(server: BatchServer, opened: Open) -> None:
    """5 and 3 tokens each, at half of 1 and 2 dollars a million; counted for the stage."""
    submit(opened, questions(4))
    server.end()
    with opened() as client:
        client.complete(questions(4))
        each = (5 * 1000 + 3 * 2000) // 2
        assert client.usage.nanodollars == 4 * each
        assert client.ledger.spent() == (Amount(4, 32, 4 * each, 0), Amount())
        rows = client.ledger._connection.execute("SELECT DISTINCT stage, outcome FROM calls")
        assert rows.fetchall() == [("teach@0", "answered")]


@pytest.mark.parametrize(
    "status", ["validating", "in_progress", "finalizing", "cancelling", "a_new_one"]
)
def test_what_has_not_ended_is_waited_for(server: BatchServer, opened: Open, status: str) -> None:
    submit(opened, questions(3))
    server.batches["batch_1"]["status"] = status
    submit(opened, questions(3))
    with opened() as client:
        assert [one.status for one in BatchStore(client.ledger).open()] == [status]
    assert len(server.batches) == 1


def test_files_keep_to_the_providers_limits(
    server: BatchServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_client, "MOST_REQUESTS", 7)
    assert "3 batches are at work, 0 of 20 done" in submit(opened, questions(20))
    assert [len(server.asked(name)) for name in server.batches] == [7, 7, 6]
    monkeypatch.setattr(batch_client, "MOST_BYTES", 2_000)
    submit(opened, questions(40))
    assert all(len(server.files[f"file-{number}"]) <= 2_000 for number in (4, 5, 6, 7))
    server.end()
    with opened() as client:
        assert texts(client.complete(questions(40))) == [f"to: q{number}" for number in range(40)]
    assert set(server.done.values()) == {1}


def test_only_what_nobody_waits_for_is_submitted(server: BatchServer, opened: Open) -> None:
    """Another stage, or a copy of the pipeline, asks for some of the same."""
    submit(opened, questions(10))
    assert "15 requests wait" in submit(opened, questions(15))
    assert [len(server.asked(name)) for name in server.batches] == [10, 5]


def test_what_nobody_wants_any_more_is_kept_all_the_same(server: BatchServer, opened: Open) -> None:
    submit(opened, questions(5))
    submit(opened, questions(5), request={"max_tokens": 20})
    server.end()
    with opened(request={"max_tokens": 20}) as client:
        client.complete(questions(5))
        assert client.ledger.count() == 10


# --- the tail --------------------------------------------------------------------------------


def even(question: str) -> bool:
    return int(question[1:]) % 2 == 0


@pytest.mark.parametrize("status", ["expired", "cancelled", "completed"])
def test_what_a_batch_left_over_is_asked_live(
    server: BatchServer, opened: Open, status: str
) -> None:
    submit(opened, questions(10))
    server.end(status, only=even)
    with opened(batch_least=6) as client:
        assert texts(client.complete(questions(10))) == [f"to: q{number}" for number in range(10)]
        assert client.ledger.spent()[0].calls == 15  # ten in the batch, five of them for nothing
        failed = client.ledger._connection.execute("SELECT DISTINCT outcome FROM calls")
        assert {one for (one,) in failed} == {"answered", f"batch_{status}"}
    assert sorted(server.questions) == ["q1", "q3", "q5", "q7", "q9"]
    assert len(server.batches) == 1


def test_a_batch_that_brought_nothing_at_all_is_left_over_whole(
    server: BatchServer, opened: Open
) -> None:
    submit(opened, questions(3))
    server.batches["batch_1"]["status"] = "cancelled"  # no file at all
    with opened(batch_least=4) as client:
        assert texts(client.complete(questions(3))) == ["to: q0", "to: q1", "to: q2"]


def test_refusals_and_breakdowns_of_single_requests_are_asked_again_live(
    server: BatchServer, opened: Open
) -> None:
    answers = {"q1": refuses(500, "down"), "q2": refuses(400, "bad words"), "q3": says("")}
    server.answer = lambda call: answers.pop(call.question, says("yes"))
    submit(opened, questions(5))
    server.end()
    with opened(batch_least=4) as client:
        assert texts(client.complete(questions(5))) == ["yes"] * 5
        rows = client.ledger._connection.execute(
            "SELECT outcome, detail, nanodollars FROM calls WHERE outcome != 'answered' ORDER BY 1"
        )
        each = (5 * 1000 + 3 * 2000) // 2
        assert rows.fetchall() == [
            ("empty_reply", "finish_reason stop", each),
            ("http_400", "bad words", 0),
            ("http_500", "down", 0),
        ]
        assert (client.usage.wasted, client.usage.billed) == (3, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        refuses(402, "Insufficient balance"),
        refuses(429, "You exceeded your current quota.", code="insufficient_quota"),
        refuses(400, "Your credit balance is too low"),
    ],
    ids=["402", "quota", "credit"],
)
def test_an_account_that_cannot_pay_stops_after_what_a_batch_brought_is_kept(
    server: BatchServer, opened: Open, trouble: Behaviour
) -> None:
    """The rows are not tried: they go into a batch again, once the account is topped up."""
    server.answer = lambda call: trouble if call.question in ("q1", "q2") else says("yes")
    submit(opened, questions(20))
    server.end()
    with opened() as client, pytest.raises(EndpointError, match="Top up the account"):
        client.complete(questions(20))
    with opened() as client:
        assert client.ledger.count() == 18
        assert client.ledger.spent()[1] == Amount()
    server.answer = says("yes")
    assert "2 requests wait" in submit(opened, questions(20), batch_tail=0.0)


def test_a_batch_that_fails_for_the_account_says_to_top_it_up(
    server: BatchServer, opened: Open
) -> None:
    submit(opened, questions(20))
    server.fail("billing_hard_limit_reached", "Billing hard limit has been reached.")
    with opened() as client, pytest.raises(EndpointError, match=r"limit has been.*Top up"):
        client.complete(questions(20))


def test_a_large_rest_is_a_batch_again_and_then_live(server: BatchServer, opened: Open) -> None:
    """Half the price is worth a second day, not a third."""
    submit(opened, questions(20))
    server.end("expired", only=even)
    assert "10 requests wait" in submit(opened, questions(20))
    server.end("expired", only=lambda question: question == "q1")
    with opened() as client:
        assert texts(client.complete(questions(20))) == [f"to: q{number}" for number in range(20)]
    assert [len(server.asked(name)) for name in server.batches] == [20, 10]
    assert len(server.calls) == 9
    assert "q1" not in server.questions


def test_a_few_new_rows_are_not_worth_a_day(server: BatchServer, opened: Open) -> None:
    with opened(batch_least=5) as client:
        client.complete(questions(4))
    submit(opened, questions(40), batch_tail=0.1)
    server.end()
    with opened(batch_tail=0.1) as client:
        client.complete(questions(44))
    assert (len(server.batches), len(server.calls)) == (1, 8)


def test_lines_that_are_no_replies_of_ours_are_passed_over(
    server: BatchServer, opened: Open
) -> None:
    submit(opened, questions(4))
    server.end()
    batch = server.batches["batch_1"]
    lines = server.files[batch["output_file_id"]].splitlines()
    foreign = json.dumps({"custom_id": "ab" * 32, "response": None, "error": "odd"}).encode()
    raw = [b"not json", b"[]", b'{"custom_id": "no hex"}', foreign, lines[0], lines[0], lines[1]]
    server.files[batch["output_file_id"]] = b"\n".join([*raw, lines[2][:-9], b""])
    with opened(batch_least=3) as client:
        assert texts(client.complete(questions(4))) == [f"to: q{number}" for number in range(4)]
        assert client.usage.calls == 6
    assert len(server.calls) == 2


# --- refused as a whole ----------------------------------------------------------------------


def test_a_batch_that_fails_is_told_in_the_providers_words(
    server: BatchServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    changes: dict[str, Any] = {"api_key_env": "SOME_KEY", "cap": Cap(calls=5)}
    submit(opened, questions(4), **changes)
    server.fail("model_not_found", "No model m-1 for sk-very-secret.")
    with opened(**changes) as client:
        with pytest.raises(EndpointError, match=r"batch_1 of 4 .* model_not_found: No model") as e:
            client.complete(questions(4))
        assert "sk-very-secret" not in str(e.value)
        assert client.ledger.spent() == (Amount(), Amount())
    submit(opened, questions(4), **changes)  # mended: nothing of it counts as tried
    server.end()
    with opened(**changes) as client:
        assert len(client.complete(questions(4))) == 4


def test_a_full_queue_takes_half_as_much_one_batch_at_a_time(
    server: BatchServer, opened: Open
) -> None:
    submit(opened, questions(20))
    server.fail(batch_client.QUEUE_FULL, "Enqueued token limit reached.")
    assert "20 requests wait" in submit(opened, questions(20))
    server.fail(batch_client.QUEUE_FULL, "Enqueued token limit reached.")
    for _ in range(2):
        submit(opened, questions(20))
    assert [len(server.asked(name)) for name in server.batches] == [20, 10, 5]
    for _ in range(4):
        server.end()
        with opened() as client:
            try:
                found = texts(client.complete(questions(20)))
            except BatchesPendingError:
                found = []
    assert found == [f"to: q{number}" for number in range(20)]
    assert set(server.done.values()) == {1}
    assert server.calls == []


def test_a_server_without_batches_is_a_clear_error(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    with (
        opened(base_url=chat_server.url) as client,
        pytest.raises(EndpointError, match=r"no /v1/files \(HTTP 404\): .* api.mode .* to live"),
    ):
        client.complete(questions(3))
    assert tmp_path.exists()


def test_a_throttled_upload_is_tried_again(server: BatchServer, opened: Open) -> None:
    server.refuses_next = [refuses(429, "slow", headers={"Retry-After": "0.01"}), refuses(503)]
    submit(opened, questions(3))
    assert len(server.batches) == 1


# --- crashes ---------------------------------------------------------------------------------

_ASKING = """
import sys
from pathlib import Path
import yaml
from lion.llm.client import LLMClient
from lion.llm.caps import Cap
from lion.llm.ledger import Ledger
from lion.config.settings import Endpoint
from lion.config.validation import read_settings
from lion.prompting.protocol import Request
root, url, path = sys.argv[1:]
settings = read_settings(yaml.safe_load(Path(root, "params.yaml").read_text()))
api = settings.api.model_copy(update={"batch_least": 1, "batch_tail": 0.0})
endpoint = Endpoint(base_url=url, model="m-1", api_key_env=None, send_seed=True,
                    request={"max_tokens": 10})
asked = [Request(({"role": "user", "content": f"q{n}"},)) for n in range(600)]
with Ledger(Path(path)) as ledger:
    with LLMClient(endpoint, api, ledger, 0, mode="batch", cap=Cap(calls=702)) as client:
        client.complete(asked)
"""


@pytest.mark.parametrize(
    ("points", "echoes"),
    [
        pytest.param(
            ("uploaded", "create", "created", "errors"),
            True,
            id="everywhere",
            marks=pytest.mark.slow,
        ),
        pytest.param(("created",), False, id="a provider that drops metadata"),
    ],
)
def test_nothing_is_submitted_twice_whenever_the_asking_is_killed(
    server: BatchServer, opened: Open, tmp_path: Path, points: tuple[str, ...], echoes: bool
) -> None:
    """Killed after the upload, before and after the batch is made, and between its two files.

    What is spent and set aside is exact in the end, though replies were kept in two goes.
    """
    server.echoes_metadata = echoes
    server.batches["batch_old"] = {"id": "batch_old", "metadata": None, "status": "completed"}
    broken = {"q3", "q4"}
    server.answer = lambda call: refuses(500) if call.question in broken else says(call.question)
    cap, requests = Cap(calls=702), questions(600)
    for point in points:
        if point == "errors":
            submit(opened, requests, cap=cap)
            server.end()
        killed_at(server, point, tmp_path / "ledger.sqlite")
    if "errors" not in points:
        submit(opened, requests, cap=cap)
        server.end()
    broken.clear()
    with opened(cap=cap, batch_least=9) as client:
        assert texts(client.complete(requests)) == [f"q{number}" for number in range(600)]
        spent, reserved = client.ledger.spent()
    assert (spent.calls, spent.tokens, reserved) == (602, 4800, Amount())
    assert len(server.batches) == 2
    assert (len(server.done), set(server.done.values())) == (600, {1})
    assert sorted(server.questions) == ["q3", "q4"]


def killed_at(server: BatchServer, point: str, path: Path) -> None:
    """Let a process ask, and kill it when the server comes to `point`."""
    process: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        process[0].kill()
        process[0].wait()
        if point == "create":  # the server never saw it whole
            raise ConnectionAbortedError

    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", _ASKING, str(root), server.url, str(path)]
    process.append(subprocess.Popen(command, stderr=subprocess.PIPE))
    server.traps[point] = kill
    _, words = process[0].communicate(timeout=60)
    assert process[0].returncode == -signal.SIGKILL, (point, words.decode())


def test_a_reply_that_was_lost_on_its_way_makes_no_second_batch(
    server: BatchServer, opened: Open
) -> None:
    def lost() -> None:
        raise ConnectionResetError  # the server answers 500, with the batch made

    server.traps["created"] = lost
    submit(opened, questions(3))
    assert len(server.batches) == 1


def test_one_process_at_a_time_submits(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "_PATIENCE", 0.05)
    held = pytest.raises(BusyError, match=r"batches\.lock")
    with opened() as client, batches_lock(client.ledger), held:
        client.complete(questions(1))


# --- the budget ------------------------------------------------------------------------------


def test_no_more_is_submitted_than_the_budget_allows(server: BatchServer, opened: Open) -> None:
    assert "10 requests wait" in submit(opened, questions(10), cap=Cap(calls=6))
    assert len(server.asked("batch_1")) == 6
    submit(opened, questions(10), cap=Cap(calls=6))
    server.end()
    with opened(cap=Cap(calls=6)) as client:
        with pytest.raises(BudgetError, match=r"6 calls, 48 tokens"):
            client.complete(questions(10))
        assert client.ledger.count() == 6
    submit(opened, questions(10), cap=Cap(calls=10))
    server.end()
    with opened(cap=Cap(calls=10)) as client:
        assert len(client.complete(questions(10))) == 10
    assert set(server.done.values()) == {1}


def test_money_is_set_aside_at_the_price_of_a_batch(server: BatchServer, opened: Open) -> None:
    """At most: a token a byte of the request, and the cap of ten, at half the price."""
    with opened(cap=Cap(nanodollars=10**9)) as client:
        body = len(client._prepare(questions(1)[0]).body)
        with pytest.raises(BatchesPendingError):
            client.complete(questions(2))
        most = (body * 1000 + 10 * 2000) // 2
        assert client.ledger.spent() == (Amount(), Amount(2, 2 * (body + 10), 2 * most))
        assert client.ledger.prune() == 0  # what is at work stays set aside
        assert client.ledger.spent()[1].calls == 2
    server.end()
    with opened(cap=Cap(nanodollars=10**9)) as client:
        client.complete(questions(2))
        assert client.ledger.spent()[1] == Amount()


TOKENS = Cap(tokens=20_000)


@contextmanager
def held_elsewhere(path: Path, tokens: int, seconds: float) -> Iterator[None]:
    """Let another client have a call in flight, so long at most; `tokens` are its margin."""
    begun, over = threading.Event(), threading.Event()

    async def hold() -> None:
        with Ledger(path) as ledger:
            async with LedgerWriter(ledger, TOKENS) as writer:
                grant = await writer.reserve(Demand(Amount(1, 10), Amount(1, 10 + tokens)))
                assert isinstance(grant, tuple)
                begun.set()
                await asyncio.to_thread(over.wait, seconds)
                await writer.release(grant[0])

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    assert begun.wait(10)
    yield
    over.set()
    thread.join()


def test_a_batch_waits_for_the_margins_of_calls_in_flight(
    server: BatchServer, opened: Open, tmp_path: Path
) -> None:
    """Ten requests fit, though not beside the margin: none is left out for a day."""
    with held_elsewhere(tmp_path / "ledger.sqlite", 19_500, 0.3):
        assert "10 requests wait" in submit(opened, questions(10), cap=TOKENS)
    assert len(server.asked("batch_1")) == 10


def test_a_batch_names_the_process_that_it_waited_for_in_vain(
    server: BatchServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_api, "_PATIENCE", 0.0)
    with (
        held_elsewhere(tmp_path / "ledger.sqlite", 19_500, 60.0),
        opened(cap=TOKENS) as client,
        pytest.raises(BusyError, match="calls in flight of other processes"),
    ):
        client.complete(questions(10))
    assert server.batches == {}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent() == (Amount(), Amount()), "nothing is left set aside"


def test_a_batch_is_charged_what_was_counted(server: BatchServer, opened: Open) -> None:
    """It reserved its most once; a count above is spent all the same, a missing one as the largest.

    A count that is not believed is a missing one.
    """
    usages = {"q0": (1990, 10), "q1": (10**9, 1), "q2": None, "q3": (5, 3)}
    server.answer = lambda call: says("x", usage=usages[call.question])
    submit(opened, questions(1), cap=TOKENS)
    server.end()
    with opened(cap=TOKENS) as client:
        client.complete(questions(1))
        assert client.ledger.spent()[0].tokens == 2000
        ratio = client.ledger.largest_ratio(server.url, "m-1")
        assert 2 < ratio < BELIEVED
    submit(opened, questions(3, 1), cap=TOKENS)
    server.end()
    with opened(cap=TOKENS) as client:
        client.complete(questions(3, 1))
        assert client.ledger.spent()[0].tokens == pytest.approx(2000 + 2000 + 2000 + 8, abs=2)


# --- what a person sees ----------------------------------------------------------------------


def batch_params(workplace: Workplace, url: str, **changes: Any) -> Any:
    return workplace.params(
        {
            "seed.size": 60,
            "exam.size": 20,
            "respond.limit": 50,
            "generate.hard": 30,
            "generate.easy": 15,
            "evaluate.quality": 10,
            "teacher.base_url": url,
            "teacher.model": "m-1",
            "teacher.api_key_env": None,
            "api.mode.teacher": "batch",
            "api.batch_least": 10,
            "api.tries": 1,
            **changes,
        }
    )


_ONE_STAGE = """
stages:
  base-teach: {cmd: exec python -m stages.teach 0, deps: [data/0/train_pool.jsonl]}
"""


@pytest.mark.slow
def test_a_run_leaves_with_its_own_exit_code_and_goes_on_later(
    server: BatchServer, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lion run` around a real `dvc repro`, which itself tells every failure alike."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    others = {
        f"{role}.{key}": value
        for role in ("referee", "generator")
        for key, value in {"base_url": server.url, "api_key_env": None}.items()
    }
    settings = batch_params(workplace, server.url, **others)
    rows, _ = seed_pool.base_pool(settings.seed, settings.random_seed)
    jsonl.write(project.data("0", "train_pool.jsonl"), rows)
    Path("dvc.yaml").write_text(_ONE_STAGE)
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    # what a referee may say, too: `lion run` begins with `lion check`
    server.answer = says("Both do.\nScore of Assistant 1: 4\nScore of Assistant 2: 6")
    command = [sys.executable, "-m", "lion.cli", "run"]
    left = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (left.returncode, "60 requests wait" in left.stderr) == (75, True), left.stderr
    assert "\nstage 1 of 1: teach@0\n" in left.stderr
    shown = lion("batch")
    assert "teach@0" in shown.stdout
    assert "validating" in shown.stdout
    (one,) = json.loads(lion("batch", "--json").stdout)
    expected = {"batch": "batch_1", "stage": "teach@0", "requests": 60, "done": 0, "problem": None}
    assert {name: one[name] for name in expected} == expected
    server.end()
    assert teach.main(Work("teach", "0", settings)).startswith("60 answers")
    assert len(Path("data/0/cache_pool.jsonl").read_text().splitlines()) == 60
    assert lion("batch").stderr == "no batch is at work\n"
    (taught,) = ledger_maintenance.by_stage(project.ledger())
    assert (taught.names, taught.calls, taught.p50) == (("teach@0",), 60, None)
    assert len(server.calls) == 3  # lion check's


def test_what_no_stage_waits_for_is_fetched_or_forgotten(
    server: BatchServer, workplace: Workplace
) -> None:
    settings = batch_params(workplace, server.url, **{"api.batch_least": 1})
    for first in (0, 3):
        with (
            Ledger(project.ledger()) as ledger,
            LLMClient(settings.teacher, settings.api, ledger, 0, mode="batch") as client,
            pytest.raises(BatchesPendingError),
        ):
            client.complete(questions(3, first))
    del server.batches["batch_1"]  # long ago, or another key
    shown = lion("batch")
    assert shown.exit_code == 1
    assert "batch_1" in shown.stdout
    assert "`lion batch forget` gives it up" in shown.stderr
    assert lion("batch", "forget", "batch_9").exit_code == 1
    assert "3 requests are forgotten" in lion("batch", "forget", "batch_1").stderr
    server.end()
    assert "3 new replies; 0 batches are still at work" in lion("batch", "fetch").stderr
    with Ledger(project.ledger()) as ledger:
        assert ledger.spent()[0].calls == 6  # the forgotten ones may have been billed


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "200"})


def test_check_looks_for_the_batch_api_before_it_is_needed(
    server: BatchServer, chat_server: ChatServer, workplace: Workplace
) -> None:
    assert probe_endpoints(batch_params(workplace, server.url)) == []
    (problem,) = probe_endpoints(batch_params(workplace, chat_server.url))
    assert "teacher: m-1 at" in problem
    assert "set api.mode of this role to live" in problem
    (problem,) = [
        one
        for one in offline_problems(batch_params(workplace, "embedded"))
        if one.startswith("api.mode.teacher")
    ]
    assert "embedded teacher" in problem


def test_the_plan_tells_price_and_time_of_batches(workplace: Workplace) -> None:
    """Generation asks in rounds that wait for each other: a day each."""
    changes = {
        "generator.base_url": "http://localhost:9/v1",
        "generator.model": "m-1",
        "api.mode.generator": "batch",
        "generate.requests_per_round": 20,
    }
    settings = batch_params(workplace, "http://localhost:9/v1", **changes)
    remaining = {"teach@0", "generate@1", "evaluate@1"}
    with Ledger(project.ledger()) as ledger:
        found = {
            need.stage: need
            for need in plan.plan(
                settings, remaining, rehearse(settings, remaining, ledger), PRICES
            )
        }
    taught, made = found["teach@0"], found["generate@1"]
    assert (taught.mode, taught.seconds) == ("batch", 86_400)
    assert taught.nanodollars == 500 * taught.prompt_tokens + 1000 * taught.completion_tokens
    assert (made.calls, made.seconds) == (50, 3 * 86_400)
    assert found["evaluate@1"].mode == "live"
