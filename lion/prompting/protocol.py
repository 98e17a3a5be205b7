"""Requests and replies as the protocols have them, and the key of a request.

Chat completions, and embeddings where the endpoint is of these.

Pure: builds bodies and reads bytes. Sending and keeping are those of `lion.llm`.
"""

import base64
import dataclasses
import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lion.config.settings import EmbeddingEndpoint, Endpoint, Thinking
from lion.prompting import replies, reply_logprobs, token_counts
from lion.prompting.replies import Ending
from lion.prompting.reply_document import parse_document, valid_text
from lion.records.rows import Message, TokenScores


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
    the reply does not show.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: text, why it ended, which model, and its tokens (None: unknown).

    Of an embedding `text` are its numbers: float32, little-endian, in base64. `scores` are the log
    probabilities of the text's tokens, where they were asked for.
    """

    text: str
    finish_reason: str
    model: str
    usage: Usage | None
    scores: TokenScores | None = None

    @property
    def ending(self) -> Ending:
        """How it ended, whatever the server's word."""
        return replies.ending(self.finish_reason)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no usable reply. `reason` is a short key that is counted."""

    reason: str
    detail: str


Outcome = Reply | Failure
_FINAL = frozenset({"cap_spent", "content_filter", "refused", "tool_call", "unreadable_content"})
_WITHOUT_ANSWER: Mapping[Ending, str] = {
    "truncated": "cap_spent",
    "filtered": "content_filter",
    "tool_call": "tool_call",
}
"""The failure of a reply without text, by its ending; else it is `empty_reply`."""


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
    body: dict[str, Any] = {
        **endpoint.request,
        "model": endpoint.model,
        "messages": list(request.messages),
    }
    if request.response_format is not None:
        body["response_format"] = dict(request.response_format)
    if endpoint.send_seed:
        body["seed"] = sample_seed(random_seed, request.sample)
    return body


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

    Empty content is a failure: `refused` where the model says why; `cap_spent` where the cap cut it
    off (a reasoning model that thought until its cap: billed, and asking again would not help);
    `tool_call`; else `empty_reply`, to be asked again. So is `broken_off`, half an answer that the
    server gave up. Content of a shape that is no text, or a stream of events, is
    `unreadable_content`: asking again would bring the same. A JSON document of another protocol is
    `foreign_reply`, and is never kept. Reasoning beside the answer, under whichever name, is no
    part of it. A reply with `data` in the place of `choices` is an embedding.
    """
    if raw.lstrip().startswith((b"data:", b"event:")):
        return _event_stream(raw)
    try:
        document = parse_document(raw)
        unusable = _unusable(document, raw)
        if unusable is not None:
            return unusable
        if "choices" not in document:
            return _embedding(document, raw)
        choice = document["choices"][0]
        content = _content(choice)
    except _MALFORMED:
        return Failure("malformed_reply", _words(raw))
    finish_reason = _finish_reason(choice)
    text = replies.content_text(content)
    if text is None or not isinstance(finish_reason, str):
        return Failure("unreadable_content", "content of a shape that is no text")
    failure = _failure(choice, text, finish_reason)
    if failure is not None:
        return failure
    model = document.get("model")
    return Reply(
        text=text,
        finish_reason=finish_reason,
        model=model if isinstance(model, str) else "unknown",
        usage=_usage(document),
        scores=reply_logprobs.read_logprobs(choice, text) if choice.get("logprobs") else None,
    )


_MALFORMED = (ValueError, RecursionError, LookupError, TypeError, AttributeError)
"""What reading a document raises where a server put something else in a field's place."""


def _unusable(document: Any, raw: bytes) -> Failure | None:
    """Return the failure of an error beside status 200, or of a document of another protocol."""
    if isinstance(document, dict):
        if document.get("error"):  # also beside a choice that was broken off
            return Failure("broken_off", _words(raw))
        if document.get("choices") or isinstance(document.get("data"), list):
            return None
        if words := replies.words_of(document):  # MiniMax; gateways, beside `data` of null
            return Failure("broken_off", words)
        if not document or "choices" in document or document.get("data", document) is None:
            return None
        names = ", ".join(map(str, document))
        return Failure("foreign_reply", valid_text(f"an object with the keys {names}")[:200])
    if not document:
        return None
    if isinstance(document, list) and isinstance(document[0], dict) and document[0].get("error"):
        return Failure("broken_off", _words(raw))  # Google
    return Failure("foreign_reply", f"a JSON {_JSON_NAMES.get(type(document), 'number')}")


_JSON_NAMES: Mapping[type, str] = {list: "list", str: "text", bool: "boolean"}


def _content(choice: dict[str, Any]) -> Any:
    """Return the content of a choice's message, or its `text`, as the older protocol has it.

    Raises one of `_MALFORMED` where there is neither.
    """
    message = choice.get("message")
    if message is None and isinstance(choice.get("text"), str):
        return choice["text"]
    if message is None and choice.get("finish_reason"):
        return None  # it ended without a message, as a filter leaves it
    return choice["message"].get("content")


def _event_stream(raw: bytes) -> Failure:
    """Return the failure of a server that streams without being asked to, or that broke off."""
    words = replies.words_of_body(raw.decode("utf-8", "replace"))
    if words is not None:
        return Failure("broken_off", words)
    return Failure("unreadable_content", "a stream of events, though `stream` was not asked for")


def _finish_reason(choice: dict[str, Any]) -> Any:
    """Return why a choice ended: the word of the provider behind OpenRouter where it says more."""
    own, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    says_little = replies.ending(str(own or replies.UNSTATED)) in _SAY_LITTLE
    if says_little and isinstance(native, str) and replies.ending(native) in _SAY_MORE:
        return native
    return own or replies.UNSTATED


_SAY_LITTLE: tuple[Ending, ...] = ("whole", "unstated")
_SAY_MORE: tuple[Ending, ...] = ("truncated", "filtered", "broken_off")


def _failure(choice: dict[str, Any], text: str, finish_reason: str) -> Failure | None:
    """Return why a choice has no usable answer, or None."""
    words = f"finish_reason {valid_text(finish_reason)[:40]}"
    ending = replies.ending(finish_reason)
    if choice.get("error"):  # OpenRouter: the provider behind it gave up
        return Failure("broken_off", (replies.words_of(choice) or words)[:200])
    if ending == "broken_off":
        return Failure("broken_off", words)
    if ending == "tool_call":
        return Failure("tool_call", words)
    if text.strip():
        return None
    refusal = (choice.get("message") or {}).get("refusal")
    if isinstance(refusal, str) and refusal:
        return Failure("refused", refusal[:200])
    return Failure(_WITHOUT_ANSWER.get(ending, "empty_reply"), words)


def without_thoughts(outcome: Outcome, thinking: Thinking) -> Outcome:
    """Return a reply without the thoughts in its content, or why nothing is left of it.

    `keep` leaves them; `refuse` makes a reply with thoughts a failure, `thinking`. The ledger keeps
    the whole reply.
    """
    if isinstance(outcome, Failure) or thinking == "keep":
        return outcome
    thoughts, answer = replies.split_thoughts(outcome.text)
    if not thoughts:
        return outcome
    if thinking == "refuse":
        return Failure("thinking", " ".join(thoughts.split())[:200])
    if not answer.strip():
        spent = outcome.ending == "truncated"
        return Failure("cap_spent" if spent else "empty_reply", "thoughts and no answer")
    return dataclasses.replace(outcome, text=answer, scores=None)


def _embedding(document: dict[str, Any], raw: bytes) -> Outcome:
    """Read one embedding, a list of numbers or float32 in base64, and the model's name."""
    try:
        (entry,) = document["data"]
        packed = _packed(entry["embedding"])
        numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
    except (*_MALFORMED, OverflowError, struct.error):
        return Failure("malformed_reply", _words(raw))
    if not any(numbers) or not all(map(math.isfinite, numbers)):
        return Failure("malformed_reply", "an embedding without a direction")
    model = document.get("model")
    return Reply(
        text=base64.b64encode(packed).decode(),
        finish_reason="stop",
        model=model if isinstance(model, str) else "unknown",
        usage=_usage(document),
    )


def _packed(embedding: Any) -> bytes:
    """Return the numbers as float32; so they are already where they come in base64."""
    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    numbers = list(embedding)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def usage(raw: bytes) -> Usage | None:
    """Return the tokens that a reply tells of, answer or not, or None where it does not."""
    try:
        document = parse_document(raw)
    except (ValueError, RecursionError):
        return None
    return _usage(document) if isinstance(document, dict) else None


def _usage(document: dict[str, Any]) -> Usage | None:
    counts = token_counts.read_counts(document.get("usage"), embedding="data" in document)
    if counts is None or (counts[1] == 0 and "data" not in document and _has_text(document)):
        return None
    return Usage(*counts)


def _has_text(document: dict[str, Any]) -> bool:
    try:
        return bool(replies.content_text(_content(document["choices"][0])))
    except _MALFORMED:
        return False


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


def _words(raw: bytes) -> str:
    """Return the server's own words in a body without an answer, never the body itself."""
    text = raw[:_READ_FOR_WORDS].decode("utf-8", "replace")
    return (replies.words_of_body(text) or "a body without an answer and without words")[:200]


_READ_FOR_WORDS = 65_536  # bytes
