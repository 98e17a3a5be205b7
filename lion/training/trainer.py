"""Muon on the hidden matrices and AdamW on everything else, as one optimizer.

`torch.optim.Muon` orthogonalises one matrix at a time; a small student has many small matrices of
few shapes, so here the matrices of one shape are iterated as one batch. The update is the same (a
test compares them). Matrices sharded over processes are not supported.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
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
from lion.training.report import Progress

# The quintic's coefficients, steps and scale: Keller Jordan, https://kellerjordan.github.io/posts/muon
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon: True` hold 2-D matrices that follow Muon instead.

    Muon (Keller Jordan, 2024), for a matrix W of r x c with gradient G:
        M <- m M + (1 - m) G;  U <- (1 - m) G + m M;
        W <- W - lr * decay * W - lr * sqrt(max(1, r / c)) * orthogonal(U).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        groups = list(groups)
        for group in groups:
            group.setdefault("muon", False)
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads step on whether a closure is given
        """Take one step; the gradients of the matrices are cleared, so that AdamW skips them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                for matrices in _by_shape(group["params"]):
                    self._step_matrices(matrices, group["lr"], group["weight_decay"])
        super().step()
        return loss

    def _step_matrices(self, matrices: list[Tensor], lr: float, decay: float) -> None:
        """Update matrices of one shape together."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta = [self._momentum_of(matrix) for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - self._momentum)
        updates = torch.stack(torch._foreach_lerp(gradients, momenta, self._momentum))
        rows, columns = matrices[0].shape
        scale = -lr * max(1.0, rows / columns) ** 0.5
        torch._foreach_mul_(matrices, 1 - lr * decay)
        torch._foreach_add_(matrices, list(orthogonal(updates)), alpha=scale)
        for matrix in matrices:
            matrix.grad = None

    def _momentum_of(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
            state["step"] = torch.zeros(())  # AdamW requires it in every state that it loads
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonal(matrices: Tensor) -> Tensor:
    """Return (n, r, c) matrices pushed towards U V^T of their singular value decompositions.

    Five Newton-Schulz steps, X <- aX + (bA + cA^2)X with A = X X^T: singular values end between
    about 0.7 and 1.2. On an accelerator in bfloat16, as its author does.
    """
    wide = matrices.size(-2) <= matrices.size(-1)
    x = matrices if wide else matrices.mT
    if x.device.type != "cpu":
        x = x.bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x if wide else x.mT).to(matrices.dtype)


def muon_adamw(
    model: Any, *, matrix_learning_rate: float, learning_rate: float, weight_decay: float
) -> MuonAdamW:
    """Return the optimizer of a language model: its hidden matrices by Muon, the rest by AdamW.

    The rest: embeddings, the output head, and all weights that are not 2-D. Vectors do not decay.
    """
    outer = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    outer.add(id(getattr(model.get_output_embeddings(), "weight", None)))
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    hidden = [weight for weight in trainable if weight.ndim == 2 and id(weight) not in outer]
    taken = {id(weight) for weight in hidden}
    rest = [weight for weight in trainable if id(weight) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": hidden, "muon": True, "lr": matrix_learning_rate},
        {"params": [weight for weight in rest if weight.ndim >= 2]},
        {"params": [weight for weight in rest if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return MuonAdamW(
        [group for group in groups if group["params"]],
        lr=learning_rate,
        weight_decay=weight_decay,
    )


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Group the parameters that have a gradient by shape, in order of appearance."""
    shapes: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            shapes.setdefault(parameter.shape, []).append(parameter)
    return list(shapes.values())


_CURVE_POINTS = 100
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


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
            tokens = int(logs.get("tokens", 0))
            self._progress(state.global_step, state.max_steps, loss, tokens)


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
