"""What a reply says: how it ended, the text of its content, and the thoughts before its answer.

Tables of what providers and servers send, each word with where it was seen. Pure.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

Ending = Literal["whole", "truncated", "filtered", "broken_off", "tool_call", "unstated", "unknown"]
"""How a reply ended. `unstated`: the server gives no word. `unknown`: a word of no table."""

_WORDS: Mapping[Ending, tuple[str, ...]] = {
    "whole": (
        "stop",  # OpenAI, and most others; Gemini's STOP
        "eos",  # Together
        "eos_token",  # Hugging Face TGI, docs: FinishReason
        "stop_sequence",  # TGI; Anthropic's stop_reason
        "stop_str",  # SGLang's matched stop
        "end_turn",  # Anthropic's stop_reason
        "complete",  # Cohere v2
        "completed",  # OpenAI's Responses API, status
    ),
    "truncated": (
        "length",  # OpenAI, Ollama's done_reason, llama.cpp, vLLM
        "max_tokens",  # Anthropic; Gemini's and Cohere's MAX_TOKENS
        "max_output_tokens",  # OpenAI's Responses API, incomplete_details.reason
        "model_length",  # Mistral: the context is full
        "model_context_window_exceeded",  # Anthropic: the context is full
        "max_context_length",  # OpenRouter's native reasons
        "error_limit",  # Cohere v1
        "limit",  # llama.cpp's stop_type
    ),
    "filtered": (
        "content_filter",  # OpenAI, Azure
        "content_filtered",  # Bedrock Converse
        "guardrail_intervened",  # Bedrock Converse
        "refusal",  # Anthropic's stop_reason
        "sensitive",  # z.ai
        "safety",  # Gemini, by the names of its enumeration; also the next six
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "language",
        "image_safety",
        "error_toxic",  # Cohere v1
    ),
    "broken_off": (
        "error",  # Mistral, OpenRouter, Cohere v2
        "abort",  # vLLM, SGLang
        "network_error",  # z.ai
        "insufficient_system_resource",  # DeepSeek
        "timeout",  # Cohere v2, proxies
        "cancelled",  # proxies; Gemini's batch states
        "load",  # Ollama: the model was being loaded, nothing was written
        "unload",  # Ollama
        "pause_turn",  # Anthropic: a long turn that the server paused
        "other",  # Gemini
        "malformed_function_call",  # Gemini
        "unspecified",  # Gemini
        "user_cancel",  # Cohere v1
    ),
    "tool_call": (
        "tool_calls",  # OpenAI
        "function_call",  # OpenAI, before tools
        "tool_use",  # Anthropic, Bedrock
        "tool_call",  # Cohere v2
    ),
}
ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {word: ending for ending, words in _WORDS.items() for word in words}
)
"""The ending that a `finish_reason` stands for, in lower case."""

UNSTATED = "unknown"
"""The `finish_reason` of a reply that gives none."""


def ending(finish_reason: str) -> Ending:
    """Return how a reply with this `finish_reason` ended.

    Vertex AI writes the words of its enumeration with the prefix FINISH_REASON_.
    """
    if finish_reason == UNSTATED:
        return "unstated"
    word = finish_reason.strip().lower().replace("-", "_")
    return ENDINGS.get(word.removeprefix("finish_reason_"), "unknown")


# Parts of content that are text of the answer: OpenAI and Mistral `text`, OpenAI's Responses
# `output_text`. Thoughts (Mistral `thinking`, Anthropic `thinking`, `redacted_thinking`,
# `reasoning`) and images are no part of it.
_TEXT_PARTS = ("text", "output_text")


def content_text(content: object) -> str | None:
    """Return the text of a message's content, None where it is no content that can be read.

    A text as it is; null is empty; of a list the parts that are text, joined.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [_part_text(part) for part in content]
    return None if None in texts else "".join(filter(None, texts))


def _part_text(part: object) -> str | None:
    """Return the text of a part of content, None where it is no part that can be read."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    if part.get("type", "text") not in _TEXT_PARTS:
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else None


_MARKS = tuple(
    (re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in (
        (r"<think\b[^>]*>", r"</think>"),  # DeepSeek R1, Qwen3, and those trained after them
        (r"<thinking\b[^>]*>", r"</thinking>"),
        (r"<thought>", r"</thought>"),  # Gemini's OpenAI endpoint
        (r"<reasoning>", r"</reasoning>"),
        (r"<seed:think>", r"</seed:think>"),  # Seed-OSS
        (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
        (r"◁think▷", r"◁/think▷"),  # Kimi-VL
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
        # gpt-oss where the server does not read its channels
        (r"(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>",
         r"(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>"),
    )
)  # fmt: skip


def split_thoughts(text: str) -> tuple[str, str]:
    """Return (thoughts, answer) of a text; without thoughts the text is the answer as it is.

    Thoughts stand before the answer, between marks. Templates that write the first mark into the
    prompt leave only the closing one (DeepSeek R1). Thoughts that never close are all of the text.
    """
    for start, end in _MARKS:
        opening = start.match(text, len(text) - len(text.lstrip()))
        if opening is not None:
            closing = end.search(text, opening.end())
            if closing is None:
                return text, ""
            # some models think again before they answer
            again, answer = split_thoughts(text[closing.end() :])
            return text[: closing.end()] + again, answer.lstrip()
        alone = re.search(rf"^{end.pattern}[ \t]*$", text, re.MULTILINE | re.IGNORECASE)
        if alone is not None and start.search(text, 0, alone.start()) is None:
            return text[: alone.end()], text[alone.end() :].lstrip()
    return "", text


def incomplete(finish_reason: str) -> str | None:
    """Return why a text with this `finish_reason` is no whole answer, or None where it is one."""
    return _INCOMPLETE.get(ending(finish_reason))


_INCOMPLETE: Mapping[Ending, str] = {
    "truncated": "truncated",
    "filtered": "content_filter",
    "unknown": "unknown_finish_reason",
}


def words_of(document: object, depth: int = 5) -> str | None:
    """Return a server's own words in an error's body, whatever its shape; None where it has none.

    {"error": {"message"}} (OpenAI), {"error": "text"} (Ollama, TGI), {"message"} (Mistral, Cohere),
    {"Message"} (AWS), {"detail"} as text or as a list of {"msg", "loc"} (FastAPI, vLLM),
    {"errors": [...]}, [{"error": ...}] (Gemini). No deeper than `depth`.
    """
    if depth == 0:
        return None
    if isinstance(document, str):
        return document.strip() or None
    if isinstance(document, list):
        texts = [words_of(part, depth - 1) for part in document[:3]]
        return "; ".join(filter(None, texts)) or None
    if not isinstance(document, dict):
        return None
    for key in ("error", "message", "Message", "msg", "detail", "errors", "error_msg", "title"):
        text = words_of(document.get(key), depth - 1)
        if text is None:
            continue
        where = document.get("loc")
        named = ".".join(map(str, where)) if key == "msg" and isinstance(where, list) else ""
        raw = _upstream(document) if key == "message" else None
        return " ".join(filter(None, [f"{named}:" if named else "", text, raw]))
    return None


def _upstream(error: dict[str, Any]) -> str | None:
    """Return what the provider behind OpenRouter said, whose own message says nothing."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"({raw})" if isinstance(raw, str) and raw else None
