"""Bodies, keys and replies of the chat-completions protocol."""

import json
from typing import Any

import pytest
from fake_server import says
from hypothesis import given
from hypothesis import strategies as st

from lion.config.settings import Endpoint
from lion.prompting import protocol, replies
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


def test_a_reply_of_the_older_protocol_is_read() -> None:
    """Some servers answer chats with `text`, as completions have it."""
    document = json.loads(says("").body)
    document["choices"][0] = {"index": 0, "text": "Because.", "finish_reason": "length"}
    found = protocol.parse(json.dumps(document).encode())
    assert isinstance(found, Reply)
    assert (found.text, found.ending) == ("Because.", "truncated")
    document["choices"][0]["text"] = ""
    found = protocol.parse(json.dumps(document).encode())
    assert isinstance(found, Failure)
    assert found.reason == "cap_spent"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xef\xbb\xbf" + says("yes").body, "yes"),  # a byte order mark
        (says("yes").body.replace(b'"created": 0', b'"logprobs": [NaN, -Infinity]'), "yes"),
        (says("yes").body.replace(b"yes", b"smile \\ud83d"), "smile \ufffd"),  # cut in an emoji
        (says("yes").body.replace(b"yes", b"\\ud83d\\ude00 \\ude00"), "\U0001f600 \ufffd"),
        (says("yes").body.replace(b'"yes"', b'{"type": "text", "text": "yes"}'), "yes"),
    ],
)
def test_a_whole_reply_in_a_writing_that_json_forbids_is_read(raw: bytes, text: str) -> None:
    """It is billed, and asking again would bring the same; before, it was asked for six times."""
    found = protocol.parse(raw)
    assert isinstance(found, Reply), found
    assert (found.text, found.usage) == (text, Usage(5, 3))
    assert protocol.usage(raw) == Usage(5, 3)


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
        (b'{"choices": [{"text": 3}]}', "malformed_reply"),
        (b'{"choices": [{"delta": {"content": "half"}}]}', "malformed_reply"),
        (b'[{"generated_text": "Yes."}]', "foreign_reply"),  # TGI's own API
        (b'{"candidates": [{"content": {}}]}', "foreign_reply"),  # Gemini's
        (b'{"message": {"role": "assistant", "content": "Yes."}}', "foreign_reply"),  # Ollama's
        (b'{"type": "message", "content": [{"type": "text"}]}', "foreign_reply"),  # Anthropic's
        (b'{"output": [{"type": "message"}]}', "foreign_reply"),  # the Responses API
        (b'"Yes."', "foreign_reply"),
        (b'[{"error": {"code": 503, "message": "busy"}}]', "broken_off"),  # Google's list
        (says("yes").body[:-10], "malformed_reply"),
        (reply(message={"content": 3}), "unreadable_content"),
        (reply(message={"content": {"a": 1}}), "unreadable_content"),
        (reply(message={"content": [{"type": "text", "text": 3}]}), "unreadable_content"),
        (reply(message={"content": [3]}), "unreadable_content"),
        (reply(message={"content": [{"type": "thinking", "thinking": []}]}), "empty_reply"),
        (reply(message={"content": []}), "empty_reply"),
        (reply(finish_reason=3), "unreadable_content"),
        (reply(finish_reason=["stop"]), "unreadable_content"),
        (reply(error={"code": 502, "message": "provider gone"}), "broken_off"),
        (b'{"error": {"message": "upstream is down"}}', "broken_off"),
        (says("half").body[:-1] + b', "error": {"message": "provider gone"}}', "broken_off"),
        (b'{"error": ' * 900 + b"1" + b"}" * 900, "broken_off"),
        (b'{"code": 0, "data": {"choices": []}}', "foreign_reply"),
        (says("").body, "empty_reply"),
        (says(" \n").body, "empty_reply"),
        (says(None).body, "empty_reply"),
        (reply(message={"role": "assistant"}), "empty_reply"),
        (reply(message={"content": None, "tool_calls": []}), "empty_reply"),
        (says(None, finish_reason=None).body, "empty_reply"),
        (says("", finish_reason="length").body, "cap_spent"),
        (says(None, finish_reason="length").body, "cap_spent"),
        (says(None, finish_reason="content_filter").body, "content_filter"),
        (reply(message=None, finish_reason="content_filter"), "content_filter"),
        (reply(message=None, finish_reason="length"), "cap_spent"),
        (reply(message=None), "empty_reply"),
        (reply(message="hi"), "malformed_reply"),
        (b'{"code": 500, "msg": "token expired", "data": null}', "broken_off"),
        (b'{"code": 500, "data": null}', "malformed_reply"),
        (b'{"data": [null]}', "malformed_reply"),
    ],
)
def test_what_is_no_answer_is_a_failure(raw: bytes, reason: str) -> None:
    outcome = protocol.parse(raw)
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason
    assert outcome.detail
    assert '":' not in outcome.detail, "the server's own words, never the body"


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
        ({"prompt_tokens": 3, "completion_tokens": 7}, Usage(3, 7)),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": "three", "completion_tokens": 1}, None),
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


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}], "a b"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
          {"type": "text", "text": "b"}], "b"),  # Mistral's magistral
        ([{"type": "reasoning", "reasoning": "Hm"}, {"type": "output_text", "text": "b"}], "b"),
        ([{"type": "redacted_thinking", "data": "x"}, {"text": "b"}], "b"),
        (["a", {"type": "text", "text": "b"}], "ab"),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "b"}], "b"),
    ],
)  # fmt: skip
def test_content_in_parts_is_joined(content: list[Any], text: str) -> None:
    outcome = protocol.parse(reply(message={"content": content}))
    assert isinstance(outcome, Reply)
    assert outcome.text == text


WHOLE = ("stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE", "FINISHED")
CUT = (
    "length", "MAX_TOKENS", "model_length", "model_context_window_exceeded", "repetition",
    "compaction", "ERROR_LIMIT", "time_limit",
)  # fmt: skip
FILTERED = (
    "content_filter", "SAFETY", "RECITATION", "refusal", "sensitive", "IMAGE_PROHIBITED_CONTENT",
    "guardrail_intervened", "content_filter: PROHIBITED_CONTENT", "content_filter: A_NEW_ONE",
)  # fmt: skip
BROKEN = (
    "error", "abort", "network_error", "insufficient_system_resource", "timeout", "load",
    "FINISH_REASON_UNSPECIFIED", "MALFORMED_RESPONSE", "malformed_model_output", "cancelled",
    "function_call_filter: MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "ending"), [(WHOLE, "whole"), (CUT, "truncated"), (FILTERED, "filtered")]
)
def test_each_word_for_an_end_is_read(words: tuple[str, ...], ending: str) -> None:
    for word in words:
        outcome = protocol.parse(reply(finish_reason=word))
        assert isinstance(outcome, Reply)
        assert (outcome.ending, outcome.finish_reason) == (ending, word)


def test_half_answers_that_the_server_gave_up_are_asked_again() -> None:
    for word in BROKEN:
        outcome = protocol.parse(reply(finish_reason=word))
        assert isinstance(outcome, Failure)
        assert (outcome.reason, protocol.is_final(outcome)) == ("broken_off", False)


@pytest.mark.parametrize(
    ("own", "native", "ending"),
    [
        ("stop", "MAX_TOKENS", "truncated"),
        (None, "SAFETY", "filtered"),
        ("stop", "end_turn", "whole"),
        ("stop", "a new word", "whole"),
        ("length", "stop", "truncated"),
        ("FINISH_REASON_MAX_TOKENS", None, "truncated"),
        ("content-filter", None, "filtered"),
    ],
)
def test_the_word_of_the_provider_behind_a_router_counts(
    own: str | None, native: str | None, ending: str
) -> None:
    outcome = protocol.parse(reply(finish_reason=own, native_finish_reason=native))
    assert isinstance(outcome, Reply)
    assert outcome.ending == ending


ENDS = st.sampled_from(
    [*replies.ENDINGS, "STOP", "FINISH_REASON_SAFETY", "melted", None, "", 3, []]
)
CONTENTS = st.one_of(
    st.none(),
    st.text(max_size=9),
    st.sampled_from(["<think>Hm</think>Four.", "<think>Hm", "Hm\n</think>\nFour.", 3, {"a": 1}]),
    st.lists(
        st.sampled_from(
            [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, "b", 3, None,
             {"type": "text"}, {"type": "image_url", "image_url": {}}, {"text": "c"}]
        ),
        max_size=3,
    ),
)  # fmt: skip
COUNTS = st.sampled_from([None, -1, 0, 3, 3.0, "3", True, 2**70, 1e400, "many", [], {}])
ERRORS = st.sampled_from([None, "text", {"message": "gone"}, {"code": 502}, [], {"a": {"b": []}}])


@given(ENDS, ENDS, CONTENTS, COUNTS, COUNTS, ERRORS, ERRORS)
def test_what_providers_send_is_an_answer_or_a_reason(
    own: Any, native: Any, content: Any, prompt: Any, completion: Any, inner: Any, outer: Any
) -> None:
    """Drawn from a grammar of real shapes: no exception, and no half answer taken for whole."""
    choice = {"message": {"content": content}, "finish_reason": own, "error": inner}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    document = {"choices": [{**choice, "native_finish_reason": native}], "usage": usage}
    raw = json.dumps({**document, "error": outer}).encode()
    for thinking in ("strip", "keep", "refuse"):
        outcome = protocol.without_thoughts(protocol.parse(raw), thinking)
        assert isinstance(outcome, Failure | Reply)
        if isinstance(outcome, Reply) and replies.incomplete(outcome.finish_reason) is None:
            assert not inner
            assert not outer
            assert {replies.ending(str(word)) for word in (own, native) if word} <= {
                "whole", "unknown", "tool_call"
            }  # fmt: skip
            assert outcome.text.strip()
    counts = protocol.usage(raw)
    assert counts is None or 0 < counts.prompt < 2**31


def test_a_word_of_no_table_is_not_taken_for_whole() -> None:
    outcome = protocol.parse(reply(finish_reason="model_melted"))
    assert isinstance(outcome, Reply)
    assert outcome.ending == "unknown"
    unstated = protocol.parse(reply(finish_reason=None))
    assert isinstance(unstated, Reply)
    assert unstated.ending == "unstated"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Hm.\nSo.</think>\n\nFour.", "Four."),
        ("  <thinking>Hm</thinking>Four.", "Four."),
        ("[THINK]Hm[/THINK]Four.", "Four."),
        ("Hm, two and two.\n</think>\n\nFour.", "Four."),  # the template wrote the first mark
        ("<THINK>Hm</THINK>Four.", "Four."),
        ('<think type="short">Hm</think>Four.', "Four."),
        ("<think>Hm</think>\n<think>So</think>Four.", "Four."),
        ("◁think▷Hm◁/think▷Four.", "Four."),
        ("<seed:think>Hm</seed:think>Four.", "Four."),
        (
            "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Four.",
            "Four.",
        ),
        ("Hm, two and two.</think>\n\nFour.", "Four."),  # HyperCLOVA X
        ("<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>", "Four."),
        ("<|inner_prefix|>Hm<|inner_suffix|>Four.", "Four."),  # Apertus
        ("<|channel>thought\nHm<channel|>Four.", "Four."),  # Gemma 4
        ("Here is my thought process: Hm. Here is my response: Four.", "Four."),  # Granite
        ("<think>\nHm\n</think>\n<answer>\nFour.\n</answer>", "Four."),  # Hunyuan
        (
            "<|begin_of_thought|>Hm<|end_of_thought|>\n\n"
            "<|begin_of_solution|>Four.<|end_of_solution|>",
            "Four.",
        ),
        ("analysisTwo and two.assistantfinalFour.", "Four."),  # gpt-oss without its marks
        ("<answer>Four.</answer>", "<answer>Four.</answer>"),  # no thoughts before it
        ("Analysis of the text follows.", "Analysis of the text follows."),
        ("Close it with </think>\nand go on.", "Close it with </think>\nand go on."),
        ("Four.", "Four."),
        ("The tag `</think>` closes thoughts.", "The tag `</think>` closes thoughts."),
        ("Write <think> first.", "Write <think> first."),
        ("  Four.\n", "  Four.\n"),
    ],
)
def test_thoughts_before_an_answer_are_no_part_of_it(text: str, answer: str) -> None:
    outcome = protocol.parse(says(text).body)
    stripped = protocol.without_thoughts(outcome, "strip")
    assert isinstance(stripped, Reply)
    assert stripped.text == answer
    assert protocol.without_thoughts(outcome, "keep") is outcome
    refused = protocol.without_thoughts(outcome, "refuse")
    assert isinstance(refused, Failure) == (text.strip() != answer.strip())


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "cap_spent"), ("stop", "empty_reply")]
)
def test_thoughts_that_never_close_are_no_answer(finish_reason: str, reason: str) -> None:
    outcome = protocol.parse(says("<think>Hm, so", finish_reason=finish_reason).body)
    found = protocol.without_thoughts(outcome, "strip")
    assert isinstance(found, Failure)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "No such model."}}, "No such model."),
        ({"error": "pull it first"}, "pull it first"),
        ({"message": "Unauthorized", "request_id": "x"}, "Unauthorized"),
        ({"Message": "throttled"}, "throttled"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "extra field"}]}, "body.seed: extra field"),
        ({"errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
        ([{"error": {"message": "quota", "status": "RESOURCE_EXHAUSTED"}}], "quota"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "too long"}}},
         "Provider returned error (too long)"),
        ({"object": "error", "message": "max_tokens is too large", "code": 400},
         "max_tokens is too large"),
        ({"code": "permission-denied", "error": "No credits."}, "No credits."),  # xAI
        ({"error": "No credits.", "error_type": "validation"}, "No credits."),  # TGI
        ({"status": 404, "error": "Not Found", "message": "No model m."}, "Not Found: No model m."),
        ({"error": "invalid_client", "error_description": "Unknown."}, "invalid_client: Unknown."),
        ({"type": "about:blank", "title": "Bad Request", "detail": "No seed."}, "No seed."),
        ({"success": False, "errors": [{"code": 4006, "message": "spent"}]}, "spent"),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "empty"}}, "empty"),
        ({"error": {"error": {"message": "Nested.", "code": 402}}}, "Nested."),
        ({"error": '{"error": {"message": "As text."}}'}, "As text."),
        ({"error": {"message": "Provider returned error", "metadata": {"raw":
          '{"error": {"message": "too long", "input": "a secret"}}'}}},
         "Provider returned error (too long)"),
        ({"detail": [{"loc": ["body"], "msg": "Extra inputs", "input": "the whole prompt"}]},
         "body: Extra inputs"),
        # vLLM's, with the request in it
        ({"error": {"message": "1 validation error:\n  {'type': 'extra_forbidden', 'loc': ('body', "
          "'top'), 'msg': 'Extra inputs are not permitted', 'input': 'the whole prompt'} "
          "[{'type': 'extra_forbidden', 'loc': ('body', 'top'), 'msg': "
          "'Extra inputs are not permitted', 'input': 'the whole prompt'}]"}},
         "Extra inputs are not permitted"),
        ({"message": "[redacted] is no model"}, "[redacted] is no model"),
        ("gone", "gone"),
        ({}, None),
        ({"error": None}, None),
        (3, None),
    ],
)  # fmt: skip
def test_a_servers_words_are_read_from_any_shape(body: Any, words: str | None) -> None:
    assert replies.words_of(body) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error": {"message": "No."}}', "No."),
        ('\ufeff{"message": "No."}', "No."),
        ('{"error": {"message": "Too lo', "Too lo"),  # cut off
        ('{"model": "m", "messages": [{"con', None),  # a body is no word
        ("upstream connect error", "upstream connect error"),
        ("<html><head><title>502 Bad\nGateway</title></head><body>x</body>", "502 Bad Gateway"),
        ("<!DOCTYPE html><h1>Not &amp; found</h1><p>x</p>", "Not & found"),
        ("<html><script>var a</script><p>Sorry.</p></html>", "Sorry."),
        ('data: {"error": {"message": "No."}}\n\ndata: [DONE]\n', "No."),
        ("", None),
        (" \n", None),
        ("{}", None),
    ],
)
def test_a_servers_words_are_read_from_any_body(text: str, words: str | None) -> None:
    assert replies.words_of_body(text) == words


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (
            b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n',
            "unreadable_content",
            "a stream of events",
        ),
        (b'data: {"error": {"message": "gone"}}\n\n', "broken_off", "gone"),
        (
            b'{"choices": null, "base_resp": {"status_code": 1008, "status_msg": "no money"}}',
            "broken_off",
            "no money",
        ),
    ],
)
def test_what_is_no_completion_is_told_in_the_servers_words(
    raw: bytes, reason: str, detail: str
) -> None:
    outcome = protocol.parse(raw)
    assert isinstance(outcome, Failure)
    assert outcome.reason == reason
    assert detail in outcome.detail


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3.0, "completion_tokens": "2"}, Usage(3, 2)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 0}, None),  # beside a text
        ({"prompt_tokens": 0, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3, "completion_tokens": 2**63}, None),
        ({"prompt_tokens": 1e300, "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": 2}, None),
        ({"prompt_tokens": [], "completion_tokens": 2}, None),
    ],
)
def test_a_count_that_cannot_be_believed_is_none(usage: Any, expected: Usage | None) -> None:
    document = {**json.loads(says("yes").body), "usage": usage}
    assert protocol.usage(json.dumps(document).encode()) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # OpenAI: thoughts are part of what was written
        ({"prompt_tokens": 9, "completion_tokens": 400, "total_tokens": 409,
          "completion_tokens_details": {"reasoning_tokens": 384}}, Usage(9, 400, 0, 384)),
        # xAI: they are not (vercel/ai#12425)
        ({"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399,
          "completion_tokens_details": {"reasoning_tokens": 386}}, Usage(12, 387, 0, 386)),
        # Gemini, as its OpenAI endpoint answered (mozilla-ai/any-llm#1290)
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
         Usage(20, 603, 0, 0)),
        # a gateway before Gemini that wrote nothing but thoughts (router-for-me/CLIProxyAPI#5733)
        ({"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81,
          "completion_tokens_details": {"reasoning_tokens": 60}}, Usage(21, 60, 0, 60)),
        # without a total, where there are more thoughts than text
        ({"prompt_tokens": 9, "completion_tokens": 2,
          "completion_tokens_details": {"reasoning_tokens": 317}}, Usage(9, 319, 0, 317)),
        # DeepSeek
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
          "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4}, Usage(20, 9, 16, 0)),
        # SGLang
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "reasoning_tokens": 5},
         Usage(20, 9, 0, 5)),
        # Moonshot
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "cached_tokens": 8},
         Usage(20, 9, 8, 0)),
        # Ollama's server of its own numbers, and totals that cannot be
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 0}, Usage(20, 9)),
        ({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": "many"}, Usage(20, 9)),
    ],
)  # fmt: skip
def test_hidden_tokens_are_counted_once(counts: dict[str, Any], expected: Usage) -> None:
    raw = json.dumps({**json.loads(says(None, finish_reason="length").body), "usage": counts})
    assert protocol.usage(raw.encode()) == expected
