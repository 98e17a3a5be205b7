"""Models on the Hugging Face hub: files, sizes and commits, and errors as ModelError.

transformers downloads the weights when a student is loaded. With HF_HUB_OFFLINE set, the local
cache is used instead. Does not import torch.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lion.config.connection_variables import broken_connection_variable
from lion.config.settings import Student
from lion.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

CONVERT = (
    "Pickled weights are refused: load them once where you trust them and call "
    "`save_pretrained`, which writes safetensors."
)
_SECONDS = 10.0


def may_be_id(name: str) -> bool:
    """Return whether `name` has the form of a hub id; sends no request."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # no __all__

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not name.startswith((".", "~", "/"))


def cached(name: str, revision: str | None) -> Path | None:
    """Return the folder of the cached files where HF_HUB_OFFLINE is set, else None.

    Raises ModelError where it is set and the files are not cached.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        return None
    with translated(name):
        return Path(
            huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True)
        )


def downloaded(name: str, revision: str | None) -> Path | None:
    """Return the folder of a model that lies in the hub's cache with its weights, else None.

    Sends no request. A rehearsal (`lion check`) downloads a model without its weights.
    """
    import huggingface_hub

    config = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder is not None and any(folder.glob("*.safetensors")) else None


def listing(name: str, revision: str | None) -> set[str]:
    """Return the names of a model's files. Raises ModelError."""
    return {file.rfilename for file in _info(name, revision).siblings or []}


def weight_bytes(name: str, revision: str | None) -> int:
    """Return the size of a model's safetensors on the hub. Raises ModelError."""
    files = _info(name, revision, sizes=True).siblings or []
    return sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))


def pinned(settings: Student) -> str | None:
    """Return the commit of `settings.revision` on the hub. Raises ModelError.

    A revision that is a commit is returned without a request.
    """
    name, revision = settings.model, settings.revision
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    folder = cached(name, revision)
    # the name of a snapshot's folder is its commit
    return _info(name, revision).sha if folder is None else folder.name


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn errors of transformers and the hub while loading `name` into ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # tokenizers raise `Exception` itself, model classes any kind
        raise ModelError(f"{name}: {_explain(error, local=Path(name).is_dir())}") from error


def _info(name: str, revision: str | None, *, sizes: bool = False) -> "ModelInfo":
    import huggingface_hub

    with translated(name):
        return huggingface_hub.model_info(
            name, revision=revision, files_metadata=sizes, timeout=_SECONDS
        )


def _explain(error: BaseException, *, local: bool) -> str:
    """Return what happened and what to do.

    By the first cause with an entry in `_advice`, else by the environment of connections, else by
    the words of the error. A `local` folder needs no connection.
    """
    cause: BaseException | None = error
    while cause is not None:
        for kind, advice in _advice():
            if isinstance(cause, kind):
                return advice
        cause = cause.__cause__ or cause.__context__
    variable = None if local else broken_variable(os.environ)
    if variable is not None:
        return variable
    text = " ".join(str(error).split())
    for mark, advice in _MARKS:
        if mark in text:
            return advice.format(text=text[:200])
    return f"cannot be loaded: {text:.400}. Check `student.model`, or try another one."


_MARKS = (
    # what transformers and tokenizers write -> what happened and what to do; the first match counts
    (
        "trust_remote_code",
        "wants to run its own code. Read it, then set `student.trust_remote_code: true`.",
    ),
    (
        "size mismatch",
        "its weights have other shapes than its config.json says. Download both again, or save "
        "the whole model.",
    ),
    (
        "ignore_mismatched_sizes",
        "its weights have other shapes than its config.json says. Download both again, or save "
        "the whole model.",
    ),
    ("deserializing header", "damaged safetensors ({text}). Download them again."),
    ("safetensors", f"no safetensors weights that can be read ({{text}}). {CONVERT}"),
    (
        "untagged enum",
        "its tokenizer.json is of another version of the library tokenizers, or damaged ({text}). "
        "Upgrade tokenizers, or save the tokenizer again.",
    ),
    *(
        (
            library,
            "its tokenizer has no tokenizer.json, and the library for its other files is not "
            "installed. Run `pip install sentencepiece protobuf` (tiktoken for some), or load and "
            "save the tokenizer where they are.",
        )
        for library in ("sentencepiece", "SentencePiece", "tiktoken")
    ),
    (
        "does not recognize this architecture",
        "of an architecture that this transformers does not know ({text}). Upgrade transformers, "
        "or name another model.",
    ),
    (
        "Unrecognized configuration class",
        "no causal language model ({text}). Name a decoder that generates text.",
    ),
    ("out of memory", "does not fit in memory ({text}). Set `student.dtype: bfloat16`."),
)


def broken_variable(environment: Mapping[str, str]) -> str | None:
    """Return which variable keeps the hub from being reached and what to do, or None."""
    if not environment.get("HF_TOKEN", "").isascii():
        return "HF_TOKEN holds a character that no token has. Set it again, without quotes."
    return broken_connection_variable(environment)


def _advice() -> list[tuple[type[BaseException], str]]:
    """Return the errors of the hub's library with advice, subclasses first."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # no __all__

    return [
        (errors.GatedRepoError, "gated on the hub. Accept its terms there and set HF_TOKEN."),
        (errors.RevisionNotFoundError, "no such revision on the hub. Fix `student.revision`."),
        (
            errors.RepositoryNotFoundError,
            "not on the hub, or private. Fix `student.model`, or set HF_TOKEN.",
        ),
        (
            errors.LocalEntryNotFoundError,
            "not in the cache, and the hub cannot be reached. Go online, unset HF_HUB_OFFLINE, "
            "pin student.revision to a commit that is cached, or name a folder.",
        ),
        (
            errors.OfflineModeIsEnabled,
            "not in the cache, and HF_HUB_OFFLINE is set. Unset it once, or name a folder.",
        ),
        (HTTPError, "the hub cannot be asked. Go online, or set HF_HUB_OFFLINE=1 if cached."),
    ]
