"""Fuzzes the client with replies drawn from a grammar of what providers send, over real sockets.

    python bench/fuzz_replies.py [--seconds 600] [--seed 0]

Finish reasons, usage, content and error shapes are drawn for each call. The laws: no exception but
those with a message for the user, no half answer taken for a whole one, no wait above the limits of
`api`, every call in the ledger, and in the rounds with a cap of tokens no more spent than that. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fake_server import Behaviour, Call, ChatServer  # noqa: E402 - found by the line above

from lion.config.settings import Api, Endpoint, Modes  # noqa: E402
from lion.errors import LionError  # noqa: E402
from lion.llm.caps import Cap  # noqa: E402
from lion.llm.client import LLMClient  # noqa: E402
from lion.llm.ledger import Ledger  # noqa: E402
from lion.prompting.protocol import Failure, Outcome, Request  # noqa: E402
from lion.prompting.replies import incomplete  # noqa: E402

REQUESTS, IN_FLIGHT = 40, 16
TIMEOUT, MAX_REQUEST_SECONDS = 0.5, 2.0
LIMIT = (REQUESTS / IN_FLIGHT + 1) * (MAX_REQUEST_SECONDS + TIMEOUT) + 5.0
"""Seconds that a round may take: each request its limit, so many at once, and a slow machine."""

WHOLE = ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "completed", None)
HALF = (
    *("length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"),
    *("content_filter", "SAFETY", "refusal", "RECITATION", "sensitive", "guardrail_intervened"),
    *("error", "abort", "network_error", "insufficient_system_resource", "cancelled", "OTHER"),
    *(
        "tool_calls",
        "function_call",
        "a_word_of_tomorrow",
        "stop!",
        7,
        ["stop"],
        {"reason": "stop"},
    ),
)
COUNTS = (
    None,
    0,
    -1,
    1,
    9,
    20,
    300,
    5000,
    10**9,
    2**63,
    10**30,
    "12",
    "many",
    3.0,
    2.5,
    True,
    [],
    {},
)
HALF_PAIR = "\\ud83d"  # a text cut by UTF-16 units


@dataclass
class Grammar:
    """Draws what a server does with a call, and notes the whole answers to each question."""

    rng: random.Random
    whole: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    drawn: Counter[str] = field(default_factory=Counter)

    def answer(self, call: Call) -> Behaviour:
        """Draw an answer; most are replies, some refusals, some no HTTP worth the name."""
        kind = self.rng.choices(("reply", "error", "broken"), (80, 15, 5))[0]
        self.drawn[kind] += 1
        if kind == "reply":
            return self.reply(call.question)
        return self.error() if kind == "error" else self.broken()

    def reply(self, question: str) -> Behaviour:
        """Draw a reply of any finish reason, content and usage."""
        rng, text = self.rng, f"answer {self.rng.random()}"
        is_whole = rng.random() < 0.6
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": rng.choice(WHOLE if is_whole else HALF),
        }
        choice["message"] = {"role": "assistant", "content": self.content(text)}
        document: dict[str, Any] = {
            "id": "x",
            "model": rng.choice(("m", None, 5)),
            "choices": [choice],
        }
        document["usage"] = self.usage()
        for key in ("model", "usage"):
            if rng.random() < 0.1:
                del document[key]
        if rng.random() < 0.05:
            choice["error"], is_whole = {"code": 502, "message": "provider gone"}, False
        if rng.random() < 0.05:
            document["error"] = self.error_document()
            is_whole = is_whole and not document["error"]  # {} beside an answer is no error
        if rng.random() < 0.1:
            native = rng.choice(("length", "STOP", "MAX_TOKENS", "SAFETY"))
            choice["native_finish_reason"] = native
            is_whole = is_whole and native == "STOP"
        if is_whole:
            self.whole[question].add(text)
        return Behaviour(body=self.encoded(document))

    def content(self, text: str) -> object:
        """Draw a shape of content that holds `text`."""
        part = {"type": "text", "text": text}
        shapes = (
            text,
            [part],
            [{"type": "thinking", "thinking": [part]}, part],
            [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": text}],
            [text],
            f"<think>first I think</think>\n\n{text}",
        )
        return self.rng.choices(
            (*shapes, None, "", 5, {"text": text}, [7]), (40, 5, 5, 5, 5, 5, *[2] * 5)
        )[0]

    def usage(self) -> object:
        """Draw a usage: honest, or of any wrong shape."""
        rng = self.rng
        if rng.random() < 0.4:
            return {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
        names = rng.choice(
            (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
        )
        counts: dict[str, Any] = {name: rng.choice(COUNTS) for name in names}
        if rng.random() < 0.3:
            counts["completion_tokens_details"] = rng.choice(
                (None, {"reasoning_tokens": rng.choice(COUNTS)})
            )
        return rng.choice((counts, None, [], 5, {}))

    def error(self) -> Behaviour:
        """Draw a refusal of a row; those of keys and accounts are rare, since they end a round."""
        status = self.rng.choices(
            (400, 413, 422, 429, 500, 502, 503, 529, 401, 402, 403, 404), (*[9] * 8, *[1] * 4)
        )[0]
        headers = (
            {}
            if self.rng.random() < 0.7
            else {"Retry-After": self.rng.choice(("0", "0.01", "x", "-1"))}
        )
        return Behaviour(status, self.encoded(self.error_document()), headers)

    def error_document(self) -> object:
        """Draw the body of an error in the shapes of several providers."""
        words = self.rng.choice(
            ("input refused: smile " + HALF_PAIR, "too long", "", "é\u0000\u202e", 5, None)
        )
        return self.rng.choice(
            (
                {"error": {"message": words, "type": "invalid_request_error", "code": None}},
                {"error": words},
                {"message": words},
                {"detail": [{"loc": ["body", 0], "msg": words, "type": "value_error"}]},
                [{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}],
                {"errors": [words]},
                {"error": {"error": {"error": {"error": {"error": {"error": words}}}}}},
                {},
                [],
                words,
            )
        )

    def broken(self) -> Behaviour:
        """Draw what is no reply at all."""
        half = b'{"choices": [{"message": {"content": "hal'
        return self.rng.choice(
            (
                Behaviour(body=b""),
                Behaviour(body=half),
                Behaviour(body=half, broken_off=True),
                Behaviour(body=b"<html><title>Bad gateway</title></html>"),
                Behaviour(body=b'data: {"choices": []}\n\n'),
                Behaviour(body=b"\xff\xfe\x00"),
                Behaviour(body=b"null"),
                Behaviour(body=b"[]"),
                Behaviour(body=b'{"choices": []}'),
                Behaviour(reset=True),
                Behaviour(502, b"\xed\xa0\xbd"),
                Behaviour(body=b"{}", delay=10 * TIMEOUT),
            )
        )

    def encoded(self, document: object) -> bytes:
        """Return a document as JSON, with half of a surrogate pair where one was drawn."""
        return json.dumps(document).replace("\\\\ud83d", "\\ud83d").encode()


def settings(url: str) -> tuple[Endpoint, Api]:
    """Return an endpoint and short limits."""
    endpoint = Endpoint(
        base_url=url,
        model="m-1",
        api_key_env=None,
        send_seed=False,
        request={"max_tokens": 100},
    )
    api = Api(
        concurrency=IN_FLIGHT,
        timeout=TIMEOUT,
        tries=2,
        max_wait=0.02,
        max_request_seconds=MAX_REQUEST_SECONDS,
        requests_per_minute=None,
        tokens_per_minute=None,
        batch_least=1,
        batch_tail=0.0,
        mode=Modes(teacher="live", referee="live", generator="live"),
    )
    return endpoint, api


def round_of(server: ChatServer, grammar: Grammar, folder: Path, cap: Cap) -> list[str]:
    """Ask once with a new ledger; return what breaks a law."""
    server.calls.clear()
    tag = f"r{grammar.rng.random()}-"  # calls of the round before may still arrive
    server.answer = grammar.answer
    endpoint, api = settings(server.url)
    requests = [
        Request(({"role": "user", "content": f"{tag}{number}"},)) for number in range(REQUESTS)
    ]
    broken: list[str] = []
    outcomes: list[Outcome] = []
    started = time.monotonic()
    with Ledger(folder / "ledger.sqlite") as ledger:
        try:
            with LLMClient(endpoint, api, ledger, 0, cap=cap) as client:
                outcomes = client.complete(requests)
        except LionError as error:  # an orderly stop
            str(error).encode()
        except Exception as error:  # the law that is tested
            broken.append(f"{type(error).__name__}: {error}")
        if time.monotonic() - started > LIMIT:
            broken.append(f"waited {time.monotonic() - started:.1f} s, at most {LIMIT:.1f}")
        spent, reserved = ledger.spent()
        served = sum(call.question.startswith(tag) for call in server.calls)
        if spent.calls < served or reserved.calls:  # more: time-outs before the server heard of it
            broken.append(f"{served} calls, {spent.calls} recorded, {reserved.calls} open")
        if cap.tokens is not None and spent.tokens > cap.tokens:
            broken.append(f"{spent.tokens} tokens spent of {cap.tokens}")
    for request, outcome in zip(requests, outcomes, strict=False):
        broken += half_answer(request.messages[-1]["content"], outcome, grammar)
    return broken


def half_answer(question: str, outcome: Outcome, grammar: Grammar) -> list[str]:
    """Return why an outcome is no whole answer though it is taken for one."""
    if isinstance(outcome, Failure):
        outcome.detail.encode()
        return []
    if incomplete(outcome.finish_reason) is not None or outcome.text in grammar.whole[question]:
        return []
    return [f"half taken for whole: {outcome.finish_reason!r} {outcome.text[:60]!r}"]


def main() -> None:
    """Run rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, started = random.Random(options.seed), time.monotonic()
    rounds = calls = 0
    found: list[str] = []
    with ChatServer.running() as server:
        while time.monotonic() < started + options.seconds:
            grammar = Grammar(random.Random(rng.random()))
            cap = Cap(tokens=rng.choice((3000, 20_000))) if rounds % 2 else Cap()
            with tempfile.TemporaryDirectory(prefix="lion-fuzz-") as folder:
                broken = round_of(server, grammar, Path(folder), cap)
            rounds, calls = rounds + 1, calls + len(server.calls)
            for words in broken:
                print(f"round {rounds}: {words}", flush=True)
            found += broken
    print(f"fuzz_replies: {'held' if not found else 'BROKEN'}; {rounds:,} rounds, {calls:,} calls")
    figures = {
        "name": "fuzz_replies",
        "ours": len(found),
        "others": 0,
        "ratio": None,
        "calls": calls,
    }
    print(json.dumps({**figures, "unit": "laws broken"}))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
