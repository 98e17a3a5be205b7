"""A student looked at before it is loaded: what its folder, or the hub's listing, lacks.

Reads file names and configurations; loads no weights and imports no torch.
"""

import json
from pathlib import Path

from lion.config.settings import EMBEDDED, Student
from lion.errors import ModelError
from lion.student import hub
from lion.student.checkpoint import ADAPTER_CONFIG, CONFIG, POINTER, resolve

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "spiece.model")
_PICKLES = (".bin", ".pt", ".pth")


def checkpoint_problems(settings: Student, *, ask_hub: bool) -> list[str]:
    """Return what is wrong with `settings.model`, one line each with its next action.

    Of a hub model its listing is looked at (its cache where HF_HUB_OFFLINE is set), or nothing
    where `ask_hub` is false.
    """
    if settings.model == EMBEDDED:
        return []
    path = Path(settings.model).expanduser()
    if path.is_dir():
        return _folder_problems(settings.model, path)
    if path.exists():
        return [f"student.model: {settings.model} is no folder. Name the checkpoint's folder."]
    if not hub.may_be_id(settings.model):
        return [
            f"student.model: there is no folder {settings.model}. Mend the path, or name a "
            "Hugging Face id such as `Qwen/Qwen3-0.6B`."
        ]
    return _hub_problems(settings.model, settings.revision) if ask_hub else []


def student_bytes(settings: Student, *, ask_hub: bool) -> int:
    """Return the size of the student's weights on disk, 0 where it cannot be told."""
    path = Path(settings.model).expanduser()
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors"))
    if settings.model == EMBEDDED or not ask_hub or not hub.may_be_id(settings.model):
        return 0
    try:
        folder = hub.cached(settings.model, settings.revision)
        if folder is not None:
            return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        return hub.weight_bytes(settings.model, settings.revision)
    except ModelError:
        return 0  # `problems` tells why the hub does not answer


def _hub_problems(name: str, revision: str | None) -> list[str]:
    try:
        folder = hub.cached(name, revision)
        if folder is not None:
            return _folder_problems(name, folder)
        return _listing_problems(name, hub.listing(name, revision))
    except ModelError as error:
        return [f"student.model: {error}"]


def _folder_problems(name: str, folder: Path) -> list[str]:
    if (folder / POINTER).is_file() or (folder / ADAPTER_CONFIG).is_file():
        try:
            source = resolve(folder)
        except ModelError as error:
            return [f"student.model: {error}"]
        base = Path(source.base)
        return _folder_problems(source.base, base) if base.is_dir() else []
    names = {path.name for path in folder.iterdir()}
    problems = _listing_problems(name, names)
    if not problems and not _has_eos(folder):
        problems.append(
            f"student.model: {name} names no end-of-sequence token, so its answers would not end. "
            "Set `eos_token` in its tokenizer_config.json."
        )
    return problems


def _listing_problems(name: str, files: set[str]) -> list[str]:
    """Return what is missing in a checkpoint that holds these files."""
    problems = []
    if CONFIG not in files:
        problems.append(f"student.model: {name} has no {CONFIG}. Name a Hugging Face checkpoint.")
    if not any(file.endswith(".safetensors") for file in files):
        pickled = any(file.endswith(_PICKLES) for file in files)
        problems.append(
            f"student.model: {name} has no *.safetensors. "
            + (hub.CONVERT if pickled else "Name a complete checkpoint.")
        )
    if not files.intersection(_TOKENIZERS):
        problems.append(
            f"student.model: {name} has no tokenizer. Save its tokenizer beside the weights."
        )
    return problems


def _has_eos(folder: Path) -> bool:
    places = (
        ("tokenizer_config.json", "eos_token"),
        ("special_tokens_map.json", "eos_token"),
        ("generation_config.json", "eos_token_id"),
        (CONFIG, "eos_token_id"),
    )
    return any(_value(folder / file, key) is not None for file, key in places)


def _value(path: Path, key: str) -> object:
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}. Mend it, or save the model again.") from error
    return document.get(key) if isinstance(document, dict) else None
