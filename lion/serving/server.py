"""`lion serve-student`: a checkpoint behind an OpenAI-compatible server.

The student is exported first, so that the server has merged weights, chat template and stop tokens;
it is served under the name that a stage asks for. The engine is vLLM if installed, else
`transformers serve` with its continuous batching.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lion import console
from lion.config import project
from lion.config.addresses import TOKEN, is_loopback
from lion.config.settings import Settings
from lion.errors import ModelError
from lion.serving import export
from lion.student.fingerprint import served_name


def serve_student(student: Path, iteration: str, settings: Settings, host: str, port: int) -> int:
    """Serve until interrupted; return the server's exit code. Raises ModelError."""
    name = served_name(student, iteration)
    words = server_command(name, host, port)
    environment = guarded(host, Path(words[0]).name, os.environ)
    folder = prepared(student, name, settings)
    console.say(f"{name} at http://{host}:{port}/v1, by {Path(words[0]).name}")
    if settings.answering.form == "schema" and Path(words[0]).name != "vllm":
        console.say(
            "answering.form: schema is not kept to here: `transformers serve` ignores "
            "response_format. `pip install vllm`, whose server keeps to it."
        )
    done = subprocess.run(words, cwd=folder.parent, env=environment, check=False)  # noqa: S603  # our own words
    return done.returncode


def guarded(host: str, engine: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the server's environment; off loopback vLLM gets the token in its own variable.

    Raises ModelError if others could reach a server without a token.
    """
    token = environment.get(TOKEN)
    if is_loopback(host):
        return dict(environment)
    if not token:
        raise ModelError(f"{host} can be reached by others: set {TOKEN} to what they have to send")
    if engine != "vllm":
        raise ModelError(
            f"{host} can be reached by others, and `transformers serve` asks for no token. Serve "
            "on loopback behind a proxy that does, or `pip install vllm`."
        )
    return {**environment, "VLLM_API_KEY": token}


def prepared(student: Path, name: str, settings: Settings) -> Path:
    """Export the student to `.lion/served/NAME` unless it exists; remove other exports.

    The name holds a hash of the student's bytes.
    """
    folder = project.home() / "served" / name
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    if not folder.is_dir():
        export.export_student(student, settings.student, folder)
    return folder


def server_command(name: str, host: str, port: int) -> list[str]:
    """Return the command line that serves the folder `name` under that name.

    Raises ModelError if no engine is installed.
    """
    place = ["--host", host, "--port", str(port)]
    scripts = Path(sys.executable).parent
    if importlib.util.find_spec("vllm") is not None:
        return [str(scripts / "vllm"), "serve", name, "--served-model-name", name, *place]
    missing = [
        package for package in ("fastapi", "uvicorn") if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise ModelError(
            f"no engine to serve with: `transformers serve` lacks {', '.join(missing)}. Run "
            "`pip install vllm` where there is a GPU, else `pip install 'transformers[serving]'`."
        )
    return [str(scripts / "transformers"), "serve", name, *place]
