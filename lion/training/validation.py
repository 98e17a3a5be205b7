"""Validation while a student is tuned: the loss on rows apart, the best weights, early stopping.

The best trainable weights lie in the Trainer's folder with the losses so far, so that a killed
training resumes with them.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lion import console
from lion.errors import SettingsError
from lion.records import jsonl
from lion.student.chat_format import Example
from lion.training.collator import IGNORED
from lion.training.report import ValidationPoint

VALIDATIONS = 20
"""Validations of a training, and one after its last step."""
_WEIGHTS, _LOSSES = "best.safetensors", "validation.json"


class Validation(TrainerCallback):
    """Validates every `every` steps and after the last; keeps the best weights.

    Training stops after `stop_after` validations without a better one (None: never). Every process
    computes the same losses; the main one writes.
    """

    def __init__(
        self,
        trainer: Trainer,
        examples: Sequence[Example],
        *,
        every: int,
        stop_after: int | None,
    ) -> None:
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise SettingsError(
                "tune.validation_share: the best weights are kept whole, and this launcher shards "
                "them (FSDP, DeepSpeed). Set it to 0."
            )
        self._trainer = trainer
        self._examples = examples
        self._every = every
        self._stop_after = stop_after
        self._folder = Path(str(trainer.args.output_dir))
        self.points: list[ValidationPoint] = []

    @property
    def best(self) -> ValidationPoint | None:
        """The first point of the smallest loss; None before the first validation."""
        return min(self.points, key=lambda point: point.loss, default=None)

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the Trainer's
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # the Trainer's
        **_: Any,
    ) -> None:
        """Take over the points of a killed training up to the step that it resumes from."""
        path = self._folder / _LOSSES
        if state.global_step and path.is_file():
            points = jsonl.read_document(path)["points"]
            self.points = [
                ValidationPoint(step, loss) for step, loss in points if step <= state.global_step
            ]

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the Trainer's
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Validate where it is time; the step becomes a point of the curve."""
        if state.global_step % self._every and state.global_step != state.max_steps:
            return
        control.should_log = True
        best = self.best
        point = ValidationPoint(state.global_step, self._loss())
        self.points.append(point)
        improved = best is None or point.loss < best.loss
        if state.is_world_process_zero:
            self._save(weights=improved)
        if not improved and self._is_stale():
            control.should_training_stop = True

    def restore_best(self) -> None:
        """Load the weights of the best point, in the main process, which writes the student."""
        best = self.best
        if best is None or best is self.points[-1] or not self._trainer.is_world_process_zero():
            return
        saved = load_file(self._folder / _WEIGHTS)
        with torch.no_grad():
            for name, weight in self._trainable().items():
                weight.copy_(saved[name])
        console.say(f"the weights of step {best.step:,} are kept: validated best")

    def _is_stale(self) -> bool:
        best = self.best
        if best is None or self._stop_after is None:
            return False
        return len(self.points) - 1 - self.points.index(best) >= self._stop_after

    def _loss(self) -> float:
        """Return the mean loss over the supervised tokens of all validation rows."""
        model: Any = self._trainer.model
        size = self._trainer.args.per_device_train_batch_size
        collate: Callable[..., Any] = self._trainer.data_collator
        nats, tokens = 0.0, 0
        model.eval()
        with torch.no_grad(), self._trainer.compute_loss_context_manager():
            for start in range(0, len(self._examples), size):
                batch = collate(self._examples[start : start + size])
                count = int((batch["labels"] != IGNORED).sum())
                ready = self._trainer._prepare_inputs(batch)
                nats += float(model(**ready).loss) * count
                tokens += count
        model.train()
        return nats / tokens if tokens else math.nan

    def _trainable(self) -> dict[str, Tensor]:
        model: Any = self._trainer.model
        return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    def _save(self, *, weights: bool) -> None:
        if weights:
            tensors = {name: weight.detach() for name, weight in self._trainable().items()}
            with jsonl.replacing(self._folder / _WEIGHTS) as temporary:
                save_file(tensors, temporary)
        points = [[point.step, point.loss] for point in self.points]
        jsonl.write_document(self._folder / _LOSSES, {"points": points})
