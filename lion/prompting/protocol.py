"""Requests and replies as the protocols have them, and the key of a request.

Chat completions, and embeddings where the endpoint is of these.

Pure: builds bodies and reads bytes. Sending is `api`'s, keeping is `ledger`'s.
"""

import base64
import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lion.config.settings import EmbeddingEndpoint, Endpoint
from lion.records.rows import Message


@dataclass(frozen=True, slots=True)
class Request:
    """What a role wants to ask; `sample` tells apart two askings of the same question.

    `response_format` is the protocol's: the JSON schema that the reply must keep to, or None.
    """

    messages: tuple[Message, ...]
    sample: int = 0
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, as the server counted them.

    `cached` are those of the prompt that the server knew, `reasoning` those of the completion that
    nobody sees.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: text, why it ended, which model, and its tokens (None: not told).

    Of an embedding `text` are its numbers: float32, little-endian, in base64.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no usable reply. `reason` is a short key that is counted."""

    reason: str
    detail: str


Outcome = Reply | Failure
_FINAL = frozenset({"cap_spent", "content_filter", "refused"})
_BROKEN_OFF = frozenset({"abort", "error"})
"""Finish reasons of vLLM, SGLang and proxies for an answer that the server itself cut short."""


def body(request: Request, endpoint: Endpoint, random_seed: int) -> dict[str, Any]:
    """Return the JSON body: the user's `request` parameters, then ours.

    An embedding is of the last turn's content alone.
    """
    if isinstance(endpoint, EmbeddingEndpoint):
        return {
            **endpoint.request,
            "model": endpoint.model,
            "input": request.messages[-1]["content"],
        }
    made: dict[str, Any] = {
        **endpoint.request,
        "model": endpoint.model,
        "messages": list(request.messages),
    }
    if request.response_format is not None:
        made["response_format"] = dict(request.response_format)
    if endpoint.send_seed:
        made["seed"] = sample_seed(random_seed, request.sample)
    return made


def sample_seed(random_seed: int, sample: int) -> int:
    """Return the protocol's `seed` (31 bits) of a sample: a function of the two numbers alone."""
    digest = hashlib.sha256(f"{random_seed}:{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def canonical(body_: dict[str, Any]) -> bytes:
    """Return a body as sorted, compact JSON: what is hashed, kept and sent."""
    return orjson.dumps(body_, option=orjson.OPT_SORT_KEYS)


def key(endpoint: Endpoint, canonical_body: bytes, sample: int) -> bytes:
    """Return the request's key: SHA-256 over endpoint, body and sample index (32 bytes).

    The embedded teacher's address is the word `embedded`: its port changes from run to run.
    """
    return key_of(endpoint.base_url, canonical_body, sample)


def key_of(address: str, canonical_body: bytes, sample: int) -> bytes:
    """Return the same of an endpoint's address."""
    parts = (address.encode(), str(sample).encode(), canonical_body)
    return hashlib.sha256(b"\n".join(parts)).digest()


def parse(raw: bytes) -> Outcome:
    """Read a reply's bytes. What is not a usable answer is a Failure with its reason.

    Empty content is a failure: `refused` where the model says why; `cap_spent` with
    `finish_reason: length` (a reasoning model that thought until its cap: billed, and asking again
    would not help); else `empty_reply`, to be asked again. So is `broken_off`, half an answer that
    the server gave up. Reasoning beside the answer, under whichever name, is no part of it. A reply
    with `data` in the place of `choices` is an embedding.
    """
    try:
        document = orjson.loads(raw)
        if "choices" not in document and "data" in document:
            return _embedding(document, raw)
        choice = document["choices"][0]
        content = choice["message"].get("content")
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return Failure("malformed_reply", _clip(raw))
    finish_reason = choice.get("finish_reason") or "unknown"
    if not isinstance(content, str | None) or not isinstance(finish_reason, str):
        return Failure("malformed_reply", _clip(raw))
    if finish_reason in _BROKEN_OFF:
        return Failure("broken_off", f"finish_reason {finish_reason}")
    if content is None or not content.strip():
        refusal = choice["message"].get("refusal")
        if isinstance(refusal, str) and refusal:
            return Failure("refused", refusal[:200])
        reason = {"length": "cap_spent", "content_filter": "content_filter"}.get(
            finish_reason, "empty_reply"
        )
        return Failure(reason, f"finish_reason {finish_reason}")
    model = document.get("model")
    return Reply(
        text=content,
        finish_reason=finish_reason,
        model=model if isinstance(model, str) else "unknown",
        usage=_usage(document),
    )


def _embedding(document: dict[str, Any], raw: bytes) -> Outcome:
    """Read one embedding, a list of numbers or float32 in base64, and the model's name."""
    try:
        (entry,) = document["data"]
        found = entry["embedding"]
        packed = _packed(found)
        numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error):
        return Failure("malformed_reply", _clip(raw))
    if not any(numbers) or not all(map(math.isfinite, numbers)):
        return Failure("malformed_reply", f"an embedding without a direction: {_clip(raw, 100)}")
    model = document.get("model")
    return Reply(
        text=base64.b64encode(packed).decode(),
        finish_reason="stop",
        model=model if isinstance(model, str) else "unknown",
        usage=_usage(document),
    )


def _packed(found: Any) -> bytes:
    """Return the numbers as float32; so they are already where they come in base64."""
    if isinstance(found, str):
        return base64.b64decode(found, validate=True)
    numbers = list(found)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def usage(raw: bytes) -> Usage | None:
    """Return the tokens that a reply tells of, answer or not, or None where it does not."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return _usage(document) if isinstance(document, dict) else None


def _usage(document: dict[str, Any]) -> Usage | None:
    told = document.get("usage")
    if not isinstance(told, dict):
        return None
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens")
    if completion is None and "data" in document:  # an embedding, for which nothing is written
        completion = 0
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    if min(prompt, completion) < 0:
        return None
    cached = _part(told, "prompt_tokens_details", "cached_tokens", prompt)
    reasoning = _part(told, "completion_tokens_details", "reasoning_tokens", completion)
    return Usage(prompt, completion, cached, reasoning)


def _part(told: dict[str, Any], details: str, name: str, most: int) -> int:
    """Return a part of a count, 0 where the server tells none that makes sense."""
    found = told.get(details)
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, int) and 0 <= part <= most else 0


def valid_text(text: str) -> str:
    """Return `text` as valid Unicode: halves of surrogate pairs are joined or replaced (U+FFFD)."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def completion_cap(endpoint: Endpoint) -> int | None:
    """Return the most tokens that a reply may have, or None where `request` sets no cap."""
    if isinstance(endpoint, EmbeddingEndpoint):
        return 0
    for name in ("max_completion_tokens", "max_tokens"):
        cap = endpoint.request.get(name)
        if isinstance(cap, int) and cap > 0:
            return cap
    return None


def is_final(outcome: Outcome) -> bool:
    """Tell whether asking the same again is pointless: replies, and refusals that are billed."""
    return isinstance(outcome, Reply) or outcome.reason in _FINAL


def _clip(raw: bytes, limit: int = 200) -> str:
    return raw[:limit].decode("utf-8", "replace")
