"""Bodies, keys and replies of the chat-completions protocol."""

import json
from typing import Any

import pytest
from fake_server import says
from hypothesis import given
from hypothesis import strategies as st

from lion.config.settings import Endpoint
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Reply, Request, Usage
from lion.records.rows import Message

ASK: Message = {"role": "user", "content": "why?"}


def endpoint(**changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "base_url": "https://example.com/v1",
        "model": "m-1",
        "api_key_env": None,
        "send_seed": True,
        "request": {},
    }
    return Endpoint(**{**values, **changes})


def key(asked: Request, *, random_seed: int = 0, **changes: Any) -> bytes:
    at = endpoint(**changes)
    return protocol.key(at, protocol.canonical(protocol.body(asked, at, random_seed)), asked.sample)


def test_request_parameters_pass_through_as_they_are() -> None:
    extra = {"temperature": 0.7, "reasoning": {"effort": "low"}, "stop": ["\n"], "top_k": None}
    body = protocol.body(Request((ASK,)), endpoint(request=extra), 0)
    assert {name: body[name] for name in extra} == extra
    assert body["model"] == "m-1"
    assert body["messages"] == [ASK]
    assert set(body) == {*extra, "model", "messages", "seed"}


def test_no_seed_is_sent_where_a_server_refuses_it() -> None:
    assert "seed" not in protocol.body(Request((ASK,)), endpoint(send_seed=False), 0)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_the_seed_fits_a_signed_32_bit_integer(random_seed: int, sample: int) -> None:
    assert 0 <= protocol.sample_seed(random_seed, sample) < 2**31


def test_the_seed_follows_from_random_seed_and_sample() -> None:
    seeds = {protocol.sample_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert protocol.sample_seed(3, 4) == protocol.sample_seed(3, 4)


def test_the_seed_is_this_number() -> None:
    """A change would ask every paid question again, for the ledger's keys hold it."""
    assert protocol.sample_seed(0, 0) == 1446583109
    assert protocol.sample_seed(7, 3) == 143530063


def test_a_key_depends_on_what_could_change_the_reply() -> None:
    asked = Request((ASK,))
    keys = [
        key(asked),
        key(Request((ASK,), sample=1)),
        key(Request((ASK, ASK))),
        key(asked, base_url="https://example.org/v1"),
        key(asked, model="m-2"),
        key(asked, request={"temperature": 0.1}),
        key(asked, random_seed=1),
        key(asked, send_seed=False),
        key(Request((ASK,), sample=1), send_seed=False),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_does_not_depend_on_the_order_of_parameters_or_on_the_key() -> None:
    one = key(Request((ASK,)), request={"a": {"x": 1, "y": 2}, "b": 2})
    other = key(Request((ASK,)), request={"b": 2, "a": {"y": 2, "x": 1}}, api_key_env="OTHER")
    assert one == other
    swapped: Message = {"content": "why?", "role": "user"}
    assert key(Request((swapped,))) == key(Request((ASK,)))


def test_a_reply_is_read() -> None:
    raw = says(" Because.\n", usage=(7, 2), model="m-1-2026").body
    assert protocol.parse(raw) == Reply(" Because.\n", "stop", "m-1-2026", Usage(7, 2))


def reply(**changes: Any) -> bytes:
    """Return a reply with changes of its choice."""
    document = json.loads(says("yes").body)
    document["choices"][0] = {**document["choices"][0], **changes}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "malformed_reply"),
        (b"<html>Bad gateway</html>", "malformed_reply"),
        (b"null", "malformed_reply"),
        (b"[]", "malformed_reply"),
        (b"{}", "malformed_reply"),
        (b'{"choices": []}', "malformed_reply"),
        (b'{"choices": null}', "malformed_reply"),
        (b'{"choices": [null]}', "malformed_reply"),
        (b'{"choices": ["text"]}', "malformed_reply"),
        (b'{"choices": {}}', "malformed_reply"),
        (b'{"choices": [{"message": null}]}', "malformed_reply"),
        (b'{"choices": [{"text": "old protocol"}]}', "malformed_reply"),
        (says("yes").body[:-10], "malformed_reply"),
        (reply(message={"content": 3}), "malformed_reply"),
        (reply(message={"content": [{"type": "text", "text": "x"}]}), "malformed_reply"),
        (reply(message={"content": {"a": 1}}), "malformed_reply"),
        (reply(finish_reason=3), "malformed_reply"),
        (reply(finish_reason=["stop"]), "malformed_reply"),
        (reply(message={"content": "\ud800"}), "malformed_reply"),
        (says("").body, "empty_reply"),
        (says(" \n").body, "empty_reply"),
        (says(None).body, "empty_reply"),
        (reply(message={"role": "assistant"}), "empty_reply"),
        (reply(message={"content": None, "tool_calls": []}), "empty_reply"),
        (says(None, finish_reason=None).body, "empty_reply"),
        (says("", finish_reason="length").body, "cap_spent"),
        (says(None, finish_reason="length").body, "cap_spent"),
        (says(None, finish_reason="content_filter").body, "content_filter"),
    ],
)
def test_what_is_no_answer_is_a_failure(raw: bytes, reason: str) -> None:
    outcome = protocol.parse(raw)
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason


@given(st.binary(max_size=60))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert isinstance(protocol.parse(raw), Failure | Reply)
    protocol.usage(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "finish_reason",
                    "usage",
                    "prompt_tokens",
                    "model",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_any_json_is_read(document: Any, choice: Any, message: Any) -> None:
    """Servers that only resemble the protocol end in a counted failure, never in a traceback."""
    for value in (document, {"choices": [choice]}, {"choices": [{"message": message}]}):
        raw = json.dumps(value).encode()
        assert isinstance(protocol.parse(raw), Failure | Reply)
        protocol.usage(raw)


def test_only_the_billed_refusals_are_final() -> None:
    assert protocol.is_final(protocol.parse(says("yes").body))
    final = {
        reason
        for reason in ("cap_spent", "content_filter", "empty_reply", "malformed_reply", "timeout")
        if protocol.is_final(Failure(reason, ""))
    }
    assert final == {"cap_spent", "content_filter"}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 0)),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": "3", "completion_tokens": 1}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_what_the_server_counted_or_nothing(told: Any, usage: Usage | None) -> None:
    raw = json.dumps({**json.loads(says("yes").body), "usage": told}).encode()
    assert protocol.usage(raw) == usage
    parsed = protocol.parse(raw)
    assert isinstance(parsed, Reply)
    assert parsed.usage == usage


def test_a_billed_failure_tells_its_tokens() -> None:
    assert protocol.usage(says(None, finish_reason="length", usage=(9, 512)).body) == Usage(9, 512)
