"""What a killed task goes on from: its key, and the folder that is called by it.

The folders of a stage lie in `.lion/unfinished/`, outside what DVC removes. Equal keys mean equal
results, so what another task left is never found; it is removed when the next one begins, and all
of it when the stage ends well. What lies in a folder is its task's (`response_shards`, `states`).
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lion.student.checkpoint import Source
from lion.student.fingerprint import fingerprint

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "vllm")
_KEY_LENGTH = 32  # hexadecimal digits


def task_key(source: Source, inputs: Iterable[bytes], decisive: Any, code: Sequence[str]) -> str:
    """Return the name of a task: equal where everything that decides its result is.

    `inputs` are hashed in their order, each with its length; `decisive` is what else decides, as
    JSON can hold it, and `code` names the deciding files, by their paths in `lion`.
    """
    digest = hashlib.sha256(fingerprint(source).encode())
    for name in code:
        digest.update(hashlib.sha256((_PACKAGE / name).read_bytes()).digest())
    digest.update(json.dumps([decisive, _versions()], sort_keys=True).encode())
    for part in inputs:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_KEY_LENGTH]


def forget_others(folder: Path) -> None:
    """Remove what other tasks of the stage left beside `folder`: inputs, params or code changed."""
    for other in folder.parent.glob("[0-9a-f]" * _KEY_LENGTH):
        if other != folder:
            shutil.rmtree(other)


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
