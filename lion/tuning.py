"""Fine-tuning: examples in, a student's folder and its learning curve out.

Rides on `transformers.Trainer` (and so on accelerate); here is only what it is told, how batches
are padded, and what is counted. Draws no rows and encodes nothing (`chat.Encoder`); keeps no
checkpoint on the way.
"""

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from lion import student as students
from lion.chat import Example
from lion.errors import DataError, ModelError
from lion.optimizers import muon_adamw
from lion.settings import Student, Tune

IGNORED = -100
"""The label that a loss passes by, in torch and transformers."""
_CURVE_POINTS = 100
_BUCKET = 50
"""Batches whose examples are sorted by length together."""
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The training at `step`: mean loss (nats a supervised token) since the last point.

    `tokens` counts the supervised tokens seen so far.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What a training did. `too_long` are the ids of the examples above `max_length`, unused."""

    curve: tuple[CurvePoint, ...]
    steps: int
    tokens: int
    examples: int
    too_long: tuple[str, ...]


def tune(
    examples: Sequence[Example],
    *,
    student: Path,
    out: Path,
    settings: Student,
    tune: Tune,
    random_seed: int,
    progress: Progress | None = None,
) -> TuneReport:
    """Fine-tune the student of folder `student` on `examples` and write the result to `out`.

    `progress` is told (step, steps, loss) at every point of the curve. Equal arguments on equal
    hardware with equal thread counts write equal bytes. Raises ModelError, and DataError where no
    example is short enough.
    """
    if settings.dtype == "float16" and not torch.accelerator.is_available():
        raise ModelError("float16 trains on a GPU only. Set `student.dtype: float32` or bfloat16.")
    fitting = [example for example in examples if len(example.input_ids) <= tune.max_length]
    too_long = tuple(e.id for e in examples if len(e.input_ids) > tune.max_length)
    if not fitting:
        raise DataError(
            f"none of {len(examples)} examples is at most {tune.max_length} tokens long. "
            "Raise `tune.max_length`."
        )
    tokenizer = students.load_tokenizer(student, settings)
    set_seed(random_seed)  # an adapter's first weights are drawn
    model = _load(student, settings, tune)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = _arguments(Path(scratch), settings, tune, len(fitting), random_seed)
        together = arguments.per_device_train_batch_size * arguments.world_size
        order = draw_order(
            [len(example.input_ids) for example in fitting],
            batch_size=together,
            batches=arguments.max_steps * tune.accumulation,
            random_seed=random_seed,
        )
        trainer = _LionTrainer(
            model=model,
            args=arguments,
            train_dataset=_Drawn(fitting, order),
            data_collator=_Collator(_pad_id(tokenizer)),
            tune=tune,
        )
        curve = _Curve(trainer, progress)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(curve)
        trainer.train()
    _save(trainer, model, tokenizer, out, settings)
    return TuneReport(
        curve=tuple(curve.points),
        steps=trainer.state.global_step,
        tokens=trainer.supervised_tokens(),
        examples=len(fitting),
        too_long=too_long,
    )


class _LionTrainer(Trainer):
    """The Trainer with our optimizer, and a count of the supervised tokens."""

    def __init__(self, *, tune: Tune, **options: Any) -> None:
        super().__init__(**options)
        self._tune = tune
        self._tokens: list[torch.Tensor] = []

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

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Count the supervised tokens of the step's batches; a tensor, so as not to wait for it."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._tokens += [(batch["labels"] != IGNORED).sum() for batch in batches]
        return batches, count

    def supervised_tokens(self) -> int:
        """Return the supervised tokens seen so far, of all processes."""
        total = torch.stack(self._tokens).sum() if self._tokens else torch.tensor(0)
        self._tokens = [total]
        return int(self.accelerator.reduce(total.to(self.args.device)).item())

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002  # the Trainer's
        """Count nothing: walking over all parameters at every step costs, and nobody reads it."""
        return 0


class _Curve(TrainerCallback):
    """Keeps the curve, tells the progress, and stops a training whose loss is no number."""

    def __init__(self, trainer: _LionTrainer, progress: Progress | None) -> None:
        self.points: list[CurvePoint] = []
        self._trainer = trainer
        self._progress = progress

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the Trainer's
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # the Trainer's
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add a point. Raises ModelError where the loss is not finite."""
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} at step {state.global_step}. Lower `tune.learning_rate`."
            )
        self.points.append(
            CurvePoint(
                step=state.global_step,
                loss=loss,
                learning_rate=float(logs["learning_rate"]),
                tokens=self._trainer.supervised_tokens(),
            )
        )
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps, loss)


class _Drawn(Dataset[Example]):
    """The examples in the order of training, each as often as it is drawn."""

    def __init__(self, examples: Sequence[Example], order: Sequence[int]) -> None:
        self._examples = examples
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Example:
        return self._examples[self._order[index]]


class _Collator:
    """Pads examples on the right to their longest; prompt and padding get no label."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        width = max(len(example.input_ids) for example in examples)
        ids, mask, labels = [], [], []
        for example in examples:
            tokens, prompt = list(example.input_ids), example.prompt_length
            gap = width - len(tokens)
            ids.append(tokens + [self._pad] * gap)
            mask.append([1] * len(tokens) + [0] * gap)
            labels.append([IGNORED] * prompt + tokens[prompt:] + [IGNORED] * gap)
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
        }


def draw_order(
    lengths: Sequence[int], *, batch_size: int, batches: int, random_seed: int
) -> list[int]:
    """Return which example stands at each of `batches * batch_size` places of the training.

    A batch holds examples of like length (little padding), batches follow in random order, and
    no example is drawn again before all others were. (The Trainer's own `group_by_length` runs
    from long to short again and again.)
    """
    draw = random.Random(random_seed)  # noqa: S311  # reproducible, not secret
    needed = batches * batch_size
    stream: list[int] = []
    while len(stream) < needed:
        stream += draw.sample(range(len(lengths)), len(lengths))
    cut: list[list[int]] = []
    for start in range(0, needed, batch_size * _BUCKET):
        bucket = stream[start : min(start + batch_size * _BUCKET, needed)]
        bucket.sort(key=lambda index: lengths[index])
        group = [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
        draw.shuffle(group)
        cut += group
    return [index for batch in cut for index in batch]


def _arguments(
    scratch: Path, settings: Student, tune: Tune, examples: int, random_seed: int
) -> TrainingArguments:
    """Say to the Trainer what `tune` says, and switch off what we do ourselves or not at all."""
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=tune.batch_size,
        gradient_accumulation_steps=tune.accumulation,
        optim="adamw_torch",
        learning_rate=tune.learning_rate,
        weight_decay=tune.weight_decay,
        lr_scheduler_type=_SCHEDULES[tune.schedule],
        # A share below 1 is read as such; 1 itself would be read as one step.
        warmup_steps=min(tune.warmup, 1 - 1e-9),
        max_grad_norm=tune.clip,
        activation_checkpointing=tune.gradient_checkpointing,
        use_cpu=not torch.accelerator.is_available(),
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16",
        seed=random_seed,
        train_sampling_strategy="sequential",  # of what `draw_order` has shuffled
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    arguments.max_steps = _steps(tune, examples, arguments.world_size)
    arguments.logging_steps = max(1, arguments.max_steps // _CURVE_POINTS)
    return arguments


def _steps(tune: Tune, examples: int, processes: int) -> int:
    """Return the optimiser steps: as many as asked for, or as the epochs take."""
    if tune.steps is not None or tune.epochs is None:
        return tune.steps or 1
    return math.ceil(tune.epochs * examples / (tune.batch_size * tune.accumulation * processes))


def _load(folder: Path, settings: Student, tune: Tune) -> Any:
    """Return the model to be trained: all of it, or its adapter alone.

    Weights that train are float32, and `dtype` is what they compute in: an update of 2e-5 is lost
    in a bfloat16 weight.
    """
    source = students.resolve(folder)
    if tune.method == "lora":
        base = students.load_base(source, settings, settings.dtype)
        if source.adapter is not None:
            return students.attach(base, source.adapter, trainable=True)
        return _new_adapter(base, source, tune)
    model = students.load_base(source, settings, "float32")
    if source.adapter is not None:
        model = students.merged(students.attach(model, source.adapter, trainable=False))
    return model


def _new_adapter(base: Any, source: students.Source, tune: Tune) -> Any:
    """Return `base` with a fresh low-rank adapter on every linear layer but the head."""
    peft = students.import_peft()
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=tune.lora_rank,
        lora_alpha=2 * tune.lora_rank,
        target_modules="all-linear",
        base_model_name_or_path=source.base,
        revision=source.revision,
    )
    return peft.get_peft_model(base, config)


def _pad_id(tokenizer: Any) -> int:
    """Return some id to pad with; it is masked, so any will do."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def _save(trainer: Trainer, model: Any, tokenizer: Any, out: Path, settings: Student) -> None:
    """Write the student from the main process, gathered where it was sharded."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.is_world_process_zero():
        dtype = getattr(torch, settings.dtype)
        state = {name: weight.to(dtype) for name, weight in weights.items()}
        students.save(model, tokenizer, out, state)
