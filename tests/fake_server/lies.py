"""What a broken or hostile endpoint sends in the place of an honest reply."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import zstandard

from fake_server.behaviour import Behaviour, refuses

TEN_MEGABYTES = 10 << 20

Lie = Callable[[bytes], Behaviour]  # of the honest body


@cache
def _nothing() -> bytes:
    return b" " * TEN_MEGABYTES


@cache
def _bomb() -> bytes:
    """Return 100 MB of nothing, packed."""
    return gzip.compress(_nothing() * 10, 1)


def _long(honest: bytes) -> bytes:
    """Return a reply whose answer is ten megabytes of words."""
    document = json.loads(honest)
    document["choices"][0]["message"]["content"] = "word " * (TEN_MEGABYTES // 5)
    return json.dumps(document).encode()


def _page(_: bytes) -> Behaviour:
    return Behaviour(body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"})


def _stream(honest: bytes) -> Behaviour:
    return Behaviour(body=b"data: " + honest, headers={"Content-Type": "text/event-stream"})


def _packed(body: bytes, packing: str) -> Behaviour:
    return Behaviour(body=body, headers={"Content-Encoding": packing})


LIES: dict[str, Lie] = {
    "a page in the place of JSON": _page,
    "an event stream": _stream,
    "200 with an error body": lambda _: replace(refuses(500, "overloaded"), status=200),
    "10 MB of answer": lambda honest: Behaviour(body=_long(honest)),
    "10 MB of nothing": lambda _: Behaviour(body=_nothing()),
    "10 MB of refusal": lambda _: Behaviour(500, _nothing()),
    "invalid UTF-8": lambda honest: Behaviour(
        body=honest.replace(b'content": "', b'content": "\xff\xfe')
    ),
    "deeply nested JSON": lambda _: Behaviour(body=b"[" * 200_000),
    "an empty body": lambda _: Behaviour(),
    "a null answer": lambda _: Behaviour(body=b'{"choices": [{"message": {"content": null}}]}'),
    "choices of the wrong type": lambda _: Behaviour(body=b'{"choices": "none"}'),
    "a zip bomb": lambda _: _packed(_bomb(), "gzip"),
    "a packing that nobody asked for": lambda honest: _packed(zstandard.compress(honest), "zstd"),
    "bytes that claim to be gzip": lambda honest: _packed(honest, "gzip"),
    "half a body": lambda honest: Behaviour(body=honest, broken_off=True),
    "a reset connection": lambda _: Behaviour(reset=True),
    # each byte comes in time, and the reply never does
    "a slow drip": lambda honest: Behaviour(body=honest, piece=1, pause=1.0),
    "silence": lambda honest: Behaviour(body=honest, delay=3600.0),
    "an endless stream": lambda _: Behaviour(body=b" " * (1 << 20), endless=True),
    "an endless slow stream": lambda _: Behaviour(body=b" ", pause=0.2, endless=True),
}
