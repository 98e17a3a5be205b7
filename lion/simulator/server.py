"""The simulator's server: the OpenAI chat-completions protocol, also as a child process.

Serves POST /v1/chat/completions, GET /v1/models and GET /health. `simulated_llm` writes the
replies; this module reads requests, counts words as tokens, and refuses malformed requests as the
protocol does. Stateless, without streaming, and without authentication on loopback; equal bodies
get equal bytes.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from lion.config.addresses import TOKEN, is_loopback
from lion.errors import AskError, DataError, LionError
from lion.prompting import judge_parser
from lion.records.rows import Message, read_messages
from lion.simulator.simulated_llm import MODELS, reply

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 1 << 20  # bytes; prompts are far smaller
BODY_SECONDS = 60.0  # limits how long a slow client holds a connection
START_SECONDS = 60.0  # a process starts slowly on a loaded machine
WATCH_SECONDS = 1.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestError(Exception):
    """A refused request, with the fields of the protocol's error."""

    def __init__(self, status: int, message: str, param: str | None, code: str | None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The fields of a completion request that are used."""

    model: str
    messages: list[Message]
    seed: int
    max_tokens: int | None
    keys: tuple[str, ...] | None = None


def read_request(raw: bytes) -> ChatRequest:
    """Read a request's body; unknown fields are ignored. Raises RequestError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is not JSON: {error}", None, None) from error
    if not isinstance(body, dict):
        raise RequestError(400, "the body must be a JSON object", None, None)
    if body.get("stream"):
        raise RequestError(400, "replies are not streamed here; leave it out", "stream", None)
    if body.get("n") not in (None, 1):
        raise RequestError(400, "there is one choice a reply; leave it out", "n", None)
    limits = (_whole(body, key, 1) for key in ("max_completion_tokens", "max_tokens"))
    return ChatRequest(
        model=_model(body),
        messages=_messages(body.get("messages")),
        seed=_whole(body, "seed", None) or 0,
        max_tokens=min((limit for limit in limits if limit is not None), default=None),
        keys=_keys(body.get("response_format")),
    )


def completion(request: ChatRequest) -> dict[str, Any]:
    """Return the protocol's completion object, a function of the request alone."""
    whole = reply(request.messages, request.seed, MODELS[request.model], request.keys)
    text = _first_words(whole, request.max_tokens)
    prompt_tokens = sum(len(message["content"].split()) for message in request.messages)
    completion_tokens = len(text.split())
    return {
        "id": f"chatcmpl-{_digest(request)}",
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop" if text == whole else "length",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str):
        raise RequestError(400, "a text is expected", "model", None)
    if model not in MODELS:
        names = ", ".join(MODELS)
        raise RequestError(
            404, f"there is no model {model!r:.80}; use {names}", "model", "model_not_found"
        )
    return model


def _messages(value: object) -> list[Message]:
    """Return the turns; a content that is a list of parts is joined."""
    turns = value
    if isinstance(value, list):
        turns = [
            {**turn, "content": _joined(turn.get("content"))} if isinstance(turn, dict) else turn
            for turn in value
        ]
    try:
        return read_messages(turns)
    except DataError as error:
        raise RequestError(400, str(error), "messages", None) from error


def _joined(content: object) -> object:
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise RequestError(400, "only parts of type `text` are read", "messages", None)
    return "".join(map(str, texts))


def _keys(response_format: object) -> tuple[str, ...] | None:
    """Return the keys of the only supported schema, a verdict's; None without a schema."""
    if response_format is None or (
        isinstance(response_format, dict) and response_format.get("type") == "text"
    ):
        return None
    if response_format != judge_parser.SCHEMA:
        raise RequestError(400, "only a verdict's JSON schema is known", "response_format", None)
    return tuple(judge_parser.SCHEMA["json_schema"]["schema"]["properties"])


def _whole(body: dict[str, Any], key: str, least: int | None) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(400, f"a whole number is expected, found {value!r:.40}", key, None)
    if least is not None and value < least:
        raise RequestError(400, f"at least {least} is expected, found {value}", key, None)
    return value


def _first_words(text: str, limit: int | None) -> str:
    """Return the first `limit` words with the white space between them."""
    if limit is None:
        return text
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return text if len(ends) <= limit else text[: ends[limit - 1]]


def _digest(request: ChatRequest) -> str:
    content = [request.model, request.messages, request.seed, request.max_tokens]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


# The application


def application(token: str | None = None) -> web.Application:
    """Return the web application; requests must send `token` where it is not None."""
    middlewares: list[Middleware] = [_refusals]
    if token is not None:
        middlewares.append(_guard(token))
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=middlewares)
    app.router.add_post("/v1/chat/completions", _complete)
    app.router.add_get("/v1/models", _list_models)
    app.router.add_get("/health", _health)
    return app


async def _complete(request: web.Request) -> web.Response:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise RequestError(408, "the request's body took too long", None, None) from None
    return _json(completion(read_request(body)))


async def _list_models(_: web.Request) -> web.Response:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "lion"} for name in MODELS]
    return _json({"object": "list", "data": models})


async def _health(_: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _guard(token: str) -> Middleware:
    """Return a middleware that refuses requests without the token."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise RequestError(401, "the token is missing or wrong", None, "invalid_api_key")
        return await handler(request)

    return guard


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return refusals with the protocol's error body, also those of aiohttp (404, 405, 413)."""
    try:
        return await handler(request)
    except RequestError as refusal:
        return _error(refusal.status, str(refusal), refusal.param, refusal.code)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _error(error.status, error.text or error.reason, None, None)


def _error(status: int, message: str, param: str | None, code: str | None) -> web.Response:
    text = f"{param}: {message}" if param else message
    kind = "invalid_request_error"
    body = {"error": {"message": text, "type": kind, "param": param, "code": code}}
    return _json(body, status)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


# The process


def serve_teacher(host: str = LOOPBACK, port: int = 0, token: str | None = None) -> None:
    """Serve until interrupted; write the address to stderr when ready. Port 0: any free port.

    Raises AskError where the address is not available, or where it is not loopback and has no
    token.
    """
    if not token and not is_loopback(host):
        raise AskError(
            f"{host} can be reached by others: set {TOKEN} to a token that they have to send"
        )

    def announce(bound: int) -> None:
        sys.stderr.write(f"embedded teacher: http://{host}:{bound}/v1\n")
        sys.stderr.flush()

    try:
        asyncio.run(_serve(host, port, announce, token))
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise AskError(f"cannot listen on {host}:{port} ({error.strerror}); use another") from error


@contextmanager
def running() -> Iterator[str]:
    """Run the application as a child process for the life of the block; yield its base URL.

    The child is gone when the block is left, and ends by itself where this process dies without
    leaving it. Raises AskError where it does not start.
    """
    child = _start()
    try:
        yield f"http://{LOOPBACK}:{_read_port(child)}/v1"
    finally:
        # It keeps nothing, so there is nothing to end in good order.
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _start() -> subprocess.Popen[bytes]:
    # Found wherever this process found it, installed or not.
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "lion.simulator.server", "--port", "0", "--child"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # aiohttp loads the machine's certificates, a tenth of the start; none is used here.
            "SSL_CERT_FILE": os.devnull,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Only the parent handles Ctrl-C, and then ends the child: one traceback, not two.
        start_new_session=True,
    )


def _read_port(child: subprocess.Popen[bytes]) -> int:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], START_SECONDS)
    line = child.stdout.readline() if ready else b""
    if not line.strip().isdigit():
        raise AskError(
            "the embedded teacher did not start; run `python -m lion.simulator.server` to see why"
        )
    return int(line)


def _serve_as_child(port: int) -> None:
    """Serve on loopback for a parent: write the port to stdout, end when the parent ends."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    def announce(bound: int) -> None:
        sys.stdout.write(f"{bound}\n")
        sys.stdout.flush()

    asyncio.run(_serve(LOOPBACK, port, announce))


def _end_with_parent(parent: int) -> None:
    """End this process when the parent is gone: even kill -9 closes its end of our stdin.

    Other children of the parent may hold that end open, so the parent's id is checked too.
    """
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], WATCH_SECONDS)
        if ready and not os.read(0, 4096):
            break
    # sys.exit would end this thread only, and open connections must not delay the end.
    os._exit(0)


async def _serve(
    host: str, port: int, announce: Callable[[int], None], token: str | None = None
) -> None:
    runner = web.AppRunner(application(token), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        announce(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(arguments: list[str] | None = None) -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m lion.simulator.server")
    parser.add_argument("--host", default=LOOPBACK, help=f"other than loopback: needs {TOKEN}")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--child", action="store_true", help="loopback only; end with the parent")
    options = parser.parse_args(arguments)
    if options.child:
        _serve_as_child(options.port)
        return
    try:
        serve_teacher(options.host, options.port, os.environ.get(TOKEN))
    except LionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
