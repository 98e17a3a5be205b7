"""The tokens that a reply says it took, by the names and meanings of many servers. Pure."""

from collections.abc import Sequence
from typing import Any


def read_counts(counts: object, *, embedding: bool) -> tuple[int, int, int, int] | None:
    """Return the tokens of prompt, completion, cache and thoughts; None where none can be believed.

    Those of the cache are part of the prompt's, those of thoughts part of the completion's. Of an
    `embedding` nothing is written.
    """
    if not isinstance(counts, dict):
        return None
    prompt = _tokens(counts, "prompt_tokens", "input_tokens")
    completion = 0 if embedding else _tokens(counts, "completion_tokens", "output_tokens")
    if not prompt or completion is None:
        return None
    completion += 0 if embedding else _hidden(counts, prompt, completion)
    cached = _part(counts, _CACHED, prompt)
    return prompt, completion, cached, _part(counts, _REASONING, completion)


_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, and most others
    ("input_tokens_details", "cached_tokens"),  # the Responses API
    ("prompt_cache_hit_tokens",),  # DeepSeek: api-docs.deepseek.com, kv_cache
    ("cached_tokens",),  # Moonshot; Anthropic's OpenAI endpoint: pydantic/genai-prices
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),  # OpenAI, and most others
    ("output_tokens_details", "reasoning_tokens"),  # the Responses API
    ("reasoning_tokens",),  # SGLang: python/sglang/srt/entrypoints/openai/protocol.py; Perplexity
)
"""Where a count stands among the counts; the first that can be believed is read."""


def _hidden(counts: dict[str, Any], prompt: int, completion: int) -> int:
    """Return the tokens of thoughts that `completion` leaves out, though they are billed.

    OpenAI, DeepSeek and most others count them in it. xAI counts them in `total_tokens` alone
    (docs.x.ai, consumption-and-rate-limits), Gemini's OpenAI endpoint did (vercel/ai#12425,
    mozilla-ai/any-llm#1290), and some gateways in front of Gemini still do.
    """
    total = _tokens(counts, "total_tokens")
    if total is not None and total > prompt + completion:
        return total - prompt - completion
    reasoning = _part(counts, _REASONING, _MOST_TOKENS)
    return reasoning if total is None and reasoning > completion else 0


_MOST_TOKENS = 2**31 - 1
"""Counts above are no counts: no model reads or writes so much."""


def _tokens(counts: dict[str, Any], *names: str) -> int | None:
    """Return the first count of `names` that can be believed, None where there is none.

    Some servers send a whole number as a float or as text.
    """
    for name in names:
        value = counts.get(name)
        if isinstance(value, bool) or value is None:
            continue
        try:
            count = int(value) if float(value) == int(value) else -1
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 <= count <= _MOST_TOKENS:
            return count
    return None


def _part(counts: dict[str, Any], places: Sequence[Sequence[str]], most: int) -> int:
    """Return a part of a count, 0 where the server sends none that makes sense."""
    for place in places:
        part: Any = counts
        for name in place:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, int) and not isinstance(part, bool) and 0 < part <= most:
            return part
    return 0
