"""Servers that nobody here wrote: their replies byte for byte, and one of them at work.

The replies of vLLM follow `ChatMessage`, `ChatCompletionResponseChoice` and `UsageInfo` in the
protocol.py files of its vllm/entrypoints (what was `reasoning_content` is `reasoning` since 0.11:
its docs, features/reasoning_outputs) and FINISH_REASON_STRINGS of vllm/v1/engine/__init__.py; those
of llama.cpp `to_json_oaicompat_chat` of tools/server/server-task.cpp; that of `transformers serve`
was taken from a running 5.23.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures import Configure
from polling import wait_until

from lion.config.settings import Endpoint
from lion.errors import EndpointError
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Reply, Request, Usage


def vllm(message: dict[str, Any], finish_reason: str | None, usage: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {
            "role": "assistant",
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            **message,
        },
        "logprobs": None,
        "finish_reason": finish_reason,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }
    return json.dumps(
        {
            "id": "chatcmpl-0e9f43a01be04a7e",
            "object": "chat.completion",
            "created": 1790000000,
            "model": "Qwen/Qwen3-8B",
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
            "metrics": None,
        }
    ).encode()


VLLM_USAGE = {
    "prompt_tokens": 19,
    "total_tokens": 147,
    "completion_tokens": 128,
    "prompt_tokens_details": None,
}


def llama_cpp(message: dict[str, Any], finish_reason: str, **extra: Any) -> bytes:
    document = {
        "choices": [
            {
                "finish_reason": finish_reason,
                "index": 0,
                "message": {"role": "assistant", **message},
            }
        ],
        "created": 1790000000,
        "model": "gpt-3.5-turbo",
        "system_fingerprint": "b8681-Debian",
        "object": "chat.completion",
        "usage": {"completion_tokens": 11, "prompt_tokens": 14, "total_tokens": 25},
        "id": "chatcmpl-DwWJriZJ4TnyeMBHO3WmhUJhYUqQg1RP",
        "timings": {"prompt_n": 14, "prompt_ms": 53.734, "predicted_per_second": None},
        **extra,
    }
    return json.dumps(document).encode()


TRANSFORMERS = (
    b'{"id":"3833d356-9803-4621-b0a0-67259d78a3ba","choices":[{"finish_reason":"length","index":0,'
    b'"message":{"content":"2542Wh\xef\xbf\xbd.o","role":"assistant"}}],"created":1795390879,'
    b'"model":"/models/tiny@main","object":"chat.completion","usage":{"completion_tokens":8,'
    b'"prompt_tokens":19,"total_tokens":27}}'
)


@pytest.mark.parametrize(
    ("raw", "text", "finish_reason", "usage"),
    [
        (vllm({"content": "Yes."}, "stop", VLLM_USAGE), "Yes.", "stop", Usage(19, 128)),
        (
            vllm({"content": "\n\nYes.", "reasoning": "Hm."}, "stop", VLLM_USAGE),
            "\n\nYes.",
            "stop",
            Usage(19, 128),
        ),
        (
            vllm({"content": "Yes.", "reasoning_content": "Hm.", "tool_calls": []}, "stop", None),
            "Yes.",
            "stop",
            None,
        ),
        (
            vllm({"content": "Ye"}, "length", {**VLLM_USAGE, "completion_tokens": None}),
            "Ye",
            "length",
            None,
        ),
        (vllm({"content": "Yes."}, None, VLLM_USAGE), "Yes.", "unknown", Usage(19, 128)),
        (llama_cpp({"content": "Yes."}, "stop"), "Yes.", "stop", Usage(14, 11)),
        (
            llama_cpp({"content": "Y", "reasoning_content": "Hm."}, "length", __verbose={"a": []}),
            "Y",
            "length",
            Usage(14, 11),
        ),
        (
            llama_cpp({"content": "half of what was"}, "content_filter"),
            "half of what was",
            "content_filter",
            Usage(14, 11),
        ),
        (TRANSFORMERS, "2542Wh\ufffd.o", "length", Usage(19, 8)),
    ],
)
def test_answers_are_read_without_what_stands_beside_them(
    raw: bytes, text: str, finish_reason: str, usage: Usage | None
) -> None:
    """Reasoning, timings and fields that no protocol knows are passed over."""
    found = protocol.parse(raw)
    assert isinstance(found, Reply)
    assert (found.text, found.finish_reason, found.usage) == (text, finish_reason, usage)


@pytest.mark.parametrize(
    ("raw", "reason", "is_final"),
    [
        (vllm({"content": None, "reasoning": "Hm, hm"}, "length", VLLM_USAGE), "cap_spent", True),
        (llama_cpp({"content": "", "reasoning_content": "Hm"}, "length"), "cap_spent", True),
        (llama_cpp({"content": ""}, "stop"), "empty_reply", False),
        (llama_cpp({"content": None}, "tool_calls"), "tool_call", True),
        (vllm({"content": "half an ans"}, "abort", VLLM_USAGE), "broken_off", False),
        (vllm({"content": "half an ans"}, "error", VLLM_USAGE), "broken_off", False),
        (vllm({"content": None}, "content_filter", VLLM_USAGE), "content_filter", True),
    ],
)
def test_what_is_no_answer_is_a_failure_with_its_tokens(
    raw: bytes, reason: str, is_final: bool
) -> None:
    """A model that only thought, an engine that gave up half way: never an answer to learn from."""
    found = protocol.parse(raw)
    assert isinstance(found, Failure)
    assert (found.reason, protocol.is_final(found)) == (reason, is_final)
    assert protocol.usage(raw) is not None


# --- a server at work ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Serve a tiny random model with `transformers serve`; yield its address and the model."""
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("fastapi") is None:
        pytest.skip("`transformers serve` needs fastapi and uvicorn: pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("served") / "model"
    save_tiny(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1", "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.kill()
        process.wait()


def save_tiny(folder: Path) -> None:
    import torch
    from tiny import tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    def serves() -> bool:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=10):
                return True
        except OSError:
            return False

    wait_until(serves, f"a server at {url}", interval=0.1)


@pytest.mark.slow
def test_transformers_serve_is_asked_like_any_other(
    served: tuple[str, str], configure: Configure, tmp_path: Path
) -> None:
    """Answers, tokens and the ledger; and no Batch API, which is told."""
    url, model = served
    endpoint = Endpoint(
        base_url=url, model=model, api_key_env=None, send_seed=True, request={"max_tokens": 8}
    )
    api = configure({"api.concurrency": 2, "api.batch_least": 1, "api.batch_tail": 0.0}).api
    asked = [Request(({"role": "user", "content": f"What is {n} plus 2?"},)) for n in range(4)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with LLMClient(endpoint, api, ledger, 0) as client:
            found = client.complete(asked)
        replies = [one for one in found if isinstance(one, Reply)]
        assert len(replies) >= 3  # random weights may write white space alone
        assert {one.finish_reason for one in replies} <= {"length", "stop"}
        assert all(one.usage and one.usage.completion <= 8 for one in replies)
        assert all(one.usage and one.usage.prompt > 8 for one in replies)
        assert client.usage.replies_without_usage == 0
        with LLMClient(endpoint, api, ledger, 0) as later:
            assert later.complete(asked) == found
            assert later.usage.calls == 0
        with (
            LLMClient(endpoint, api, ledger, 1, mode="batch") as client,
            pytest.raises(EndpointError, match=r"no /v1/files \(HTTP 404\)"),
        ):
            client.complete(asked)
