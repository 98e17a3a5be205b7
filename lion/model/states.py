"""States of a training that was killed, and how it goes on from the last complete one.

A state is a checkpoint of `transformers.Trainer` (weights, optimizer, schedule, random generators)
in `.lion/`, outside what DVC removes. Its folder is called by the key of the training: the
examples, the student before, the resolved parameters, the code and the libraries; so a state of
another training is never found. A state counts once its mark is written, which is last.

Weights lie in safetensors. The Trainer writes the rest with `torch.save` and reads it with
`torch.load(weights_only=True)`, which runs no code; the formats of sharded states (FSDP's
SHARDED_STATE_DICT, DeepSpeed) cannot be read so, and no states of such trainings are kept.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from accelerate.utils import parse_flag_from_env
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from lion import jsonl
from lion.model import student as students
from lion.model.chat import Example

_MARK = "complete.json"
_KEPT = 2  # while one is written, the one before is still whole
_LIBRARIES = ("torch", "transformers", "accelerate", "peft")
# what decides a training's weights (tests compare this list with the imports)
_CODE = ("collation.py", "hub.py", "optimizers.py", "student.py", "trainer.py", "tuning.py")


def training_key(
    examples: Iterable[Example], source: students.Source, decisive: Sequence[Any]
) -> str:
    """Return the name of a training: equal where everything that decides its weights is.

    `decisive` is what else does, as JSON can hold it.
    """
    digest = hashlib.sha256()
    for part in (*decisive, _versions(), [source.base, source.revision]):
        digest.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    for path in [*_weights(source), *(Path(__file__).parent / name for name in _CODE)]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for example in examples:
        digest.update(json.dumps([example.id, example.prompt_length, example.input_ids]).encode())
    return digest.hexdigest()[:32]


def readable() -> bool:
    """Tell whether states of this process's launch can be read without unpickling anything."""
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        return False
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    return not sharded or os.environ.get("FSDP_STATE_DICT_TYPE") == "FULL_STATE_DICT"


def last(folder: Path) -> Path | None:
    """Return the newest complete state in a training's folder; remove those cut off in writing."""
    states = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=step_of, reverse=True)
    for state in states:
        if (state / _MARK).is_file():
            return state
        shutil.rmtree(state)
    return None


def step_of(state: Path) -> int:
    """Return the optimiser steps that a state has behind it."""
    return int(state.name.rpartition("-")[2])


def remove_states(folder: Path) -> None:
    """Remove a folder of states, where there is one."""
    shutil.rmtree(folder, ignore_errors=True)


def options(folder: Path | None, every: int | None) -> dict[str, Any]:
    """Return what the Trainer's arguments say of states: none where `folder` or `every` is None."""
    if folder is None or every is None:
        return {"save_strategy": "no"}
    return {
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": _KEPT,
        "restore_callback_states_from_checkpoint": False,
    }


class Marks(TrainerCallback):
    """Marks a state as complete once every process has written its part of it."""

    def __init__(self, wait_for_everyone: Any) -> None:
        self._wait_for_everyone = wait_for_everyone

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # the Trainer's
        **_: Any,
    ) -> None:
        """Sync the state's files and write its mark, from the main process."""
        self._wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        jsonl.write_document(folder / _MARK, {"step": state.global_step})


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _weights(source: students.Source) -> list[Path]:
    """Return the files of the student before; a hub's are named by id and revision."""
    folders = [Path(source.base)] if Path(source.base).is_dir() else []
    if source.adapter is not None:
        folders.append(source.adapter)
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
