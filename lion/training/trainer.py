"""A `transformers.Trainer` with Lion's arguments, optimizer and learning curve.

The training loop is the Trainer's (and so accelerate's). docs/tuning.md compares it with TRL's
SFTTrainer.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.import_utils import is_liger_kernel_available

from lion.config.settings import Hardware, Student, Tune
from lion.errors import ModelError, SettingsError
from lion.training import states
from lion.training.optimizers import muon_adamw

_CURVE_POINTS = 100
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}

Progress = Callable[[int, int, float], None]


class LionTrainer(Trainer):
    """The Trainer with our optimizer, and the supervised tokens so far in its log.

    `supervised` holds the cumulative supervised tokens after step 1, 2, ...
    """

    def __init__(self, *, tune: Tune, supervised: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self._tune = tune
        self._supervised = supervised
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            self._refuse_sharded_muon()

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return Muon with AdamW where params ask for it, else the Trainer's optimizer."""
        tune = self._tune
        if self.optimizer is None and tune.matrix_learning_rate is not None:
            self.optimizer = muon_adamw(
                self.model if model is None else model,
                matrix_learning_rate=tune.matrix_learning_rate,
                learning_rate=tune.learning_rate,
                weight_decay=tune.weight_decay,
            )
        return super().create_optimizer(model)

    def supervised(self, step: int) -> int:
        """Return the supervised tokens of the first `step` steps, of all processes."""
        return self._supervised[step - 1]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the supervised tokens to a point of the curve."""
        if "loss" in logs:
            logs["tokens"] = self.supervised(self.state.global_step)
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002  # the Trainer's
        """Return 0: counting walks over all parameters at every step, and nothing reads it."""
        return 0

    def _refuse_sharded_muon(self) -> None:
        if self._tune.optimizer == "muon":
            raise SettingsError(
                "tune.optimizer: muon wants whole matrices, and this launcher shards them "
                "(FSDP, DeepSpeed). Set `optimizer: adamw` and `matrix_learning_rate: null`."
            )


class Watch(TrainerCallback):
    """Reports the progress, and stops a training whose loss is not finite."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the Trainer's
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # the Trainer's
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Raise ModelError where the loss is not finite."""
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} at step {state.global_step}. Lower `tune.learning_rate`."
            )
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps, loss)


def training_arguments(
    settings: Student,
    tune: Tune,
    hardware: Hardware,
    *,
    examples: int,
    random_seed: int,
    folder: Path,
    keep_states: bool,
) -> TrainingArguments:
    """Return the Trainer's arguments for `tune`, with the features that Lion does not use off.

    Call it before the model is loaded: DeepSpeed shards the model while it loads. Raises
    SettingsError where the batch cannot be split over the processes.
    """
    gpu = torch.accelerator.is_available()
    steps = steps_of(tune, examples)
    points_every = max(1, steps // _CURVE_POINTS)
    every = states_every(hardware, points_every) if keep_states else None
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        optim="adamw_torch",
        learning_rate=tune.learning_rate,
        weight_decay=tune.weight_decay,
        lr_scheduler_type=_SCHEDULES[tune.schedule],
        # A value below 1 is a share; 1 would be read as one step.
        warmup_steps=min(tune.warmup, 1 - 1e-9),
        max_grad_norm=tune.clip,
        activation_checkpointing=tune.gradient_checkpointing,
        use_cpu=not gpu,
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16",
        use_liger_kernel=gpu and is_liger_kernel_available(),
        seed=random_seed,
        train_sampling_strategy="sequential",  # `draw_order` has shuffled the examples
        logging_steps=points_every,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **states.options(folder, every),
    )
    _split_batch(arguments, tune, hardware)
    return arguments


def states_every(hardware: Hardware, points_every: int) -> int | None:
    """Return the steps between states: a multiple of the steps between points of the curve."""
    if hardware.save_every is None:
        return None
    return math.ceil(hardware.save_every / points_every) * points_every


def steps_of(tune: Tune, examples: int) -> int:
    """Return the number of optimiser steps: `tune.steps`, or those of the epochs."""
    if tune.steps is not None or tune.epochs is None:
        return tune.steps or 1
    return math.ceil(tune.epochs * examples / tune.batch_size)


def _split_batch(arguments: TrainingArguments, tune: Tune, hardware: Hardware) -> None:
    """Split a step's batch over the processes, and each share into micro-batches.

    A step has the same examples with any number of processes.
    """
    # Several GPUs need several processes (`launcher`), never torch's DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    share, rest = divmod(tune.batch_size, arguments.world_size)
    micro = hardware.micro_batch or share
    if rest or not share or share % min(micro, share):
        raise SettingsError(
            f"tune.batch_size: {tune.batch_size} sequences cannot be shared out to "
            f"{arguments.world_size} processes in parts of {micro}. Make it a multiple of "
            "processes x hardware.micro_batch."
        )
    arguments.per_device_train_batch_size = min(micro, share)
    arguments.gradient_accumulation_steps = share // arguments.per_device_train_batch_size
