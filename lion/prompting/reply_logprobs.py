"""Log probabilities of a reply's tokens, as chat completions bring them on `logprobs: true`. Pure.

Shape: `choices[].logprobs.content[]` of openai/openai-openapi (ChatCompletionTokenLogprob), which
vLLM and llama.cpp's server send too.
"""

import codecs
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lion.records.rows import TokenScores


def read_logprobs(choice: Mapping[str, Any], text: str) -> TokenScores | None:
    """Return the log probabilities (nats) of the tokens of `text`, the content of a choice.

    Ends are in characters of the text without outer white space. Tokens behind the text, such as
    that of the turn's end, count where the server sends them. None where there are no log
    probabilities, where one is no finite number, or where the tokens are not those of the text.
    """
    try:
        content = choice["logprobs"]["content"]
        logprobs = [float(token["logprob"]) for token in content]
        written = list(_ends(content))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None
    if not logprobs or not all(map(math.isfinite, logprobs)):
        return None
    if not b"".join(map(_bytes, content)).decode("utf-8", "replace").startswith(text):
        return None
    leading, length = len(text) - len(text.lstrip()), len(text.strip())
    ends = [min(max(end - leading, 0), length) for end in written]
    return TokenScores(tuple(logprobs), tuple(ends))


def _ends(content: list[Mapping[str, Any]]) -> Iterator[int]:
    """Yield where each token ends, in characters; one that ends inside a character counts it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    characters = 0
    for token in content:
        characters += len(decoder.decode(_bytes(token)))
        begun, _ = decoder.getstate()
        yield characters + bool(begun)


def _bytes(token: Mapping[str, Any]) -> bytes:
    """Return a token's bytes: as the server lists them, else those of its text."""
    listed = token.get("bytes")
    if listed is None:
        return str(token["token"]).encode()
    if not isinstance(listed, list):  # bytes(n) would be n zeros
        raise TypeError("`bytes` is no list")
    return bytes(listed)
