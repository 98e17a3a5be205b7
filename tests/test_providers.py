"""Providers as they are: troubles of account, row and server, over a real socket."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Open, ask_for, kept, texts
from fake_server import Behaviour, Call, ChatServer, refuses, says

from lion.errors import BudgetError, EndpointError, TooManyDroppedError
from lion.llm import stall_report
from lion.llm.caps import Cap
from lion.llm.concurrency import ConcurrencyLimiter
from lion.llm.ledger import Ledger
from lion.llm.request_set import DropLimit
from lion.prompting.protocol import Failure


def answers(status: int, document: Any) -> Behaviour:
    return Behaviour(status, json.dumps(document).encode(), billed=False)


ACCOUNT = {
    "OpenAI": refuses(429, "You exceeded your current quota.", code="insufficient_quota"),
    "OpenAI, hard limit": refuses(400, "Billing hard limit has been reached."),
    "Anthropic": answers(
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message":
         "Your credit balance is too low to access the Anthropic API."}},
    ),
    "DeepSeek": answers(402, {"error": {"message": "Insufficient Balance", "code": None}}),
    "OpenRouter": answers(402, {"error": {"message": "Insufficient credits", "code": 402}}),
    "OpenRouter, a day": refuses(429, "Rate limit exceeded: free-models-per-day"),
    "Groq, a day": refuses(429, "Rate limit reached for model `m` on tokens per day (TPD)"),
    "Gemini, a day": answers(
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
          "You exceeded your current quota.", "details": [
              {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}}],
    ),
    "z.ai": answers(429, {"error": {"code": "1113", "message": "recharge, please"}}),
    "DashScope": answers(400, {"code": "Arrearage", "message": "Access denied."}),
    "one-api": answers(403, {"error": {"code": "insufficient_user_quota", "message": "no"}}),
    "Moonshot": answers(429, {"error": {"type": "exceeded_current_quota_error", "message": "x"}}),
    "OpenAI, a project's limit": answers(
        429, {"error": {"type": "insufficient_quota", "code": "project_spend_limit_exceeded"}}
    ),
    "Perplexity": refuses(401, "You exceeded your current quota.", code="insufficient_quota"),
    "Anthropic, a limit of one's own": answers(
        400,
        {"error": {"type": "invalid_request_error", "message":
         "You have reached your specified workspace API usage limits."}},
    ),
    "Anthropic, the tier's limit": answers(
        429,
        {"error": {"type": "rate_limit_error", "message": "You have reached your API usage "
         "limits: your organization has crossed its monthly API usage threshold."}},
    ),
    "xAI": answers(
        403,
        {"code": "permission-denied", "error": "Your team t has either used all available "
         "credits or reached its monthly spending limit."},
    ),
    "xAI, a new team": answers(
        403,
        {"code": "permission-denied", "error":
         "Your newly created team doesn't have any credits or licenses yet."},
    ),
    "Gemini, prepaid": answers(
        429,
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
                   "message": "Your prepayment credits are depleted."}},
    ),
    "Groq, the account's limit": answers(
        400, {"error": {"code": "blocked_api_access", "message": "Spend limit."}}
    ),
    "Together": answers(402, {"error": {"message": "monthly limit", "type": "credit_limit"}}),
    "Fireworks": answers(
        412,
        {"error": {"message": "Account a is suspended, possibly due to reaching the monthly "
                   "spending limit or failure to pay past invoices."}},
    ),
    "OpenRouter, the key's limit": answers(
        403, {"error": {"code": 403, "message": "Key limit exceeded (monthly limit)."}}
    ),
    "MiniMax": answers(
        500, {"error": {"type": "api_error", "message": "insufficient balance (1008)"}}
    ),
    "SiliconFlow": answers(
        403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}
    ),
    "Novita": answers(403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE",
                            "message": "not enough balance"}),
    "DashScope, free": answers(
        403,
        {"error": {"code": "AllocationQuota.FreeTierOnly",
                   "message": "The free tier of the model has been exhausted."}},
    ),
    "Volcengine": answers(
        403,
        {"error": {"code": "AccountOverdueError", "message":
         "The request failed because your account has an overdue balance."}},
    ),
    "z.ai, a plan": answers(429, {"error": {"code": "1310", "message": "Weekly limit."}}),
    "Cohere, a month": answers(
        429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}
    ),
    "GitHub Models": answers(
        429,
        {"error": {"code": "RateLimitReached", "message":
         "Rate limit of 50 per 86400s exceeded for UserByModelByDay."}},
    ),
    "Cloudflare": answers(
        429,
        {"success": False, "errors": [{"code": 4006, "message":
         "you have used up your daily free allocation of 10,000 neurons"}]},
    ),
    "Hugging Face": answers(402, {"error": "You have exceeded your monthly included credits"}),
    "LiteLLM": answers(
        400,
        {"error": {"type": "budget_exceeded", "code": "400", "message":
         "Budget has been exceeded! Current cost: 2.1, Max budget: 2.0"}},
    ),
    "xAI, flat": answers(403, {"error": "no", "code": "billing_insufficient_balance"}),
    "Anthropic, by its code": answers(
        429,
        {"error": {"type": "rate_limit_error", "message": "Paused.",
                   "details": {"error_code": "enforced_spend_limit_reached"}}},
    ),
    "Cerebras, a day": answers(
        429,
        {"message": "Tokens per day limit exceeded - too many tokens processed.",
         "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"},
    ),
    "a gateway's day": answers(429, {"detail": "You have exceeded your daily token quota"}),
    "Vertex, a day": answers(
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
          "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_day_per_"
          "project_per_base_model with base model: g."}}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("provider", ACCOUNT)
def test_an_account_that_cannot_pay_stops_the_run_and_drops_no_row(
    provider: str, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = lambda call: says("x") if call.number <= 6 else ACCOUNT[provider]
    with opened(concurrency=1) as client, pytest.raises(EndpointError, match="Top up the account"):
        client.complete([ask_for(number) for number in range(10)], DropLimit(9))
    assert (len(chat_server.calls), kept(tmp_path)) == (7, 6)


IN_A_REPLY = {
    "OpenRouter": answers(200, {"error": {"code": 402, "message": "Payment"}}),
    "MiniMax": answers(
        200,
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
    ),
}


@pytest.mark.parametrize("provider", IN_A_REPLY)
def test_an_account_that_cannot_pay_may_say_so_in_a_reply(
    provider: str, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Before: two rows of a hundred were dropped, and the stage succeeded."""
    chat_server.answer = lambda call: says("x") if call.number <= 6 else IN_A_REPLY[provider]
    with opened(concurrency=1) as client, pytest.raises(EndpointError, match="Top up the account"):
        client.complete([ask_for(number) for number in range(10)], DropLimit(9))
    assert (len(chat_server.calls), kept(tmp_path)) == (7, 6)


PATIENCE = {
    "OpenAI": refuses(429, "Rate limit reached for requests per minute (RPM): limit 3"),
    "Gemini": answers(
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
          "You exceeded your current quota.", "details": [
              {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}}],
    ),
    "Anthropic": answers(529, {"type": "error", "error": {"type": "overloaded_error"}}),
    "Azure": answers(
        429,
        {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation "
         "under Azure OpenAI API version 2024-10-21 have exceeded call rate limit of your current "
         "OpenAI S0 pricing tier."}},
    ),
    "DashScope": answers(
        429,
        {"error": {"code": "insufficient_quota", "type": "insufficient_quota",
                   "message": "Allocated quota exceeded, please increase your quota limit."}},
    ),
    "Vertex": answers(
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
          "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_"
          "project_per_base_model with base model: g."}}],
    ),
    "Mistral": answers(
        429, {"object": "error", "message": "Service tier capacity exceeded for this model.",
              "type": "invalid_request_error", "code": None}
    ),
    "Cohere": answers(
        429, {"message": "You are using a Trial key, which is limited to 40 API calls / minute."}
    ),
    "Moonshot": answers(
        429, {"error": {"type": "rate_limit_reached_error", "message": "max RPM: 3"}}
    ),
    "Together": answers(
        429, {"error": {"type": "credit_limit", "message":
         "Request was rejected due to request rate limiting. Your rate limits are 600 RPM"}}
    ),
    "Cerebras": answers(
        429, {"message": "Tokens per minute limit exceeded - too many tokens processed.",
              "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"}
    ),
    "a peak of the day": refuses(429, "Daily peak capacity reached, retry in 1 s"),
    "traffic of the day": refuses(429, "daily traffic is limited just now"),
    "a quota that is named beside the limit": refuses(
        429, "60 requests per minute. Your monthly quota is not affected"
    ),
    "Groq, flex": answers(498, {"error": {"message": "Flex tier capacity exceeded"}}),
    "TGI": answers(424, {"error": "Request failed during generation", "error_type": "generation"}),
    "Azure, in milliseconds": refuses(
        429, "slow down", headers={"retry-after-ms": "20", "Retry-After": "3"}
    ),
    "plain": refuses(429, "Too many requests"),
}  # fmt: skip


@pytest.mark.parametrize("provider", PATIENCE)
def test_a_limit_that_passes_is_waited_for(
    provider: str, chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: PATIENCE[provider] if call.number == 2 else says("x")
    with opened(concurrency=1) as client:
        assert texts(client.complete([ask_for(number) for number in range(3)])) == ["x"] * 3


@pytest.mark.parametrize("wish", ["inf", "1e400", "-inf", "nan", "Wed, 99 Foo"])
def test_a_wish_that_is_no_time_blocks_nobody(
    chat_server: ChatServer, opened: Open, wish: str
) -> None:
    """After three 429s in a row every call waits for what the server asks; `inf` is no time."""
    chat_server.answer = lambda call: (
        refuses(429, headers={"Retry-After": wish}) if call.number <= 12 else says("x")
    )
    with opened() as client:
        assert texts(client.complete([ask_for(number) for number in range(20)])) == ["x"] * 20


@pytest.mark.parametrize("status", [429, 503])
def test_a_wish_of_days_stops_the_run_and_drops_no_row(
    chat_server: ChatServer, opened: Open, tmp_path: Path, status: int
) -> None:
    """Azure: 114 hours (openai/openai-dotnet#404); a server in maintenance."""
    refusal = refuses(status, "busy", headers={"Retry-After": "411000"})
    chat_server.answer = lambda call: says("x") if call.number <= 3 else refusal
    with opened(concurrency=1) as client, pytest.raises(EndpointError) as caught:
        client.complete([ask_for(number) for number in range(20)])
    assert "asks to wait for 114 h 10 min" in str(caught.value)
    assert kept(tmp_path) == 3
    assert len(chat_server.calls) <= 3 + 3


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms"])
@pytest.mark.parametrize("wish", ["1e308", "1" + "0" * 200, "99999999999999"])
def test_a_wish_of_ages_has_no_number_of_hours(
    chat_server: ChatServer, opened: Open, name: str, wish: str
) -> None:
    chat_server.answer = refuses(429, "busy", headers={name: wish})
    with opened(concurrency=1) as client, pytest.raises(EndpointError) as caught:
        client.complete([ask_for(1)])
    assert "asks to wait for more than a year, longer" in str(caught.value)


ODD = {
    "prompt_cut": ("word " * 4000, says("x", usage=(700, 9)), "OLLAMA_CONTEXT_LENGTH"),
    "at_cap": ("short", says("half of an", usage=(20, 50)), "exactly as many tokens"),
}


@pytest.mark.parametrize("oddity", ODD)
def test_what_a_server_may_have_cut_is_told_by_its_counts(
    chat_server: ChatServer, opened: Open, capsys: pytest.CaptureFixture[str], oddity: str
) -> None:
    """Ollama cuts prompts without a word, gateways before it say `stop` for answers at the cap."""
    text, odd, words = ODD[oddity]
    chat_server.answer = lambda call: odd if call.number % 2 else says("x", usage=(5000, 9))
    with opened(request={"max_tokens": 50}, concurrency=1) as client:
        client.complete([ask_for(f"{text} {number}") for number in range(6)])
    assert "3 odd replies" in (told := capsys.readouterr().err)
    assert words in told
    chat_server.answer = says("x", usage=(5000, 9))
    with opened(request={"max_tokens": 50}) as client:
        client.complete([ask_for(f"{text} {number}") for number in range(6, 9)])
    assert capsys.readouterr().err == ""


ROW = {
    "a prompt that is repeated": answers(
        403,
        {
            "error": {
                "code": 403,
                "message": "flagged",
                "metadata": {"flagged_input": "How many per day? My credit balance is too low"},
            }
        },
    ),
    "OpenRouter": answers(
        403, {"error": {"code": 403, "message": "the input was flagged by moderation"}}
    ),
    "Azure": refuses(400, "The response was filtered by the content management policy."),
    "a gateway": refuses(403, "Forbidden by rule 7"),
    "not found": refuses(404, "Not Found"),
    "Together": answers(
        403, {"error": {"message": "Input token count + max_tokens must be less than 8193"}}
    ),
    "vLLM": answers(
        400, {"object": "error", "message": "maximum context length is 4096", "code": 400}
    ),
    "z.ai": answers(400, {"error": {"code": "1301", "message": "unsafe or sensitive content"}}),
    "DashScope": answers(
        400, {"error": {"code": "data_inspection_failed", "message": "inappropriate content"}}
    ),
}


@pytest.mark.parametrize("provider", ROW)
def test_what_is_refused_among_answers_is_that_rows_failure(
    provider: str, chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: ROW[provider] if call.question == "q2" else says("x")
    with opened(concurrency=1) as client:
        found = client.complete([ask_for(number) for number in range(6)])
    failures = [place for place, one in enumerate(found) if isinstance(one, Failure)]
    assert failures == [2]
    assert len(chat_server.calls) == 6, "what trying again cannot change is not tried again"


@pytest.mark.parametrize("status", [403, 404])
def test_a_row_whose_denial_arrived_first_does_not_stop_every_run(
    status: int, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """A gateway denies at once, replies take their time: others were answered after the denial."""
    chat_server.answer = lambda call: (
        refuses(status, "denied") if call.question == "q2" else says("x", delay=0.2)
    )
    requests = [ask_for(number) for number in range(6)]
    with opened(concurrency=6) as client, pytest.raises(EndpointError, match="denied"):
        client.complete(requests)
    assert kept(tmp_path) == 5
    with opened(concurrency=6) as client:
        found = client.complete(requests)
    assert [isinstance(outcome, Failure) for outcome in found].index(True) == 2
    assert len(chat_server.calls) == 6 + 1 + 1, "one that was answered is asked again"


def test_a_row_that_was_denied_among_replies_does_not_stop_the_next_run(
    chat_server: ChatServer, opened: Open
) -> None:
    """It is the only one that the ledger lacks."""
    chat_server.answer = lambda call: refuses(403, "denied") if call.question == "q5" else says("x")
    requests = [ask_for(number) for number in range(6)]
    for _ in range(2):
        with opened(concurrency=1) as client:
            found = client.complete(requests)
        assert [isinstance(outcome, Failure) for outcome in found].index(True) == 5


def test_a_row_that_is_denied_beside_imported_replies_is_dropped(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Before: no call of ours brought these replies, and every run stopped with one sentence."""
    requests = [ask_for(number) for number in range(6)]
    chat_server.answer = lambda call: refuses(403, "denied") if call.question == "q1" else says("x")
    with opened(concurrency=1) as client:
        client.complete([requests[0], *requests[2:]])
    with Ledger(tmp_path / "ledger.sqlite") as ledger, ledger.transaction() as connection:
        connection.execute("DELETE FROM calls")
    with opened(concurrency=1) as client:
        found = client.complete(requests)
    assert texts(found) == ["x", "! http_403", *["x"] * 4]


def test_a_key_that_is_revoked_meanwhile_stops_the_run(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: says("x") if call.number == 1 else refuses(403, "Forbidden")
    with (
        opened(concurrency=1) as client,
        pytest.raises(EndpointError, match=r"Forbidden\. Look at the key"),
    ):
        client.complete([ask_for(number) for number in range(40)])
    assert len(chat_server.calls) == 1 + 8 + 1, "the last is the one that was answered before"


def test_content_that_is_no_text_is_asked_for_once(chat_server: ChatServer, opened: Open) -> None:
    document = json.loads(says("x").body)
    document["choices"][0]["message"]["content"] = {"a": 1}
    chat_server.answer = Behaviour(body=json.dumps(document).encode())
    with opened() as client:
        (found,) = client.complete([ask_for(1)])
    assert isinstance(found, Failure)
    assert found.reason == "unreadable_content"
    assert len(chat_server.calls) == 1


WITHOUT_MESSAGE = {
    "null, filtered": ({"message": None, "finish_reason": "content_filter"}, "content_filter", 1),
    "null": (None, "malformed_reply", 3),
    "text": ({"message": "hi", "finish_reason": "stop"}, "malformed_reply", 3),
}


@pytest.mark.parametrize("shape", WITHOUT_MESSAGE)
def test_a_paid_reply_without_a_message_is_recorded_and_no_traceback(
    shape: str, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Before: an AttributeError, and the call was paid for at every run."""
    choice, reason, calls = WITHOUT_MESSAGE[shape]
    document = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    chat_server.answer = Behaviour(body=json.dumps(document).encode())
    with opened() as client:
        assert texts(client.complete([ask_for(1)])) == [f"! {reason}"]
    assert len(chat_server.calls) == calls
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens == 5 * calls


FOREIGN = Behaviour(body=b'[{"generated_text": "Yes."}]')


def test_an_answer_of_another_protocol_stops_the_run_after_the_first_few(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """Trying again cannot change it; base_url is wrong, and nothing is kept under its name."""
    chat_server.answer = FOREIGN
    with opened(concurrency=4) as client, pytest.raises(EndpointError) as caught:
        client.complete([ask_for(number) for number in range(100)])
    assert "no answer of /chat/completions, but a JSON list. Look at base_url" in str(caught.value)
    assert len(chat_server.calls) <= 8 + 4
    assert kept(tmp_path) == 0


def test_an_answer_of_another_protocol_among_others_is_asked_for_once(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: FOREIGN if call.question == "q3" else says("x")
    with opened() as client:
        found = client.complete([ask_for(number) for number in range(10)])
    assert texts(found) == ["x"] * 3 + ["! foreign_reply"] + ["x"] * 6
    assert len(chat_server.calls) == 10


COUNTS: dict[str, object] = {
    "none": None,
    "negative": {"prompt_tokens": -1, "completion_tokens": -9},
    "zero": {"prompt_tokens": 0, "completion_tokens": 0},
    "above 2^63": {"prompt_tokens": 2**70, "completion_tokens": 3},
    "absurd": {"prompt_tokens": 2**30, "completion_tokens": 3},
    "text": {"prompt_tokens": "many", "completion_tokens": "few"},
}


@pytest.mark.parametrize("counts", COUNTS)
def test_the_cap_holds_whatever_a_server_counts(
    counts: str, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    document = {**json.loads(says("Yes.").body), "usage": COUNTS[counts]}
    chat_server.answer = Behaviour(body=json.dumps(document).encode())
    cap = Cap(tokens=1000)
    with (
        opened(concurrency=4, request={"max_tokens": 50}, cap=cap) as client,
        pytest.raises(BudgetError),
    ):
        client.complete([ask_for(number) for number in range(100)])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        spent, reserved = ledger.spent()
    assert 0 < spent.tokens <= 1000
    assert reserved.calls == 0
    assert kept(tmp_path) == len(chat_server.calls) < 10


def test_headers_and_query_go_with_each_call_and_stay_out_of_the_ledger(
    chat_server: ChatServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", "azure-secret-1")
    chat_server.answer = lambda call: says(f"{len(call.headers['api-key'])} letters")
    with opened(headers={"api-key": "AZURE_KEY"}, query={"api-version": "2024-10-21"}) as client:
        assert texts(client.complete([ask_for(1)])) == ["14 letters"]
    assert [call.query for call in chat_server.calls] == ["api-version=2024-10-21"]
    assert b"azure-secret-1" not in (tmp_path / "ledger.sqlite").read_bytes()
    monkeypatch.delenv("AZURE_KEY")
    with (
        opened(headers={"api-key": "AZURE_KEY"}) as client,
        pytest.raises(EndpointError, match="environment variable AZURE_KEY"),
    ):
        client.complete([ask_for(2)])


def test_a_header_that_a_server_repeats_is_blotted_out(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", "azure-secret-1")
    chat_server.answer = refuses(401, "the key azure-secret-1 is wrong")
    with (
        opened(headers={"api-key": "AZURE_KEY"}) as client,
        pytest.raises(EndpointError, match=r"the key \(the key\) is wrong"),
    ):
        client.complete([ask_for(1)])


# --- slow servers ------------------------------------------------------------------------------


def test_a_server_that_answers_few_calls_at_once_is_asked_fewer(
    chat_server: ChatServer, opened: Open
) -> None:
    """Sixteen at once time out, two do not."""
    busy = 0.0

    def slowly(call: Call) -> Behaviour:
        nonlocal busy
        busy = max(busy, call.at) + 0.1  # one call after the other
        return says(call.question, delay=busy - call.at)

    chat_server.answer = slowly
    with opened(concurrency=16, timeout=0.8, tries=8) as client:
        found = client.complete([ask_for(number) for number in range(24)])
    assert texts(found) == [f"q{number}" for number in range(24)]


def test_a_server_that_answers_no_call_in_time_stops_the_run(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = says("x", delay=30)
    with (
        opened(concurrency=16, timeout=0.2, tries=50) as client,
        pytest.raises(EndpointError, match=r"Raise api\.timeout"),
    ):
        client.complete([ask_for(number) for number in range(40)])
    assert len(chat_server.calls) < 40


def test_rows_dropped_for_time_outs_name_the_limit_to_raise(
    chat_server: ChatServer, opened: Open
) -> None:
    chat_server.answer = lambda call: says("x", delay=30 if call.question in ("q1", "q3") else 0)
    with (
        opened(concurrency=4, timeout=0.2, tries=1) as client,
        pytest.raises(TooManyDroppedError, match=r"timeout 2.*raise `api\.timeout`"),
    ):
        client.complete([ask_for(number) for number in range(8)], DropLimit(1))


def test_slots_are_fewer_after_time_outs_and_more_after_replies() -> None:
    clock = iter(range(100))
    slots = ConcurrencyLimiter(64, _clock=lambda: float(next(clock)))
    slots.record_timeout(started=-1.0)
    assert slots.limit == 8, "none succeeded"
    slots.record_timeout(started=-1.0)
    assert slots.limit == 8, "that call began before the cut"
    for _ in range(8):
        slots.record_success()
    assert slots.limit == 9
    slots.record_success()
    slots.record_timeout(started=50.0)
    assert slots.limit == 4


def test_who_waits_for_a_slot_is_woken_in_order() -> None:
    async def run() -> list[int]:
        slots, order = ConcurrencyLimiter(1), []

        async def work(number: int) -> None:
            await slots.acquire()
            order.append(number)
            await asyncio.sleep(0)
            slots.release()

        await asyncio.gather(*(work(number) for number in range(5)))
        return order

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]


def test_a_person_who_waits_is_told_why(
    chat_server: ChatServer,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stall_report, "STALL_SECONDS", 0.6)
    slow = replace(says("x"), delay=3)
    chat_server.answer = lambda call: slow if call.number <= 2 else says("x")
    with opened(concurrency=2, timeout=1.0) as client:
        client.complete([ask_for(number) for number in range(2)])
    told = capsys.readouterr().err
    assert "no reply for" in told
    assert "calls in flight" in told
