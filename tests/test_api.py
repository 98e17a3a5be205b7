"""Asking over a real socket: order, money, patience, and what is kept when it ends badly."""

import random
import sys
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pytest
from asking import Open, ask_for, held_until, in_turn, kept, texts
from fake_server import Behaviour, Call, ChatServer, refuses, says

from lion.errors import AskError, EndpointError, TooManyDroppedError
from lion.llm.request_set import DropLimit
from lion.metrics.units import RoleUsage
from lion.prompting import protocol
from lion.prompting.protocol import Failure

# --- the order, and each request once --------------------------------------------------------


def test_outcomes_stand_in_the_order_of_the_requests(chat_server: ChatServer, opened: Open) -> None:
    delays = random.Random(7)
    chat_server.answer = lambda call: says(call.question, delay=delays.uniform(0, 0.03))
    with opened(concurrency=16) as client:
        found = client.complete([ask_for(number) for number in range(60)])
    assert texts(found) == [f"q{number}" for number in range(60)]
    arrived = chat_server.questions
    assert sorted(arrived) == sorted(texts(found))


def test_a_request_that_stands_twice_is_sent_once(chat_server: ChatServer, opened: Open) -> None:
    with opened() as client:
        found = client.complete([ask_for(1), ask_for(2), ask_for(1), ask_for(1)])
    assert texts(found) == ["to: q1", "to: q2", "to: q1", "to: q1"]
    assert Counter(chat_server.questions) == {"q1": 1, "q2": 1}
    assert client.usage.needed == 2


def test_what_was_answered_is_never_asked_again(chat_server: ChatServer, opened: Open) -> None:
    requests = [ask_for(number) for number in range(10)]
    with opened() as client:
        first = client.complete(requests)
        assert client.complete(requests) == first
    with opened() as later:
        assert later.complete(list(reversed(requests))) == list(reversed(first))
    assert len(chat_server.calls) == 10
    assert (later.usage.calls, later.usage.hits) == (0, 10)


def test_known_replies_need_no_transport(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK, 0.4 s of imports, is loaded where the first reply is missing."""
    with opened() as client:
        client.complete([ask_for(1)])
    monkeypatch.setitem(sys.modules, "lion.llm.sender", None)  # an import of it fails
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == ["to: q1"]
        with pytest.raises(ImportError):
            client.complete([ask_for(2)])


def test_known_replies_need_no_key(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A colleague with the ledger and without an account can run the pipeline again."""
    monkeypatch.setenv("SOME_KEY", "sk-1")
    with opened(api_key_env="SOME_KEY") as client:
        first = client.complete([ask_for(1)])
    monkeypatch.delenv("SOME_KEY")
    with opened(api_key_env="SOME_KEY") as client:
        assert client.complete([ask_for(1)]) == first


def test_two_samples_of_a_question_are_two_requests(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = lambda call: says(str(call.body["seed"]))
    with opened(random_seed=5) as client:
        found = client.complete([ask_for(1, sample) for sample in (0, 1, 2)])
    assert texts(found) == [str(protocol.sample_seed(5, sample)) for sample in (0, 1, 2)]
    assert len(set(texts(found))) == 3


def test_two_samples_are_two_requests_even_without_a_seed(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: says(f"number {call.number}")
    with opened(send_seed=False, concurrency=1) as client:
        found = client.complete([ask_for(1, 0), ask_for(1, 1)])
    assert texts(found) == ["number 1", "number 2"]
    assert all("seed" not in call.body for call in chat_server.calls)
    assert chat_server.distinct == 1


def test_nothing_to_ask_needs_nobody(opened: Open) -> None:
    with opened(base_url="http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY") as client:
        assert client.complete([]) == []


def test_no_more_requests_are_in_flight_than_allowed(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = held_until(4, lambda _: says("x"))
    with opened(concurrency=4) as client:
        client.complete([ask_for(number) for number in range(40)])
    assert chat_server.most_in_flight == 4


def test_the_body_is_what_params_say(chat_server: ChatServer, opened: Open) -> None:
    extra = {"temperature": 0.7, "max_tokens": 9, "reasoning": {"effort": "low"}, "user": "ü"}
    with opened(request=extra, random_seed=3) as client:
        client.complete([ask_for("é\u2028")])
    (call,) = chat_server.calls
    assert call.body == {
        **extra,
        "model": "m-1",
        "messages": [{"role": "user", "content": "qé\u2028"}],
        "seed": protocol.sample_seed(3, 0),
    }
    assert call.headers["Content-Type"] == "application/json"


def test_progress_ends_with_everything_done(opened: Open) -> None:
    told: list[tuple[int, int]] = []
    with opened() as client:
        client.complete([ask_for(1)])
        client.progress = lambda done, total: told.append((done, total))
        client.complete([ask_for(number) for number in (1, 2, 3, 3)])
    assert told == [(1, 3), (2, 3), (3, 3)]


# --- patience ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        refuses(429, code="rate_limit_exceeded"),
        refuses(408),
        refuses(529),
        Behaviour(503, b"<html>upstream</html>", {"Content-Type": "text/html"}),
        Behaviour(reset=True),
        Behaviour(body=says("a long reply that ends too early").body, broken_off=True),
        Behaviour(body=says("cut").body[:-9]),
        Behaviour(body=b""),
        says(""),
        says(None),
    ],
    ids=lambda told: f"{told.status}{'-reset' * told.reset}{'-broken' * told.broken_off}",
)
def test_a_passing_trouble_is_waited_out(
    chat_server: ChatServer, opened: Open, trouble: Behaviour
) -> None:
    chat_server.answer = in_turn(trouble, trouble, says("fine"))
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == ["fine"]
    assert (client.usage.calls, client.usage.retries, client.usage.failed) == (3, 2, 0)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (refuses(500), "http_500"),
        (Behaviour(reset=True), "connection"),
        (says("late", delay=60.0), "timeout"),
        (says(None), "empty_reply"),
        (Behaviour(body=b"{"), "malformed_reply"),
    ],
)
def test_a_lasting_trouble_is_a_failure_with_its_reason(
    chat_server: ChatServer, opened: Open, tmp_path: Path, trouble: Behaviour, reason: str
) -> None:
    """It is asked `tries` times, is no answer, is not kept as one, and is asked again next time."""
    chat_server.answer = trouble
    with opened(tries=2, timeout=0.1 if reason == "timeout" else 60.0) as client:
        (outcome,) = client.complete([ask_for(1)])
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason
    assert (len(chat_server.calls), client.usage.failed, kept(tmp_path)) == (2, 1, 0)
    chat_server.answer = says("now")
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == ["now"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wish_of_the_server_is_honoured(chat_server: ChatServer, opened: Open, form: str) -> None:
    wished = int(time.time() + 1.5)  # a date has whole seconds
    value = "0.4" if form == "seconds" else formatdate(wished, usegmt=True)
    chat_server.answer = in_turn(refuses(429, headers={"Retry-After": value}), says("fine"))
    with opened(max_wait=8.0) as client:
        client.complete([ask_for(1)])
    first, second = chat_server.calls
    now = time.time() - time.monotonic()
    least = first.at + 0.4 if form == "seconds" else wished - now
    assert least <= second.at < least + 5.0  # of the 8 that it might wait


@pytest.mark.parametrize("value", ["3600", "soon", "-5", "nan", "inf"])
def test_no_wish_of_the_server_outlasts_max_wait(
    chat_server: ChatServer, opened: Open, value: str
) -> None:
    chat_server.answer = in_turn(refuses(429, headers={"Retry-After": value}), says("fine"))
    with opened(max_wait=0.1) as client:
        assert texts(client.complete([ask_for(1)])) == ["fine"]
    first, second = chat_server.calls
    assert second.at - first.at < 30  # and no hour


def test_a_plea_for_patience_is_no_try_and_is_heard_for_a_time(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """A full server loses no row; but nobody waits for ever."""
    chat_server.answer = lambda call: refuses(429) if call.number <= 6 else says("now")
    with opened(tries=2) as client:
        assert texts(client.complete([ask_for(1)])) == ["now"]
    chat_server.answer = refuses(429)
    with opened(tries=2, max_request_seconds=0.5) as client:
        assert texts(client.complete([ask_for(2)])) == ["! http_429"]
    assert kept(tmp_path) == 1


def test_one_slow_row_does_not_hold_the_others(chat_server: ChatServer, opened: Open) -> None:
    """While one request waits for its turn, the others go on."""

    def answer(call: Call) -> Behaviour:
        if call.question == "q0" and chat_server.questions.count("q0") == 1:
            return refuses(429, headers={"Retry-After": "1.5"})
        return says("x")

    chat_server.answer = answer
    with opened(concurrency=2, max_wait=5.0) as client:
        client.complete([ask_for(number) for number in range(20)])
    assert chat_server.questions[-1] == "q0"


# --- what no retry mends ------------------------------------------------------------------------


def test_a_wrong_key_stops_at_once(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the server's words, the endpoint, and the variable to look at."""
    monkeypatch.setenv("SOME_KEY", "sk-planted-1")
    chat_server.answer = refuses(401, "Incorrect API key provided.")
    with opened(api_key_env="SOME_KEY", concurrency=4) as client, pytest.raises(EndpointError) as e:
        client.complete([ask_for(number) for number in range(100)])
    assert "m-1" in str(e.value)
    assert chat_server.url in str(e.value)
    assert "Incorrect API key provided." in str(e.value)
    assert "$SOME_KEY" in str(e.value)
    assert len(chat_server.calls) <= 4


def test_a_missing_key_names_its_variable_and_sends_nothing(
    chat_server: ChatServer, opened: Open
) -> None:
    with (
        opened(api_key_env="SOME_KEY") as client,
        pytest.raises(EndpointError, match="Set the environment variable SOME_KEY"),
    ):
        client.complete([ask_for(1)])
    assert not chat_server.calls


def test_the_key_of_another_account_is_not_sent(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`api_key_env: null` sends no key, whatever the environment holds."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-1")
    with opened(api_key_env=None) as client:
        client.complete([ask_for(1)])
    assert "sk-planted" not in str(chat_server.calls[0].headers)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_before_any_success_stops(
    chat_server: ChatServer, opened: Open, status: int
) -> None:
    """Nobody wants 15,000 rows dropped for a parameter that the server does not know."""
    chat_server.answer = refuses(status, "Unrecognized argument: max_tokens.")
    with opened(concurrency=2) as client, pytest.raises(EndpointError) as caught:
        client.complete([ask_for(number) for number in range(50)])
    assert f"HTTP {status}: " in str(caught.value)
    assert "Unrecognized argument: max_tokens." in str(caught.value)
    assert "params.yaml" in str(caught.value)
    assert len(chat_server.calls) <= (2 if status == 404 else 10)


def test_a_refused_row_among_the_first_leaves_the_others_in_peace(
    chat_server: ChatServer, opened: Open
) -> None:
    """Its neighbours in flight are billed: they are waited for and kept."""
    chat_server.answer = held_until(
        8,
        lambda call: refuses(400, "Too long.") if call.question == "q0" else says("x", delay=0.2),
    )
    with opened(concurrency=8) as client:
        outcomes = client.complete([ask_for(number) for number in range(8)])
    assert [one.reason for one in outcomes if isinstance(one, Failure)] == ["http_400"]
    assert len(chat_server.calls) == 8


def test_what_is_in_flight_when_asking_ends_is_kept(chat_server: ChatServer, opened: Open) -> None:
    """The refusal comes while three others are answered, a little later."""
    chat_server.answer = held_until(
        4,
        lambda call: refuses(400, "Too long.") if call.question == "q0" else says("x", delay=0.3),
    )
    requests = [ask_for(number) for number in range(20)]
    with opened(concurrency=4) as client, pytest.raises(TooManyDroppedError):
        client.complete(requests, DropLimit(0))
    assert len(chat_server.calls) == 4
    with opened() as again:
        assert again.ledger.count() == 3


def test_a_refusal_after_a_success_is_that_rows_failure(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: (
        refuses(400, "Your prompt was flagged.") if call.question == "q3" else says("x")
    )
    with opened(concurrency=1) as client:
        found = client.complete([ask_for(number) for number in range(6)])
    assert texts(found) == ["x", "x", "x", "! http_400", "x", "x"]
    assert isinstance(found[3], Failure)
    assert "Your prompt was flagged." in found[3].detail
    assert chat_server.questions.count("q3") == 1


def test_a_refusal_is_that_rows_failure_where_the_ledger_knows_others(
    chat_server: ChatServer, opened: Open
) -> None:
    with opened() as client:
        client.complete([ask_for(1)])
    chat_server.answer = refuses(400)
    with opened() as client:
        assert texts(client.complete([ask_for(1), ask_for(2)])) == ["to: q1", "! http_400"]


def test_a_model_that_is_gone_stops_even_after_a_success(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = in_turn(says("x"), refuses(404, "The model m-1 does not exist"))
    with opened(concurrency=1) as client, pytest.raises(EndpointError, match="does not exist"):
        client.complete([ask_for(number) for number in range(5)])
    assert len(chat_server.calls) == 2


def test_an_empty_account_stops_at_once(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = in_turn(
        says("x"), refuses(429, "You exceeded your current quota.", code="insufficient_quota")
    )
    with opened(concurrency=1) as client, pytest.raises(EndpointError, match=r"quota\. Top up"):
        client.complete([ask_for(number) for number in range(5)])
    assert len(chat_server.calls) == 2
    assert kept(tmp_path) == 1


def test_a_redirect_is_not_an_answer(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = Behaviour(200, b"<html>Sign in</html>")
    with opened(tries=1) as client:
        assert texts(client.complete([ask_for(1)])) == ["! malformed_reply"]


# --- what was billed ----------------------------------------------------------------------------


def test_hidden_reasoning_that_spent_the_cap_is_billed_and_not_asked_again(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = says(None, finish_reason="length", usage=(10, 512))
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == ["! cap_spent"]
        assert client.usage.completion_tokens == 512
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == ["! cap_spent"]
    assert len(chat_server.calls) == 1
    assert kept(tmp_path) == 1
    assert client.usage.versioned().completion_tokens == 512
    assert client.usage.versioned().failed == 1


def test_tokens_are_those_of_the_replies_used_whoever_paid(
    chat_server: ChatServer, opened: Open
) -> None:
    """Metrics under version control must not depend on what the ledger knew."""
    chat_server.answer = lambda call: says("x", usage=None if call.question == "q3" else (10, 2))
    requests = [ask_for(number) for number in (0, 1, 2, 3, 3)]
    with opened() as fresh:
        fresh.complete(requests)
    with opened() as again:
        again.complete(requests)
    assert fresh.usage.versioned() == again.usage.versioned()
    assert again.usage.versioned() == RoleUsage(
        requests=4, failed=0, prompt_tokens=30, completion_tokens=6, replies_without_usage=1
    )


def test_too_many_failures_stop_early_and_keep_what_was_answered(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """It names the last reason, keeps all that was paid for, and the rest is asked next time."""
    bad = {f"q{number}" for number in (5, 6, 7)}
    chat_server.answer = lambda call: refuses(400, "flagged") if call.question in bad else says("x")
    requests = [ask_for(number) for number in range(200)]
    with opened(concurrency=2) as client, pytest.raises(TooManyDroppedError) as caught:
        client.complete(requests, DropLimit(2))
    assert "3 of 200 requests dropped (http_400 3), max_dropped allows 2" in str(caught.value)
    assert "http_400: " in str(caught.value)
    answered = len([question for question in chat_server.questions if question not in bad])
    assert len(chat_server.calls) < 20
    assert answered - 2 <= kept(tmp_path) <= answered  # at most those in flight at the end
    chat_server.answer = says("x")
    seen = len(chat_server.calls)
    with opened() as client:
        assert texts(client.complete(requests)) == ["x"] * 200
    assert len(chat_server.calls) - seen == 200 - client.usage.hits


def test_allowed_failures_do_not_stop(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = lambda call: says(None if call.question in ("q1", "q4") else "x")
    with opened(tries=1) as client:
        found = client.complete([ask_for(number) for number in range(6)], DropLimit(2))
    assert texts(found) == ["x", "! empty_reply", "x", "x", "! empty_reply", "x"]


def test_billed_failures_stop_early(chat_server: ChatServer, opened: Open) -> None:
    """A reasoning model whose cap is too low would spend it on every row."""
    chat_server.answer = says(None, finish_reason="length")
    with (
        opened(concurrency=2) as client,
        pytest.raises(TooManyDroppedError, match=r"4 of 100 .*cap_spent 4.*max_tokens"),
    ):
        client.complete([ask_for(number) for number in range(100)], DropLimit(3))
    assert len(chat_server.calls) <= 5


def test_known_failures_count_too(chat_server: ChatServer, opened: Open) -> None:
    """A second run must not be more lenient than the first, with billed failures in the ledger."""
    chat_server.answer = says(None, finish_reason="length")
    with opened() as client, pytest.raises(TooManyDroppedError):
        client.complete([ask_for(number) for number in range(50)], DropLimit(2))
    seen = len(chat_server.calls)
    with opened() as client, pytest.raises(TooManyDroppedError):
        client.complete([ask_for(number) for number in range(50)], DropLimit(2))
    assert len(chat_server.calls) == seen


# --- secrets ------------------------------------------------------------------------------------


def test_a_key_is_sent_and_written_nowhere(
    chat_server: ChatServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-planted-93c1"
    monkeypatch.setenv("SOME_KEY", key)
    chat_server.answer = lambda call: (
        refuses(400, "no") if call.question == "q1" else says(call.question)
    )
    with opened(api_key_env="SOME_KEY", concurrency=1) as client:
        found = client.complete([ask_for(0), ask_for(1), ask_for(2)])
    assert chat_server.calls[0].headers["Authorization"] == f"Bearer {key}"
    assert key not in repr(found)
    assert key not in repr(client.endpoint)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if key.encode() in path.read_bytes()]


@pytest.mark.parametrize("end", ["\n", "\r", " "])
def test_a_key_from_a_file_may_bring_its_line_end(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("SOME_KEY", f"sk-planted-93c1{end}")
    with opened(api_key_env="SOME_KEY") as client:
        client.complete([ask_for(1)])
    assert chat_server.calls[0].headers["Authorization"] == "Bearer sk-planted-93c1"


@pytest.mark.parametrize("key", ["sk-plant\u00e9d", "sk-planted\nX-Other: 1"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(
    opened: Open, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    with opened(api_key_env="SOME_KEY") as client, pytest.raises(EndpointError) as caught:
        client.complete([ask_for(1)])
    assert "$SOME_KEY is no key" in str(caught.value)
    assert "sk-plant" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_a_key_that_the_server_repeats_is_in_no_message(
    chat_server: ChatServer,
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    """Some servers put the whole key into their words; terminals, logs and ledgers are shared."""
    key = "sk-planted-93c1"
    monkeypatch.setenv("SOME_KEY", key)
    chat_server.answer = refuses(status, f"Bad key {key} in 'Bearer {key}'.")
    told = ""
    with opened(api_key_env="SOME_KEY", tries=1, max_request_seconds=0.2) as client:
        try:
            told = repr(client.complete([ask_for(1)]))
        except AskError as error:
            told = str(error)
        probed = ""
        try:
            probed = repr(client.probe(ask_for(1)))
        except AskError as error:
            probed = str(error)
    assert "Bad key" in told
    assert "Bad key" in probed
    assert key not in told + probed
    assert not [path for path in tmp_path.iterdir() if key.encode() in path.read_bytes()]


# --- probing, and no server at all --------------------------------------------------------------


def test_a_probe_passes_the_ledger_by(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    with opened() as client:
        client.complete([ask_for(1)])
        chat_server.answer = refuses(500, "down")
        outcome = client.probe(ask_for(1))
    assert isinstance(outcome, Failure)
    assert outcome.reason == "http_500"
    assert len(chat_server.calls) == 2
    assert kept(tmp_path) == 1


def test_a_probe_of_a_wrong_key_raises(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = refuses(401, "Incorrect API key provided.")
    with opened() as client, pytest.raises(EndpointError, match="Incorrect API key"):
        client.probe(ask_for(1))


def test_a_server_that_is_not_there_is_a_connection_failure(opened: Open) -> None:
    with opened(base_url="http://127.0.0.1:9/v1", tries=2) as client:
        (outcome,) = client.complete([ask_for(1)])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "connection"
