"""A student on disk: the meaning of its folder, loading and saving.

A student's folder is one of

* a Hugging Face checkpoint: config.json, *.safetensors, tokenizer files;
* an adapter: adapter_config.json and adapter_model.safetensors, which name their base;
* a pointer: pointer.json, which names a hub id, another folder or another iteration's student;
  14 GB are not copied.

Weights are read from and written to safetensors only, because a pickle can run code. torch and
transformers are imported lazily, inside the functions that load or save: `resolve` needs neither.
"""

import gc
import importlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from lion.config.settings import Student
from lion.errors import DataError, ModelError
from lion.records import jsonl, output_marks
from lion.records.rows import Row
from lion.student.hub import translated

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Read when torch is imported; every module that loads torch imports this one first. By default,
# waiting threads of torch spin: with other work on the machine a step takes ten times longer.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

POINTER = "pointer.json"
CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
PROMPT_FORMAT = "prompt_format.json"
"""The file that records the format that a student was tuned in (`student_formatter`)."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The content of pointer.json: where the weights of a folder are.

    `kind` is the type of `target`: `hub` an id (with `revision`), `folder` a path (relative to the
    working directory), `student` the name of an iteration (with the `reason`).
    """

    kind: Literal["hub", "folder", "student"]
    target: str
    revision: str | None = None
    reason: str | None = None

    def write(self, folder: Path) -> None:
        """Write `folder`/pointer.json."""
        jsonl.write_document(folder / POINTER, self._to_row())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `folder`/pointer.json. Raises ModelError."""
        path = folder / POINTER
        try:
            row = jsonl.read_document(path)
        except DataError as error:
            raise ModelError(str(error)) from error
        kind = row.get("kind")
        key = _TARGETS.get(kind) if isinstance(kind, str) else None
        target = row.get(key) if key else None
        if not isinstance(target, str) or not target:
            raise ModelError(
                f"{path}: expected a `kind` of {', '.join(_TARGETS)} with its "
                f"{', '.join(_TARGETS.values())}. Rerun the stage that writes it."
            )
        return cls(kind, target, row.get("revision"), row.get("reason"))  # type: ignore[arg-type]  # a key of _TARGETS

    def _to_row(self) -> Row:
        row: Row = {"kind": self.kind, _TARGETS[self.kind]: self.target}
        if self.kind == "hub":
            row["revision"] = self.revision
        if self.kind == "student":
            row["reason"] = self.reason
        return row


_TARGETS = {"hub": "model", "folder": "path", "student": "iteration"}


@dataclass(frozen=True, slots=True)
class Source:
    """The location of a student's weights: a checkpoint folder or a hub id, and maybe an adapter.

    `base` is a path where `revision` is None and that folder exists, else a hub id.
    """

    base: str
    revision: str | None = None
    adapter: Path | None = None


def resolve(folder: Path) -> Source:
    """Follow pointers from `folder` to the weights.

    A pointer to another iteration is relative: from data/3/student, iteration 2 is data/2/student.
    Raises ModelError for a missing folder, a circle, or a folder that is no student.
    """
    seen: list[Path] = []
    while True:
        if folder.absolute() in seen:
            chain = " -> ".join(str(path) for path in [*seen, folder.absolute()])
            raise ModelError(f"pointers lead in a circle: {chain}. Rerun the stage of one of them.")
        seen.append(folder.absolute())
        if not folder.is_dir():
            raise ModelError(
                f"{folder}: no such student. `dvc checkout` or `dvc pull` may have it."
            )
        if (folder / POINTER).is_file():
            pointer = Pointer.read(folder)
            if pointer.kind == "hub":
                return Source(pointer.target, pointer.revision)
            folder = _next(folder, pointer)
        elif (folder / ADAPTER_CONFIG).is_file():
            return _resolve_adapter(folder)
        elif (folder / CONFIG).is_file():
            return Source(str(folder))
        else:
            raise ModelError(
                f"{folder}: neither {CONFIG}, {ADAPTER_CONFIG} nor {POINTER} lies there. "
                "Point `student.model` at a Hugging Face checkpoint, or rerun the stage."
            )


def load_libraries(*more: str) -> None:
    """Import torch, the models of transformers and the modules of `more`, a fifth faster.

    Importing 3,000 modules triggers many garbage collections that free nothing. Collection is
    disabled meanwhile, and the imported objects are frozen.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        for name in ("torch", "transformers.modeling_utils", "transformers.generation", *more):
            importlib.import_module(name)
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def load_student(
    folder: Path, settings: Student
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return the student for inference, and its tokenizer. Raises ModelError."""
    return load_model(folder, settings), load_tokenizer(folder, settings)


def load_model(folder: Path, settings: Student) -> "PreTrainedModel":
    """Return the student for inference: weights in `settings.dtype`, an adapter merged in.

    Raises ModelError.
    """
    source = resolve(folder)
    model = load_base(source, settings, settings.dtype)
    if source.adapter is not None:
        model = merged(attach(model, source.adapter, trainable=False))
    model.train(False)
    return model


def context_length(config: Any) -> int | None:
    """Return the model's context length in tokens, None where its config has no limit."""
    limit: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit


def student_context_length(folder: Path, settings: Student) -> int | None:
    """Return the context length of the student in `folder`. Raises ModelError."""
    return context_length(load_config(resolve(folder), settings))


def base_source(settings: Student) -> Source:
    """Return where the base student that params name lies. Raises ModelError."""
    folder = Path(settings.model).expanduser()
    return resolve(folder) if folder.is_dir() else Source(settings.model, settings.revision)


def load_config(source: Source, settings: Student) -> Any:
    """Return the configuration (transformers') of a student's base. Raises ModelError."""
    from transformers import AutoConfig

    with translated(source.base):
        return AutoConfig.from_pretrained(
            source.base,
            revision=source.revision,
            trust_remote_code=settings.trust_remote_code,
        )


def device_kind() -> str:
    """Return the device type, such as `cpu` or `cuda`; kernels differ in their last bits."""
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return "cpu" if accelerator is None else accelerator.type


def load_tokenizer(folder: Path, settings: Student) -> "PreTrainedTokenizerBase":
    """Return the student's tokenizer (an adapter's is its base's). Raises ModelError."""
    return tokenizer_of(resolve(folder), settings)


def tokenizer_of(source: Source, settings: Student) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a student's base. Raises ModelError."""
    from transformers import AutoTokenizer

    with translated(source.base):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source.base,
            revision=source.revision,
            trust_remote_code=settings.trust_remote_code,
        )
    return tokenizer


def load_base(
    source: Source, settings: Student, dtype: str, quantization: Any = None
) -> "PreTrainedModel":
    """Return the model without its adapter, with weights in `dtype`. Raises ModelError.

    `quantization` is a quantization config of transformers.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _hide_progress_bars()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)  # results depend on it: sums are split by thread
    with translated(source.base):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.base,
            revision=source.revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=settings.trust_remote_code,
            quantization_config=quantization,
            output_loading_info=True,
        )
    model: PreTrainedModel
    model, report = loaded
    if type(model).__module__.startswith("transformers."):  # remote code may compute weights
        _refuse_missing_weights(source.base, sorted(report["missing_keys"]))
    return model


def _refuse_missing_weights(name: str, missing: Sequence[str]) -> None:
    """Raise ModelError for weights that the checkpoint lacks: transformers draws them at random."""
    if missing:
        raise ModelError(
            f"{name}: {len(missing)} weights are not in its safetensors, the first {missing[0]}. "
            "Download it again, or save the whole model."
        )


def attach(model: "PreTrainedModel", adapter: Path, *, trainable: bool) -> Any:
    """Return `model` with an adapter (a PeftModel). Raises ModelError."""
    peft = import_peft()
    with translated(str(adapter)), peft_warning_suppressed():
        return peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)


def merged(adapted: Any) -> "PreTrainedModel":
    """Return the base model of a PeftModel with the adapter merged into its weights."""
    model: PreTrainedModel = adapted.merge_and_unload()
    model.requires_grad_(True)  # peft had frozen the base model
    return model


def import_peft() -> Any:
    """Return the optional module `peft`. Raises ModelError where it is not installed."""
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            "adapters need the library peft. In Lion's folder, run `pip install -e '.[lora]'`."
        ) from error
    return peft


@contextmanager
def peft_warning_suppressed() -> Iterator[None]:
    """Suppress a deprecation warning of transformers while peft adds an adapter to a model.

    peft 0.21 reads `is_gradient_checkpointing` of every model, which transformers 5.23 renamed;
    no argument makes it read the new name.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is dep", FutureWarning)
        yield


def save(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    state_dict: "Mapping[str, torch.Tensor] | None" = None,
    prompt_format: str | None = None,
) -> None:
    """Write `model` to `folder`, which appears complete or not at all.

    A PeftModel is written as its adapter, which names its base; other models as a checkpoint with
    the tokenizer. `state_dict` replaces the model's weights where several processes hold parts.
    `prompt_format` is the format to record that it was tuned in, None for a student that was not.
    """
    _hide_progress_bars()
    with replacing_folder(folder) as temporary:
        model.save_pretrained(temporary, state_dict=state_dict)
        if (temporary / ADAPTER_CONFIG).is_file():
            _make_adapter_reproducible(temporary)
        else:
            tokenizer.save_pretrained(temporary)
            if state_dict:
                _record_dtype(temporary, next(iter(state_dict.values())))
        if prompt_format is not None:
            jsonl.write_document(temporary / PROMPT_FORMAT, {"prompt_format": prompt_format})


def stopped(folder: Path) -> str | None:
    """Return the reason of a pointer to an earlier iteration's student, or None for other folders.

    Raises ModelError.
    """
    if not (folder / POINTER).is_file():
        return None
    pointer = Pointer.read(folder)
    return pointer.reason if pointer.kind == "student" else None


def _hide_progress_bars() -> None:
    """Disable the progress bars of transformers; Lion has its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def _next(folder: Path, pointer: Pointer) -> Path:
    if pointer.kind == "folder":
        return Path(pointer.target).expanduser()
    return folder.parent.parent / pointer.target / folder.name


def _resolve_adapter(folder: Path) -> Source:
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{folder / ADAPTER_CONFIG}: no `base_model_name_or_path`. Write its base there."
        )
    if not Path(base).is_dir():
        return Source(base, config.get("revision"), folder)
    source = resolve(Path(base))
    if source.adapter is not None:
        raise ModelError(
            f"{folder}: its base {base} is an adapter too. Merge that one into a checkpoint first."
        )
    return Source(source.base, source.revision, folder)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`, which it replaces at the end.

    Temporary folders of killed writers are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in jsonl.leftovers(folder):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        new = Path(name) / "new"
        new.mkdir()
        yield new
        for path in new.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if folder.exists():
            # Removed with the temporary folder, also after an error.
            folder.rename(Path(name) / "old")
        output_marks.remember_output(folder, new)
        new.rename(folder)


def _record_dtype(folder: Path, weight: "torch.Tensor") -> None:
    """Write the dtype of the saved weights to config.json; the model's own may differ."""
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(weight.dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _make_adapter_reproducible(folder: Path) -> None:
    """Sort the lists that peft builds from sets, and remove its empty model card."""
    path = folder / ADAPTER_CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    for key, value in config.items():
        if isinstance(value, list):
            config[key] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)
