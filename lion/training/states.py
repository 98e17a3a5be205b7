"""States of a training, from the last of which a killed training resumes.

A state is a checkpoint of `transformers.Trainer` (weights, optimizer, schedule, random generators)
in the folder of its training (`fingerprint`). It is complete once its mark is written, which is
last.

Weights are in safetensors. The Trainer writes the rest with `torch.save` and reads it with
`torch.load(weights_only=True)`, which runs no code. Sharded states (FSDP's SHARDED_STATE_DICT,
DeepSpeed) cannot be read that way, so trainings of that kind keep no states.
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
from lion.student import fingerprint
from lion.student.chat_format import Example
from lion.student.checkpoint import Source

_MARK = "complete.json"
_KEPT = 2  # the one before stays complete while one is written
# the files that decide a training's weights (a test compares this list with the imports)
_CODE = (
    "student/checkpoint.py",
    "student/hub.py",
    "student/student_formatter.py",
    "training/collator.py",
    "training/finetune.py",
    "training/lengths.py",
    "training/report.py",
    "training/trainer.py",
    "training/validation.py",
)


def training_key(examples: Iterable[Example], source: Source, decisive: Sequence[Any]) -> str:
    """Return the key of the training of `source` on `examples`."""
    rows = (
        json.dumps([example.id, example.prompt_length, example.input_ids]).encode()
        for example in examples
    )
    return fingerprint.task_key(source, rows, decisive, _CODE)


def readable() -> bool:
    """Return whether the states of this launch can be read without unpickling."""
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        return False
    sharded = parse_flag_from_env("ACCELERATE_USE_FSDP")
    return not sharded or os.environ.get("FSDP_STATE_DICT_TYPE") == "FULL_STATE_DICT"


def last(folder: Path) -> Path | None:
    """Return the newest complete state in a training's folder, or None.

    Removes incomplete states, and the folders of other trainings of the stage.
    """
    fingerprint.remove_other_tasks(folder)
    states = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=step_of, reverse=True)
    for state in states:
        if (state / _MARK).is_file():
            return state
        shutil.rmtree(state)
    return None


def step_of(state: Path) -> int:
    """Return the number of optimiser steps before a state."""
    return int(state.name.rpartition("-")[2])


def options(folder: Path | None, every: int | None) -> dict[str, Any]:
    """Return the Trainer's arguments for states: none are kept without `folder` and `every`."""
    if folder is None or every is None:
        return {"save_strategy": "no"}
    return {
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": _KEPT,
        "restore_callback_states_from_checkpoint": False,
    }


class Marks(TrainerCallback):
    """Marks a state as complete once every process has written its part."""

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
