"""What a reply says: how it ended, the text of its content, and the thoughts before its answer.

Tables of what providers and servers send, each word with where it was seen. Pure.
"""

import html
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from lion.prompting.reply_document import parse_document

Ending = Literal["whole", "truncated", "filtered", "broken_off", "tool_call", "unstated", "unknown"]
"""How a reply ended. `unstated`: the server gives no word. `unknown`: a word of no table."""

# Each word with where it stands: `repository:path`, or the page of a documentation.
_WORDS: Mapping[Ending, tuple[str, ...]] = {
    "whole": (
        "stop",  # openai/openai-openapi; Gemini's STOP
        "eos",  # Together: Portkey-AI/gateway:src/providers/together-ai/types.ts
        "eos_token",  # huggingface/text-generation-inference:router/src/lib.rs
        "stop_sequence",  # the same; Anthropic
        "end_turn",  # anthropics/anthropic-sdk-python:src/anthropic/types/stop_reason.py
        "complete",  # cohere-ai/cohere-python:src/cohere/types/chat_finish_reason.py
        "completed",  # the Responses API behind a router: vercel/ai:packages/xai/src/responses
        "finished",  # Titan: Portkey-AI/gateway:src/providers/bedrock/types.ts
        "stop_criteria_met",  # Titan
    ),
    "truncated": (
        "length",  # OpenAI, vLLM, SGLang, llama.cpp, Ollama
        "max_tokens",  # Anthropic, Cohere; Gemini's MAX_TOKENS
        "max_output_tokens",  # the Responses API, as above
        "model_length",  # mistralai/client-python:docs/models/chatcompletionchoicefinishreason.md
        "model_context_window_exceeded",  # Anthropic; z.ai: anomalyco/opencode#18813
        "compaction",  # Anthropic: BerriAI/litellm:litellm/litellm_core_utils/core_helpers.py
        "error_limit",  # Cohere v1: src/cohere/types/finish_reason.py
        "repetition",  # vLLM, stopped for repeating itself: vllm/v1/engine/__init__.py
        "time_limit",  # watsonx: stop, length, tool_calls, time_limit, cancelled, error
    ),
    "filtered": (
        "content_filter",  # OpenAI, Azure, DeepSeek
        "content_filtered",  # Bedrock Converse, API reference: stopReason
        "guardrail_intervened",  # the same
        "refusal",  # Anthropic
        "sensitive",  # z.ai: litellm, core_helpers.py
        "error_toxic",  # Cohere v1
        "safety",  # googleapis/python-genai:google/genai/types.py, FinishReason; also the next
        "recitation",
        "language",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "escalation",  # Gemini: litellm, core_helpers.py
    ),
    "broken_off": (
        "error",  # Mistral, OpenRouter, Cohere v2, vLLM
        "abort",  # vLLM; SGLang: python/sglang/srt/managers/schedule_batch.py
        "network_error",  # z.ai: litellm, core_helpers.py
        "insufficient_system_resource",  # DeepSeek: api-docs.deepseek.com, create-chat-completion
        "timeout",  # Cohere v2
        "user_cancel",  # Cohere v1
        "cancelled",  # watsonx
        "load",  # ollama/ollama:server/routes.go, with no text
        "unload",  # Ollama, the same
        "pause_turn",  # Anthropic: a long turn that the server paused
        "other",  # Gemini, as above; also the next
        "unspecified",
        "malformed_function_call",
        "unexpected_tool_call",
        "malformed_response",  # Gemini: litellm, core_helpers.py; also the next
        "missing_thought_signature",
        "no_image",
        "image_other",
        "malformed_model_output",  # Bedrock; also the next
        "malformed_tool_use",
    ),
    "tool_call": (
        "tool_calls",  # OpenAI
        "function_call",  # OpenAI, before tools
        "tool_use",  # Anthropic, Bedrock
        "tool_call",  # Cohere v2
        "too_many_tool_calls",  # Gemini
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

    Vertex AI writes the words of its enumeration with the prefix FINISH_REASON_, Gemini's OpenAI
    endpoint some of them after a word of its own (`function_call_filter: MALFORMED_FUNCTION_CALL`).
    """
    if finish_reason == UNSTATED:
        return "unstated"
    words = finish_reason.lower().replace("-", "_").split(":")
    endings = (ENDINGS.get(word.strip().removeprefix("finish_reason_")) for word in words[::-1])
    return next(filter(None, endings), "unknown")


# Parts of content that are text of the answer: OpenAI and Mistral `text`, OpenAI's Responses
# `output_text`. Thoughts (Mistral `thinking`, Anthropic `thinking`, `redacted_thinking`,
# `reasoning`) and images are no part of it.
_TEXT_PARTS = ("text", "output_text")


def content_text(content: object) -> str | None:
    """Return the text of a message's content, None where it is no content that can be read.

    A text as it is; null is empty; of a list, or a single part, the parts that are text, joined.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and "type" in content:
        content = [content]
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


# What stands around thoughts; parsers of vLLM (vllm/reasoning) and SGLang (srt/parser) by name.
_MARKS = tuple(
    (re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in (
        (r"<think\b[^>]*>", r"</think>"),  # deepseek_r1, qwen3, and most others
        (r"<thinking\b[^>]*>", r"</thinking>"),
        (r"<thought>", r"</thought>"),  # Gemini's OpenAI endpoint with include_thoughts
        (r"<reasoning>", r"</reasoning>"),
        (r"<seed:think>", r"</seed:think>"),  # seedoss
        (r"\[THINK\]", r"\[/THINK\]"),  # mistral: Magistral
        (r"◁think▷", r"◁/think▷"),  # SGLang's KimiDetector
        (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # cohere_command
        (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # apertus
        (r"<\|channel>thought\b", r"<channel\|>"),  # gemma4
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # NovaSky-AI/SkyThought
        (r"Here(?: is|'s) my thought process:", r"Here(?: is|'s) my response:"),  # granite
        # gpt-oss where the server does not read its channels, and where it also drops their marks
        (r"(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>",
         r"(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>"),
        (r"analysis(?=[\s\S]*assistantfinal)", r"assistantfinal"),
    )
)  # fmt: skip
# What some of these models write around the answer after their thoughts.
_WRAPPERS = tuple(
    re.compile(rf"\s*{start}(.*?)(?:{end}\s*)?", re.DOTALL | re.IGNORECASE)
    for start, end in (
        (r"<answer>", r"</answer>"),  # hunyuan_a13b
        (r"<response>", r"</response>"),  # ernie45
        (r"<\|START_RESPONSE\|>", r"<\|END_RESPONSE\|>"),  # cohere_command
        (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),  # SkyThought
    )
)


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a reply into (thoughts, answer); a reply without thoughts is returned as the answer.

    Thoughts stand before the answer, between marks such as `<think>` and `</think>`. A template
    that writes the first mark into the prompt leaves only the closing one (DeepSeek R1). If the
    closing mark is missing, all of the text is thoughts.
    """
    for start, end in _MARKS:
        opening = start.match(text, len(text) - len(text.lstrip()))
        if opening is not None:
            closing = end.search(text, opening.end())
            if closing is None:
                return text, ""
            # some models think again before they answer
            again, answer = split_thoughts(text[closing.end() :])
            return text[: closing.end()] + again, _unwrapped(answer)
        # alone on its line, or at the end of a paragraph
        alone = re.search(
            rf"^{end.pattern}[ \t]*$|{end.pattern}[ \t]*\n[ \t]*\n",
            text,
            re.MULTILINE | re.IGNORECASE,
        )
        if alone is not None and start.search(text, 0, alone.start()) is None:
            return text[: alone.end()], _unwrapped(text[alone.end() :])
    return "", text


def _unwrapped(answer: str) -> str:
    """Return an answer after thoughts without white space before it and the marks around it."""
    for wrapper in _WRAPPERS:
        inner = wrapper.fullmatch(answer)
        if inner is not None:
            return inner[1].strip()
    return answer.lstrip()


def incomplete(finish_reason: str) -> str | None:
    """Return why a text with this `finish_reason` is no whole answer, or None where it is one."""
    return _INCOMPLETE.get(ending(finish_reason))


_INCOMPLETE: Mapping[Ending, str] = {
    "truncated": "truncated",
    "filtered": "content_filter",
    "unknown": "unknown_finish_reason",
}


_WORD_KEYS = (
    "error",  # OpenAI's object; a text: Ollama, TGI, xAI
    "message",  # Mistral, Cohere, DashScope, SGLang
    "Message",  # AWS
    "msg",  # FastAPI's entries
    "error_description",  # OAuth 2, RFC 6749
    "detail",  # FastAPI, vLLM; RFC 9457
    "errors",  # Cloudflare
    "error_msg",  # Baidu
    "base_resp",  # MiniMax: {status_code, status_msg}
    "status_msg",
    "title",  # RFC 9457: NVIDIA
)


def words_of(document: object, depth: int = 6) -> str | None:
    """Return a server's own words in an error's document, whatever its shape; None without any.

    A list is read to its third entry, a text that is itself JSON as such (upstream's errors).
    What FastAPI repeats of the request (`input`) is never shown. No deeper than `depth`.
    """
    if depth == 0:
        return None
    if isinstance(document, str):
        return _words_of_text(document.strip(), depth)
    if isinstance(document, list):
        texts = [words_of(part, depth - 1) for part in document[:3]]
        return "; ".join(filter(None, texts)) or None
    return _words_of_object(document, depth) if isinstance(document, dict) else None


_MESSAGES = re.compile(r"""'msg': (?:'([^']*)'|"([^"]*)")""")


def _words_of_text(text: str, depth: int) -> str | None:
    """Return a text, or the words in it where it is a document itself."""
    if "'loc': " in text:  # vLLM: pydantic's errors as Python writes them, with the input
        messages = dict.fromkeys(map("".join, _MESSAGES.findall(text)))
        return "; ".join(messages) or None
    if not text.startswith(("{", "[")):
        return text or None
    try:
        return words_of(parse_document(text.encode("utf-8", "surrogatepass")), depth - 1)
    except (ValueError, RecursionError):
        return text


def _words_of_object(document: dict[str, Any], depth: int) -> str | None:
    texts = [words_of(document.get(key), depth - 1) for key in _WORD_KEYS]
    words = next(filter(None, texts), None)
    if words is None:
        return None
    name, message = document.get("error"), texts[1] or texts[4]
    if isinstance(name, str) and message and message != name:  # Spring, OAuth: name and sentence
        return f"{words}: {message}"
    where, metadata = document.get("loc"), document.get("metadata")
    if isinstance(where, list) and words == texts[3]:
        return f"{'.'.join(map(str, where))}: {words}"
    # OpenRouter's own message says nothing where the provider behind it refused
    raw = words_of(metadata.get("raw"), depth - 1) if isinstance(metadata, dict) else None
    return f"{words} ({raw})" if raw and words == texts[1] else words


_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_FRAGMENT = re.compile(rf'"(?:{"|".join(_WORD_KEYS)})"\s*:\s*"((?:[^"\\]|\\.)+)')


def words_of_body(text: str) -> str | None:
    """Return a server's own words in an error's body: JSON, events, a page or plain text."""
    text = text.strip().removeprefix("\ufeff")
    if text.startswith(("data:", "event:")):
        events = re.findall(r"^data: *(\{.*)", text, re.MULTILINE)
        return next(filter(None, map(words_of, events)), None)
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = html.unescape(title[2] if title else _TAG.sub(" ", text))
        return " ".join(text.split()) or None
    if text.startswith(("{", "[")):
        try:
            return words_of(parse_document(text.encode("utf-8", "surrogatepass")))
        except (ValueError, RecursionError):
            return _words_of_fragment(text)
    return text or None


def _words_of_fragment(text: str) -> str | None:
    """Return the first words in JSON that was cut off, None where it has none."""
    fragment = _FRAGMENT.search(text)
    return fragment[1] if fragment else None
