"""The embedded teacher's protocol on a real socket, and its life as a child process."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import openai
import pytest
from polling import wait_until

from lion.errors import AskError
from lion.simulator.server import LARGEST_BODY, running
from lion.simulator.simulated_llm import MODELS, reply

ASK = {
    "model": "oracle-1",
    "messages": [{"role": "user", "content": "reverse c a f b letter by letter"}],
}
SYSTEM = {"role": "system", "content": "You write."}
GIVEN = "[Given instruction q]\nreverse c a f b letter by letter\n[End q]"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as made:
        yield made


def post(url: str, body: object, path: str = "/chat/completions") -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, data=raw), timeout=60) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def test_the_openai_client_gets_the_oracles_reply(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(
        model="oracle-1",
        messages=[
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "sort c a b from a to z"},
        ],
        temperature=0.7,
        max_tokens=1024,
        seed=3,
    )
    assert (done.object, done.created, done.model) == ("chat.completion", 0, "oracle-1")
    (choice,) = done.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "a b c")
    assert choice.finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (2 + 8, 3)
    assert done.usage.total_tokens == 13


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == list(MODELS)


def test_health_is_told(url: str) -> None:
    with urlopen(url.removesuffix("/v1") + "/health", timeout=60) as response:
        assert json.load(response) == {"status": "ok"}


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("limit", "text", "reason"),
    [(2, "b f", "length"), (4, "b f a c", "stop"), (None, "b f a c", "stop")],
)
def test_the_token_limit_cuts_words(
    url: str, field: str, limit: int | None, text: str, reason: str
) -> None:
    status, body = post(url, {**ASK, field: limit})
    assert status == 200
    assert body["choices"][0]["message"]["content"] == text
    assert body["choices"][0]["finish_reason"] == reason
    assert body["usage"]["completion_tokens"] == len(text.split())


def test_the_same_body_is_answered_with_the_same_bytes_and_the_seed_matters(url: str) -> None:
    asked = {**ASK, "messages": [SYSTEM, {"role": "user", "content": GIVEN}]}
    assert post(url, {**asked, "seed": 7}) == post(url, {**asked, "seed": 7})
    assert post(url, asked) == post(url, {**asked, "seed": 0}) == post(url, {**asked, "seed": None})
    replies = {
        post(url, {**asked, "seed": seed})[1]["choices"][0]["message"]["content"]
        for seed in range(9)
    }
    assert len(replies) > 5


def test_the_model_name_selects_the_temper(url: str) -> None:
    question = (
        "[Request q]\nis 4731 odd or even?\n[Answer of Assistant 1 q]\neven\n"
        "[Answer of Assistant 2 q]\neven\n[End q]"
    )
    for name, temper in MODELS.items():
        asked = {"model": name, "messages": [{"role": "user", "content": question}], "seed": 5}
        said = post(url, asked)[1]["choices"][0]["message"]["content"]
        assert said == reply([{"role": "user", "content": question}], 5, temper)


def test_unknown_fields_and_contents_in_parts_are_read(url: str) -> None:
    parts = [
        {"type": "text", "text": "reverse c a f b "},
        {"type": "text", "text": "letter by letter"},
    ]
    status, body = post(
        url,
        {"model": "oracle-1", "messages": [{"role": "user", "content": parts}], "logit_bias": {}},
    )
    assert (status, body["choices"][0]["message"]["content"]) == (200, "b f a c")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        ([], None),
        ({"model": "oracle-1"}, "messages"),
        ({**ASK, "messages": []}, "messages"),
        ({**ASK, "messages": ["hello"]}, "messages"),
        ({**ASK, "messages": [{"role": "user", "content": 5}]}, "messages"),
        ({**ASK, "messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages"),
        ({**ASK, "messages": [{"role": "assistant", "content": "I"}]}, "messages"),
        ({**ASK, "model": 5}, "model"),
        ({**ASK, "seed": "1"}, "seed"),
        ({**ASK, "seed": True}, "seed"),
        ({**ASK, "max_tokens": 0}, "max_tokens"),
        ({**ASK, "stream": True}, "stream"),
        ({**ASK, "n": 2}, "n"),
    ],
)
def test_a_malformed_body_is_refused_in_the_protocols_form(
    url: str, body: object, param: str | None
) -> None:
    status, answer = post(url, body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] == param
    assert answer["error"]["message"]


def test_the_client_sees_an_unknown_model_as_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-x", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    assert "oracle-1" in caught.value.message


@pytest.mark.parametrize(("path", "status"), [("/embeddings", 404), ("/models", 405)])
def test_other_paths_and_methods_are_refused_in_the_same_form(
    url: str, path: str, status: int
) -> None:
    found, answer = post(url, ASK, path)
    assert found == status
    assert answer["error"]["message"]


def test_a_body_over_the_limit_is_refused(url: str) -> None:
    status, answer = post(url, {**ASK, "user": "x" * LARGEST_BODY})
    assert status == 413
    assert answer["error"]["type"] == "invalid_request_error"


def test_one_connection_carries_many_requests(url: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        assert json.load(connection.getresponse())["created"] == 0
    connection.close()


# The process


def answers(url: str) -> bool:
    try:
        with urlopen(url + "/models", timeout=60):
            return True
    except (URLError, OSError):
        return False


def test_the_child_is_gone_when_the_block_is_left_even_by_an_error() -> None:
    with pytest.raises(ZeroDivisionError), running() as url:
        assert url.startswith("http://127.0.0.1:")
        assert answers(url)
        _ = 1 / 0
    assert not answers(url)


HOLD = """
import os, time
from lion.simulator.server import running
with running() as url:
    forked = os.fork() if {fork} else 1
    if forked:
        print(url, forked, flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("fork", [False, True], ids=["alone", "a fork survives it"])
def test_kill_9_of_the_parent_ends_the_child(fork: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(fork=fork)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    url, forked = parent.stdout.readline().split()
    try:
        assert answers(url)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not answers(url), "the child is gone")
    finally:
        if fork:
            os.kill(int(forked), signal.SIGKILL)
        parent.kill()
        parent.stdout.close()


def test_serve_says_its_address_on_stderr_and_ends_quietly_when_interrupted() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "lion.simulator.server"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    url = server.stderr.readline().split()[-1]
    assert url.startswith("http://127.0.0.1:")
    assert answers(url)
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=60) == ("", "")
    assert server.returncode == 0


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(url: str) -> None:
    port = url.removesuffix("/v1").rsplit(":", 1)[-1]
    done = subprocess.run(
        [sys.executable, "-m", "lion.simulator.server", "--port", port],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in done.stderr


def test_a_child_that_does_not_start_is_an_error_that_says_how_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(AskError, match=r"python -m lion\.simulator\.server"), running():
        pass


def test_no_heavy_module_is_imported() -> None:
    code = (
        "import sys, lion.simulator.server as a; "
        "print({'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
