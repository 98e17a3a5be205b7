"""A server's log probabilities: aligned with the answer, or the answer has no score."""

import json
import time
from typing import Any

import pytest
import tiny
from fake_server import Behaviour, ChatServer
from fixtures import Workplace

from lion.certify import confidence
from lion.errors import EndpointError
from lion.inference.respondent import Respondent
from lion.pipeline import stage
from lion.prompting import protocol
from lion.records.rows import Answer, TokenScores

ROW = tiny.instruction("What is 17 plus 25?")


def token(text: str, logprob: Any, *, listed: bool = True) -> dict[str, Any]:
    """Return a token as OpenAI's servers send it, or without its bytes, as some do."""
    raw = list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": raw if listed else None}


def reply(text: str, logprobs: Any, finish_reason: str = "stop") -> Behaviour:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs}
    return Behaviour(body=json.dumps({"model": "m", "choices": [choice]}).encode())


def scores(text: str, content: Any) -> TokenScores | None:
    outcome = protocol.parse(reply(text, {"content": content}).body)
    assert isinstance(outcome, protocol.Reply)
    assert outcome.text == text, "whatever the scores are, the answer is read"
    return outcome.scores


@pytest.mark.parametrize("listed", [True, False])
def test_ends_are_in_characters_of_the_answer_without_outer_white_space(listed: bool) -> None:
    content = [token(part, -0.5, listed=listed) for part in (" ", "für", " 4", "2", "\n")]
    assert scores(" für 42\n", content) == TokenScores((-0.5,) * 5, (0, 3, 5, 6, 6))


def test_the_token_that_ends_the_turn_counts_where_it_is_sent() -> None:
    content = [token("42", -0.25), token("<|im_end|>", -2.0)]
    assert scores("42", content) == TokenScores((-0.25, -2.0), (2, 2))


def test_a_character_of_several_tokens_is_aligned_by_its_bytes() -> None:
    raw = "🦁".encode()
    content = [{"token": "?", "logprob": -1.0, "bytes": list(half)} for half in (raw[:2], raw[2:])]
    assert scores("🦁!", [*content, token("!", 0.0)]) == TokenScores((-1.0, -1.0, 0.0), (1, 1, 2))


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "42",
        [token("42", None)],
        [token("42", "NaN")],
        [token("42", float("inf"))],
        [token("41", -0.1)],
        [token("4", -0.1)],
        [{"token": "42"}],
        [{"logprob": -0.1}],
        [{"token": "42", "logprob": -0.1, "bytes": [300]}],
        [{"token": "42", "logprob": -0.1, "bytes": 10**15}],
        [{"token": "42", "logprob": -0.1, "bytes": {"52": 0, "50": 0}}],
        [token("42", -(10**400))],
        ["42"],
    ],
)
def test_what_is_not_whole_is_no_score(content: Any) -> None:
    assert scores("42", content) is None


def test_a_long_reply_is_aligned_in_proportion_to_its_length() -> None:
    """Before: 20.7 s for 32,000 tokens, in which no other call was served."""
    parts = ["für", " 🦁", "\n"] * 10_000
    started = time.process_time()
    found = scores("".join(parts), [token(part, -0.5, listed=False) for part in parts])
    assert time.process_time() - started < 2
    assert found is not None
    assert found.ends[:3] == (3, 5, 6)
    assert found.ends[-1] == len("".join(parts).strip())


def test_numbers_that_are_no_json_cost_no_reply() -> None:
    """Python's servers write NaN and Infinity; the answer beside them is paid for."""
    body = reply("42", {"content": [token("42", float("-inf"))]}).body
    assert b"-Infinity" in body
    outcome = protocol.parse(body)
    assert isinstance(outcome, protocol.Reply)
    assert (outcome.text, outcome.scores) == ("42", None)
    half = protocol.parse(body[:-3])
    assert isinstance(half, protocol.Failure)
    assert half.reason == "malformed_reply"


def test_thoughts_that_are_taken_away_take_the_scores_with_them() -> None:
    text = "<think>hm</think>42"
    outcome = protocol.parse(reply(text, {"content": [token(text, -0.1)]}).body)
    stripped = protocol.without_thoughts(outcome, "strip")
    assert isinstance(stripped, protocol.Reply)
    assert (stripped.text, stripped.scores) == ("42", None)


def respond(workplace: Workplace, url: str, *, scored: bool) -> Answer:
    endpoint = {"base_url": url, "api_key_env": None, "send_seed": True, "request": {}}
    settings = workplace.params({"student.endpoint": endpoint, "api.tries": 1})
    folder = workplace.path / "student"
    if not folder.exists():
        tiny.folder(folder)
    work = stage.Work("evaluate", "1", settings)
    (answer,) = Respondent(folder, "1", settings, work).respond([ROW], 0, scored=scored)
    return answer


def test_a_served_student_is_scored_by_its_server(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    content = [token("4", -0.123456), token("2", -0.5)]
    chat_server.answer = lambda call: reply(
        "42", {"content": content} if call.body.get("logprobs") else None
    )
    answer = respond(workplace, chat_server.url, scored=True)
    assert answer.tokens == TokenScores((-0.1235, -0.5), (1, 2))
    scorer = workplace.params({}).exam.scorer
    assert confidence.uncertainty(answer, scorer) == pytest.approx(0.6235)
    assert respond(workplace, chat_server.url, scored=False).tokens is None
    assert "logprobs" not in chat_server.calls[-1].body, "only where they are asked for"


def test_an_answer_of_a_server_without_log_probabilities_has_no_uncertainty(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    chat_server.answer = reply("42", None)
    answer = respond(workplace, chat_server.url, scored=True)
    assert confidence.uncertainty(answer, workplace.params({}).exam.scorer) is None


def test_a_server_that_refuses_the_parameter_is_named_with_what_asked_for_it(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    body = json.dumps({"error": {"message": "Unexpected fields: {'logprobs'}"}}).encode()
    chat_server.answer = Behaviour(422, body)
    with pytest.raises(EndpointError, match=r"logprobs.*exam\.certify asks for them"):
        respond(workplace, chat_server.url, scored=True)
