"""States of a training that was killed, and how it goes on from the last complete one.

A state is a checkpoint of `transformers.Trainer` (weights, optimizer, schedule, random generators)
in the folder of its training (`resume`). It counts once its mark is written, which is last.

Weights lie in safetensors. The Trainer writes the rest with `torch.save` and reads it with
`torch.load(weights_only=True)`, which runs no code; the formats of sharded states (FSDP's
SHARDED_STATE_DICT, DeepSpeed) cannot be read so, and no states of such trainings are kept.
"""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import parse_flag_from_env
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from lion.records import jsonl
from lion.student import resume
from lion.student.chat_format import Example
from lion.student.checkpoint import Source

_MARK = "complete.json"
_KEPT = 2  # while one is written, the one before is still whole
# what decides a training's weights (tests compare this list with the imports)
_CODE = (
    "student/checkpoint.py",
    "student/hub.py",
    "training/collator.py",
    "training/finetune.py",
    "training/optimizers.py",
    "training/trainer.py",
)


def training_key(examples: Iterable[Example], source: Source, decisive: Sequence[Any]) -> str:
    """Return the key of training on `examples`, from `source` on."""
    rows = (
        json.dumps([example.id, example.prompt_length, example.input_ids]).encode()
        for example in examples
    )
    return resume.task_key(source, rows, decisive, _CODE)


def readable() -> bool:
    """Tell whether states of this process's launch can be read without unpickling anything."""
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        return False
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    return not sharded or os.environ.get("FSDP_STATE_DICT_TYPE") == "FULL_STATE_DICT"


def last(folder: Path) -> Path | None:
    """Return the newest complete state in a training's folder.

    Removes those cut off in writing, and what other trainings of the stage left.
    """
    resume.forget_others(folder)
    states = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=step_of, reverse=True)
    for state in states:
        if (state / _MARK).is_file():
            return state
        shutil.rmtree(state)
    return None


def step_of(state: Path) -> int:
    """Return the optimiser steps that a state has behind it."""
    return int(state.name.rpartition("-")[2])


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
