"""`transformers.Trainer` as Lion wants it: its arguments, our optimizer, the learning curve.

Rides on the Trainer (and so on accelerate) with no loop of its own. TRL's SFTTrainer was measured
beside it (docs/tuning.md). Draws no rows and loads no model (see `tuning`).
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
    """The Trainer with our optimizer; its log tells the supervised tokens seen so far.

    `supervised` holds their number after step 1, 2, ...
    """

    def __init__(self, *, tune: Tune, supervised: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self._tune = tune
        self._supervised = supervised
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            self._refuse_sharded_muon()

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return Muon with AdamW where asked for, else what the Trainer makes of `optim`."""
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
        """Count nothing: walking over all parameters at every step costs, and nobody reads it."""
        return 0

    def _refuse_sharded_muon(self) -> None:
        if self._tune.optimizer == "muon":
            raise SettingsError(
                "tune.optimizer: muon wants whole matrices, and this launcher shards them "
                "(FSDP, DeepSpeed). Set `optimizer: adamw` and `matrix_learning_rate: null`."
            )


class Watch(TrainerCallback):
    """Tells the progress, and stops a training whose loss is no number."""

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


def arguments(
    settings: Student,
    tune: Tune,
    hardware: Hardware,
    *,
    examples: int,
    random_seed: int,
    folder: Path,
    keep_states: bool,
) -> TrainingArguments:
    """Say to the Trainer what `tune` says, and switch off what we do ourselves or not at all.

    Made before the model is loaded: DeepSpeed shards it while it loads. Raises SettingsError where
    the batch cannot be shared out.
    """
    gpu = torch.accelerator.is_available()
    steps = steps_of(tune, examples)
    points_every = max(1, steps // _CURVE_POINTS)
    every = states_every(hardware, points_every) if keep_states else None
    made = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        optim="adamw_torch",
        learning_rate=tune.learning_rate,
        weight_decay=tune.weight_decay,
        lr_scheduler_type=_SCHEDULES[tune.schedule],
        # A share below 1 is read as such; 1 itself would be read as one step.
        warmup_steps=min(tune.warmup, 1 - 1e-9),
        max_grad_norm=tune.clip,
        activation_checkpointing=tune.gradient_checkpointing,
        use_cpu=not gpu,
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16",
        use_liger_kernel=gpu and is_liger_kernel_available(),
        seed=random_seed,
        train_sampling_strategy="sequential",  # of what `draw_order` has shuffled
        logging_steps=points_every,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **states.options(folder, every),
    )
    _share_out(made, tune, hardware)
    return made


def states_every(hardware: Hardware, points_every: int) -> int | None:
    """Return the steps between states: whole points of the curve, which then goes on as it was."""
    if hardware.save_every is None:
        return None
    return math.ceil(hardware.save_every / points_every) * points_every


def steps_of(tune: Tune, examples: int) -> int:
    """Return the optimiser steps: as many as asked for, or as the epochs take."""
    if tune.steps is not None or tune.epochs is None:
        return tune.steps or 1
    return math.ceil(tune.epochs * examples / tune.batch_size)


def _share_out(made: TrainingArguments, tune: Tune, hardware: Hardware) -> None:
    """Split a step's batch over the processes, and each share into what one takes at once.

    So a step sees the same examples however many processes there are.
    """
    # Several GPUs are several processes (see `launcher`), never torch's old DataParallel.
    made._n_gpu = min(1, made.n_gpu)
    share, rest = divmod(tune.batch_size, made.world_size)
    micro = hardware.micro_batch or share
    if rest or not share or share % min(micro, share):
        raise SettingsError(
            f"tune.batch_size: {tune.batch_size} sequences cannot be shared out to "
            f"{made.world_size} processes in parts of {micro}. Make it a multiple of "
            "processes x hardware.micro_batch."
        )
    made.per_device_train_batch_size = min(micro, share)
    made.gradient_accumulation_steps = share // made.per_device_train_batch_size
