"""Problems of the student: its checkpoint, what its tuning needs, and the disk for all students.

Reads file names, configurations and the hub's listing; loads no weights and imports no torch.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import EMBEDDED, Settings, Student, Tune
from lion.errors import ModelError
from lion.student import hub
from lion.student.checkpoint import ADAPTER_CONFIG, CONFIG, POINTER, base_source, resolve
from lion.student.weights import WeightHeaders, refuse_pointer


def student_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    """Yield problems of the base model's files, or with `ask_hub` of its listing on the hub."""
    try:
        yield from checkpoint_problems(settings.student, ask_hub=ask_hub)
    except ModelError as error:
        yield str(error)


_SEEDS = 1 << 32  # numpy's


def random_seed_problems(settings: Settings) -> Iterator[str]:
    """Yield a seed that numpy does not take: an iteration adds its depth to it."""
    deepest = max((settings.depth(name) for name in settings.iterations), default=0)
    if settings.random_seed + deepest >= _SEEDS:
        yield (
            f"random_seed: {settings.random_seed} is too large for numpy. Set it below "
            f"{_SEEDS - deepest}."
        )


def tune_problems(settings: Settings) -> Iterator[str]:
    """Yield missing libraries, a missing device, and a missing launcher file."""
    methods = {settings.tune_at(name).method for name in ("0", *settings.iterations)}
    if methods - {"full"} and importlib.util.find_spec("peft") is None:
        yield (
            "tune.method: lora and qlora need the library peft. In Lion's folder, run "
            "`pip install -e '.[lora]'`."
        )
    if "qlora" in methods and importlib.util.find_spec("bitsandbytes") is None:
        yield (
            "tune.method: qlora needs the library bitsandbytes. In Lion's folder, run "
            "`pip install -e '.[qlora]'`."
        )
    if settings.student.dtype == "float16" and not _has_accelerator():
        yield "student.dtype: float16 trains on a GPU only; set float32 or bfloat16"
    config = settings.hardware.launcher.config
    if config is not None and not Path(config).is_file():
        yield f"hardware.launcher.config: there is no file {config}. Name one of launchers/."


def _has_accelerator() -> bool:
    """Return whether torch sees a GPU, asked in a process: importing torch takes seconds."""
    look = "import sys, torch; sys.exit(not torch.accelerator.is_available())"
    return subprocess.run([sys.executable, "-c", look], check=False).returncode == 0  # noqa: S603 - our own words


_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "spiece.model")
_OTHER_WEIGHTS = (
    *((suffix, hub.CONVERT) for suffix in (".bin", ".pt", ".pth", ".ckpt")),
    (
        ".gguf",
        "A GGUF is quantized for llama.cpp and cannot be trained: name the checkpoint that it was "
        "made from.",
    ),
    *(
        (suffix, "Only the weights of PyTorch are read: name a checkpoint in safetensors.")
        for suffix in (".h5", ".msgpack", ".npz", ".onnx", ".mlmodel")
    ),
)
"""Files of weights that are not read, with what to do; the first suffix counts."""


def checkpoint_problems(settings: Student, *, ask_hub: bool) -> list[str]:
    """Return what is wrong with `settings.model`, one line each with its next action.

    A model of the hub is checked by its listing (by its cache where HF_HUB_OFFLINE is set), or not
    at all where `ask_hub` is false.
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
            f"student.model: there is no folder {settings.model}. Fix the path, or name a "
            "Hugging Face id such as `Qwen/Qwen3-0.6B`."
        ]
    return _hub_problems(settings.model, settings.revision) if ask_hub else []


def checkpoint_folder(settings: Student) -> Path | None:
    """Return the folder of the base's weights on this disk, the hub's cache among the places."""
    try:
        base = base_source(settings).base
        if Path(base).is_dir():
            return Path(base)
        return hub.downloaded(base, settings.revision) if hub.may_be_id(base) else None
    except ModelError:
        return None  # `checkpoint_problems` says what is wrong


def student_bytes(settings: Student, *, ask_hub: bool) -> int:
    """Return the size of the student's weights in bytes, or 0 where it is unknown."""
    if settings.model == EMBEDDED:
        return 0
    folder = checkpoint_folder(settings)
    if folder is not None:
        return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not ask_hub or not hub.may_be_id(settings.model):
        return 0
    try:
        return hub.weight_bytes(settings.model, settings.revision)
    except ModelError:
        return 0  # `checkpoint_problems` says why the hub does not answer


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
    if problems:
        return problems
    try:
        layers = WeightHeaders(folder).layers
        for tokenizer in sorted(names.intersection(_TOKENIZERS)):
            refuse_pointer(folder / tokenizer)
    except ModelError as error:
        return [f"student.model: {error}"]
    expected = _value(folder / CONFIG, "num_hidden_layers")
    own_code = _value(folder / CONFIG, "auto_map") is not None  # may share weights of layers
    if isinstance(expected, int) and 0 < layers < expected and not own_code:
        problems.append(
            f"student.model: {name} holds weights of {layers} layers, its {CONFIG} says "
            f"{expected}. Download it again, or save the whole model."
        )
    if not _has_eos(folder):
        problems.append(
            f"student.model: {name} names no end-of-sequence token, so its answers would not end. "
            "Set `eos_token` in its tokenizer_config.json."
        )
    return problems


def _listing_problems(name: str, files: set[str]) -> list[str]:
    """Return the files that a checkpoint with these `files` lacks."""
    problems = []
    if CONFIG not in files:
        problems.append(f"student.model: {name} has no {CONFIG}. Name a Hugging Face checkpoint.")
    if not any(file.endswith(".safetensors") for file in files):
        advice = next(
            (advice for suffix, advice in _OTHER_WEIGHTS if any(f.endswith(suffix) for f in files)),
            "Name a complete checkpoint.",
        )
        problems.append(f"student.model: {name} has no *.safetensors. {advice}")
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
        raise ModelError(f"{path}: not JSON: {error}. Fix it, or save the model again.") from error
    return document.get(key) if isinstance(document, dict) else None


_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_OF_STATE = 3 * _BYTES["float32"]  # a parameter: its weight and AdamW's two moments
_LEAST_FREE = 1 << 30  # bytes: DVC's database, the ledger and one small student
_STATES = 2  # the previous state is kept until the next is written


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Bytes of all students (workspace and DVC's cache), and of one training's states.

    `staying` is the part of `students` that `hardware.keep_students` leaves after the run; all
    adapters stay. 0 where the student's size is unknown (`embedded`, a hub that does not answer).
    """

    students: int
    staying: int
    states: int


def disk_needed(settings: Settings, *, ask_hub: bool) -> DiskNeed:
    """Return the bytes of students and of one training's states, by the base's folder."""
    parameters = _parameters(settings.student, ask_hub=ask_hub)
    weights = parameters * _BYTES[settings.student.dtype]
    names = ("0", *settings.iterations, *settings.baselines)
    tunes = [settings.tune_at(name) for name in names]
    full = sum(tune.method == "full" for tune in tunes)
    adapters = [_adapter_parameters(settings, tune) for tune in tunes if tune.method != "full"]
    trained = max([parameters if full else 0, *adapters])
    states = 0 if settings.hardware.save_every is None else _STATES * _OF_STATE * trained
    ends = {*settings.iterations, "0"} - {entry.previous for entry in settings.iterations.values()}
    staying = {"last": len(ends), "best": len(ends) + 1, "all": full}[
        settings.hardware.keep_students
    ] + len(settings.baselines)
    staying = min(staying, full)
    always = 2 * _BYTES["float32"] * sum(adapters)
    return DiskNeed(2 * full * weights + always, 2 * staying * weights + always, states)


def _parameters(settings: Student, *, ask_hub: bool) -> int:
    """Return the student's parameters by its headers; of the hub's by its bytes, in our dtype."""
    folder = checkpoint_folder(settings)
    try:
        if folder is not None:
            return WeightHeaders(folder).parameters
    except ModelError:
        return 0  # `checkpoint_problems` says which file is damaged
    return student_bytes(settings, ask_hub=ask_hub) // _BYTES[settings.dtype]


def _adapter_parameters(settings: Settings, tune: Tune) -> int:
    """Return the size of an adapter; 0 where the base's shapes are not on this disk."""
    folder = checkpoint_folder(settings.student)
    try:
        matrices = WeightHeaders(folder).layer_matrices if folder is not None else []
    except ModelError:
        return 0  # `checkpoint_problems` says which file is damaged
    return tune.lora_rank * sum(rows + columns for rows, columns in matrices)


def disk_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    """Yield a problem if the free disk is less than all students and states need."""
    room = disk_needed(settings, ask_hub=ask_hub)
    needed = max(_LEAST_FREE, room.students + room.states)
    free = shutil.disk_usage(".").free
    if free < needed:
        yield (
            f"disk: {free / 1e9:.1f} GB are free here, the run may need {needed / 1e9:.1f} GB. "
            "Make room (`dvc gc -w` removes what no commit uses)."
        )
