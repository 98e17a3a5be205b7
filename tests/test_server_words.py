"""A server's own words reach the user from any body over a socket; the body itself never does."""

import gzip
import json
from typing import Any

import pytest
from asking import Open, ask_for
from fake_server import Behaviour, ChatServer

from lion.prompting.protocol import Failure

PROMPT = "the whole prompt"


def as_json(document: Any, **headers: str) -> tuple[bytes, dict[str, str]]:
    return json.dumps(document).encode(), {
        name.replace("_", "-"): headers[name] for name in headers
    }


def as_page(text: str) -> tuple[bytes, dict[str, str]]:
    return text.encode(), {"Content-Type": "text/html"}


BODIES: dict[str, tuple[tuple[bytes, dict[str, str]], str]] = {
    "OpenAI": (as_json({"error": {"message": "No seed.", "type": "t", "code": None}}), "No seed."),
    "FastAPI": (
        as_json({"detail": [{"loc": ["body", "seed"], "msg": "Extra input", "input": PROMPT}]}),
        "body.seed: Extra input",
    ),
    "vLLM": (
        as_json({"error": {"message": "1 validation error:\n  {'type': 'x', 'loc': ('body', 'top'),"
                           f" 'msg': 'Extra inputs', 'input': '{PROMPT}'}}"}}),
        "Extra inputs",
    ),
    "plain text": ((b"upstream connect error", {"Content-Type": "text/plain"}),
                   "upstream connect error"),
    "a page": (as_page("<head><title>Bad &amp; sad</title></head><body>x"), "Bad & sad"),
    "a page without a title": (as_page("<!DOCTYPE html><h1>Not here</h1><p>x</p>"), "Not here"),
    "a page of text": (as_page("<html><script>var a</script><p>Sorry.</p></html>"), "Sorry."),
    "Google": (as_json([{"error": {"code": 400, "message": "No key.", "status": "X"}}]), "No key."),
    "Cohere": (as_json({"message": "no such model"}), "no such model"),
    "Ollama": (as_json({"error": "pull it first"}), "pull it first"),
    "Spring": (as_json({"error": "Bad Request", "message": "No m."}), "Bad Request: No m."),
    "OpenRouter": (
        as_json({"error": {"message": "Provider returned error", "metadata": {
            "raw": json.dumps({"error": {"message": "too long"}, "prompt": PROMPT})}}}),
        "Provider returned error (too long)",
    ),
    "nothing": ((b"", {}), "Bad Request"),
    "packed": ((gzip.compress(b'{"message": "packed words"}'), {"Content-Encoding": "gzip"}),
               "packed words"),
    "JSON as a page": (as_json({"message": "words"}, Content_Type="text/html"), "words"),
    "an unknown charset": (
        as_json({"message": "words"}, Content_Type="application/json; charset=klingon"), "words",
    ),
    "events": ((b'data: {"error": {"message": "No."}}\n\ndata: [DONE]\n\n', {}), "No."),
    "cut off in the words": ((b'{"error": {"message": "Too long, the li', {}), "Too long, the li"),
    "cut off before words": ((f'{{"messages": [{{"a": "{PROMPT}'.encode(), {}), "Bad Request"),
    "the request repeated": (as_json({"messages": [{"content": PROMPT}]}), "Bad Request"),
    "a byte order mark": ((b'\xef\xbb\xbf{"message": "marked"}', {}), "marked"),
    "not UTF-8": ((b'{"message": "caf\xe9"}', {}), "caf\ufffd"),
}  # fmt: skip


@pytest.mark.parametrize("shape", BODIES)
def test_a_servers_own_words_are_the_detail_of_the_failure(
    shape: str, chat_server: ChatServer, opened: Open
) -> None:
    (body, headers), words = BODIES[shape]
    chat_server.answer = Behaviour(400, body, headers, billed=False)
    with opened() as client:
        outcome = client.probe(ask_for(1))
    assert outcome == Failure("http_400", words)
