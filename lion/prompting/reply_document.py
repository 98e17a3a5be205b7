"""The JSON document of a reply, also where a server writes it in a way that the standard forbids.

Such replies are whole and billed, and asking again would bring the same. Pure.
"""

import json
from typing import Any

import orjson

_BOM = b"\xef\xbb\xbf"  # some gateways begin with it


def parse_document(raw: bytes) -> Any:
    """Return the document of a body. Raises ValueError or RecursionError where it is none.

    NaN and Infinity (log-probabilities of llama-cpp-python) are read, and halves of surrogate pairs
    (an emoji that the token cap cut through) are replaced.
    """
    raw = raw.removeprefix(_BOM)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _valid(json.loads(raw))


def valid_text(text: str) -> str:
    """Return `text` as valid Unicode: halves of surrogate pairs are joined or replaced (U+FFFD)."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [_valid(part) for part in value]
    if isinstance(value, dict):
        return {valid_text(name): _valid(part) for name, part in value.items()}
    return value
