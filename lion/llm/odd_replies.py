"""Replies that look whole and may be none: a server that cut prompt or answer, and does not say so.

They are counted and reported, not dropped: a count alone proves nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from lion.config.settings import EMBEDDED, Endpoint
from lion.prompting import protocol
from lion.prompting.protocol import Outcome, Reply

Oddity = Literal["prompt_cut", "at_cap"]
_LONG_PROMPT = 4096  # bytes of a request, below which its tokens say little
_BYTES_PER_TOKEN = 16  # no text of any language has so many on average

SENTENCES: Mapping[Oddity, str] = {
    # ollama/ollama#17889: 200 with prompt_tokens 2050 of 7,900; esengine/DeepSeek-Reasonix#10245
    "prompt_cut": (
        "the server counts far fewer prompt tokens than the prompt must have: it may have cut the "
        "prompt to its context (Ollama: num_ctx, OLLAMA_CONTEXT_LENGTH)"
    ),
    # BerriAI/litellm#25825: stop, though max_tokens was hit
    "at_cap": (
        "the reply has exactly as many tokens as max_tokens allows, but the server says that it "
        "is complete: it may be cut off. Raise max_tokens in `request`"
    ),
}


def oddities(body: bytes, outcome: Outcome, endpoint: Endpoint) -> Iterator[Oddity]:
    """Yield what is odd about a reply to the request `body`, by the server's own counts."""
    usage = outcome.usage if isinstance(outcome, Reply) else None
    if not isinstance(outcome, Reply) or usage is None or endpoint.base_url == EMBEDDED:
        return
    if len(body) >= _LONG_PROMPT and usage.prompt * _BYTES_PER_TOKEN < len(body):
        yield "prompt_cut"
    cap = protocol.completion_cap(endpoint)
    if cap and usage.completion == cap and not usage.reasoning and outcome.ending == "whole":
        yield "at_cap"


def odd_sentences(counts: Counter[Oddity], endpoint: Endpoint) -> Iterator[str]:
    """Yield a sentence for each oddity with its count."""
    for oddity, count in counts.items():
        who = f"{endpoint.model} at {endpoint.base_url}"
        yield f"{who}: {count:,} odd replies: {SENTENCES[oddity]}"
