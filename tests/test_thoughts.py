"""Reasoning models over a socket: thoughts in the content or beside it, and tokens unseen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Open, ask_for, kept, texts
from fake_server import Behaviour, ChatServer, says

from lion.errors import BudgetError
from lion.llm.caps import Cap
from lion.llm.ledger import Ledger
from lion.llm.prices import Price, Prices

OPENAI = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110,
          "completion_tokens_details": {"reasoning_tokens": 90}}  # fmt: skip
XAI = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 110,
       "completion_tokens_details": {"reasoning_tokens": 90}}  # fmt: skip


def thinks(
    content: Any, usage: Any = None, finish_reason: str = "stop", **beside: str
) -> Behaviour:
    """Answer with a message that has further fields `beside` its content."""
    whole = says("x", finish_reason=finish_reason)
    document = json.loads(whole.body)
    document["choices"][0]["message"] = {"role": "assistant", "content": content, **beside}
    document["usage"] = usage or OPENAI
    return replace(whole, body=json.dumps(document).encode())


SHAPES = {
    # vLLM and SGLang without a reasoning parser, Ollama's raw models, Together, Perplexity
    "marks in the content": thinks("<think>\nHm\n</think>\n\nFour."),
    "a closing mark alone": thinks("Hm\n</think>\n\nFour."),
    # DeepSeek, SGLang, llama.cpp, Moonshot, z.ai, DashScope, vLLM before 0.11
    "reasoning_content": thinks("Four.", reasoning_content="Hm"),
    # OpenRouter, Groq with reasoning_format: parsed, Ollama, vLLM, Cerebras
    "reasoning": thinks("Four.", reasoning="Hm"),
    # Mistral
    "parts": thinks([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                     {"type": "text", "text": "Four."}]),
    # Gemini's OpenAI endpoint with include_thoughts
    "thought": thinks("<thought>Hm</thought>Four."),
}  # fmt: skip
IN_CONTENT = ("marks in the content", "a closing mark alone", "thought")


@pytest.mark.parametrize("shape", SHAPES)
def test_thoughts_are_left_out_and_the_ledger_keeps_the_reply_as_it_came(
    shape: str, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = SHAPES[shape]
    with opened(thinking="strip") as client:
        assert texts(client.complete([ask_for(1)])) == ["Four."]
        assert client.usage.completion_tokens == 100
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (key,) = ledger.stored_keys([client._prepare(ask_for(1)).key])
        assert ledger.look_up([key])[key] == SHAPES[shape].body


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("thinking", ["keep", "refuse"])
def test_thoughts_in_the_content_are_kept_or_refused_from_the_ledger(
    thinking: str, shape: str, chat_server: ChatServer, opened: Open
) -> None:
    """Another `thinking` asks for nothing again: the ledger has the whole reply."""
    chat_server.answer = SHAPES[shape]
    with opened(thinking="strip") as client:
        client.complete([ask_for(1)])
    with opened(thinking=thinking) as client:
        (text,) = texts(client.complete([ask_for(1)]))
    assert len(chat_server.calls) == 1
    if shape not in IN_CONTENT:
        assert text == "Four."
    elif thinking == "refuse":
        assert text == "! thinking"
    else:
        assert "Hm" in text
        assert text.endswith("Four.")


@pytest.mark.parametrize("usage", [OPENAI, XAI], ids=["inside", "beside"])
@pytest.mark.parametrize(
    "reply",
    [thinks("Four."), thinks(None, finish_reason="length"), thinks("<think>Hm", None, "length")],
    ids=["answered", "cap spent unseen", "cap spent in the content"],
)
def test_hidden_tokens_are_priced_whether_or_not_there_is_an_answer(
    reply: Behaviour, usage: Any, chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    document = {**json.loads(reply.body), "usage": usage}
    chat_server.answer = replace(reply, body=json.dumps(document).encode())
    with opened() as client:
        client.prices = Prices({"m-1": Price(input=1.0, output=10.0)})
        answered = texts(client.complete([ask_for(1)])) == ["Four."]
        assert client.usage.nanodollars == 10 * 1000 + 100 * 10_000
    assert answered == (json.loads(reply.body)["choices"][0]["message"]["content"] == "Four.")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens == 110
    assert kept(tmp_path) == 1


def test_hidden_tokens_spend_the_cap(chat_server: ChatServer, opened: Open, tmp_path: Path) -> None:
    chat_server.answer = thinks("Four.", XAI)
    with (
        opened(concurrency=2, request={"max_tokens": 100}, cap=Cap(tokens=1000)) as client,
        pytest.raises(BudgetError),
    ):
        client.complete([ask_for(number) for number in range(40)])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent()[0].tokens == 110 * len(chat_server.calls) <= 1000
