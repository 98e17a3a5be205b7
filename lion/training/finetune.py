"""Fine-tuning: examples in, a student's folder and its learning curve out.

Loads the student, plans the batches (`collator`), runs the Trainer (`trainer`), resumes from a
state of a killed run (`states`), and writes the result. `tune` chooses and encodes the rows,
`finetune_job` launches several processes.
"""

import importlib.util
import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from lion import console
from lion.config.settings import Hardware, Student, Tune
from lion.errors import ModelError
from lion.student import checkpoint as students
from lion.student.chat_format import Example, RecordedFormat
from lion.student.student_formatter import formatter_of
from lion.training import states, trainer
from lion.training.collator import Drawn, Packed, Padded, draw_order
from lion.training.lengths import fit
from lion.training.report import CurvePoint, Progress, TuneReport
from lion.training.trainer import LionTrainer, Watch
from lion.training.validation import VALIDATIONS, Validation

_FLASH = ("flash_attention_2", "flash_attention_3")


def finetune(
    examples: Sequence[Example],
    *,
    validation: Sequence[Example] = (),
    student: Path,
    out: Path,
    settings: Student,
    tune: Tune,
    hardware: Hardware,
    random_seed: int,
    states_in: Path | None = None,
    progress: Progress | None = None,
) -> TuneReport:
    """Fine-tune the student of folder `student` on `examples` and write the result to `out`.

    With `validation` the student has the weights of the smallest loss on these examples, and
    training may stop early (`validation.Validation`).

    `progress` is called with (step, steps, loss, tokens) at each point of the curve. States are
    written to a folder of the training in `states_in`; it resumes from the last one there. Equal
    arguments on equal hardware with equal thread counts write equal bytes, killed or not. Every
    process of a launch calls it. Raises ModelError, SettingsError, and DataError where no example
    is short enough.
    """
    _refuse_what_cannot_train(settings, tune)
    fitting = fit(examples, tune)
    validation = fit(validation, tune).examples if validation else ()
    source = students.resolve(student)
    with _folder_of_states(
        [*fitting.examples, *validation], source, states_in, settings, tune, hardware, random_seed
    ) as (
        folder,
        lasting,
    ):
        arguments = trainer.training_arguments(
            settings,
            tune,
            hardware,
            examples=len(fitting.examples),
            random_seed=random_seed,
            folder=folder,
            keep_states=lasting,
        )
        set_seed(random_seed)  # an adapter's initial weights are random
        model = _load(source, settings, tune)
        tokenizer = students.tokenizer_of(source, settings)
        written = formatter_of(source, tokenizer, settings).recorded
        ready = _trainer(model, tokenizer, arguments, fitting.examples, tune, hardware, progress)
        validating = _validating(ready, validation, tune)
        ready.train(resume_from_checkpoint=_last_state(ready, folder) if lasting else None)
        if validating is not None:
            validating.restore_best()
    _save(ready, model, tokenizer, out, settings, written)
    losses = {point.step: point.loss for point in validating.points} if validating else {}
    curve = [_point(logged, losses) for logged in ready.state.log_history if "loss" in logged]
    return TuneReport(
        curve=tuple(curve),
        steps=ready.state.global_step,
        tokens=ready.supervised(ready.state.global_step),
        examples=len(fitting.examples),
        too_long=fitting.too_long,
        truncated=fitting.truncated,
        best=validating.best if validating else None,
    )


def _validating(ready: LionTrainer, examples: Sequence[Example], tune: Tune) -> Validation | None:
    """Return the validation, which the Trainer calls back; None without examples."""
    if not examples:
        return None
    every = max(1, ready.args.max_steps // VALIDATIONS)
    validating = Validation(ready, examples, every=every, stop_after=tune.stop_after)
    ready.add_callback(validating)
    return validating


def _refuse_what_cannot_train(settings: Student, tune: Tune) -> None:
    if settings.dtype == "float16" and not torch.accelerator.is_available():
        raise ModelError("float16 trains on a GPU only. Set `student.dtype: float32` or bfloat16.")
    if tune.method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "tune.method: qlora needs the library bitsandbytes. In Lion's folder, run "
            "`pip install -e '.[qlora]'`, or set `method: lora`."
        )


@contextmanager
def _folder_of_states(
    examples: Sequence[Example],
    source: students.Source,
    states_in: Path | None,
    settings: Student,
    tune: Tune,
    hardware: Hardware,
    random_seed: int,
) -> Iterator[tuple[Path, bool]]:
    """Yield the Trainer's folder, and whether states are kept in it: only without sharding."""
    if states_in is None or hardware.save_every is None or not states.readable():
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch), False
        return
    decisive = [
        settings.model_dump(),
        tune.model_dump(),
        hardware.model_dump(exclude={"save_every"}),
        random_seed,
    ]
    yield states_in / states.training_key(examples, source, decisive), True


def _last_state(ready: LionTrainer, folder: Path) -> str | None:
    """Return the state to resume from; the main process removes incomplete ones first."""
    with ready.accelerator.main_process_first():
        state = states.last(folder)
    if state is None:
        return None
    if ready.is_world_process_zero():
        console.say(f"going on from step {states.step_of(state):,} of {ready.args.max_steps:,}")
    return str(state)


def _trainer(
    model: Any,
    tokenizer: Any,
    arguments: TrainingArguments,
    examples: Sequence[Example],
    tune: Tune,
    hardware: Hardware,
    progress: Progress | None,
) -> LionTrainer:
    order = draw_order(
        [len(example.input_ids) for example in examples],
        batch_size=tune.batch_size,
        batches=arguments.max_steps,
        random_seed=arguments.seed,
    )
    drawn = Drawn(examples, order)
    ready = LionTrainer(
        model=model,
        args=arguments,
        train_dataset=drawn,
        data_collator=_collator(model, tokenizer, arguments, hardware),
        tune=tune,
        supervised=drawn.supervised(tune.batch_size),
    )
    ready.remove_callback(PrinterCallback)
    ready.add_callback(Watch(progress if ready.is_world_process_zero() else None))
    if arguments.save_strategy != "no":
        ready.add_callback(states.Marks(ready.accelerator.wait_for_everyone))
    return ready


def _collator(
    model: Any, tokenizer: Any, arguments: TrainingArguments, hardware: Hardware
) -> Padded | Packed:
    """Return the collator for this model, its attention kernel and its head."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes = inspect.signature(plain.forward).parameters
    # Liger's head computes no logits; remote code may not support `logits_to_keep`.
    whole = (
        arguments.use_liger_kernel
        or "logits_to_keep" not in takes
        or not type(plain).__module__.startswith("transformers.")
    )
    if not whole and _packs(plain, hardware) and "position_ids" in takes:
        return Packed()
    masked = bool(getattr(plain.config, "output_router_logits", False))
    vocabulary = getattr(plain.config.get_text_config(), "vocab_size", None)
    return Padded(_pad_id(tokenizer, vocabulary), masked=masked, whole=whole)


def _packs(model: Any, hardware: Hardware) -> bool:
    """Return whether examples are packed: never where a layer is recurrent."""
    if hardware.packing == "never" or getattr(model, "_is_stateful", False):
        return False
    return hardware.packing == "always" or model.config._attn_implementation in _FLASH


def _point(logged: dict[str, Any], validated: Mapping[int, float]) -> CurvePoint:
    return CurvePoint(
        step=int(logged["step"]),
        loss=float(logged["loss"]),
        learning_rate=float(logged["learning_rate"]),
        tokens=int(logged["tokens"]),
        validation_loss=validated.get(int(logged["step"])),
    )


def _load(source: students.Source, settings: Student, tune: Tune) -> Any:
    """Return the model to train: all of it, or its adapter only.

    Trained weights are float32, because an update of 2e-5 is lost in a bfloat16 weight; `dtype` is
    the type of computation.
    """
    if tune.method != "full":
        quantization = _four_bits(settings) if tune.method == "qlora" else None
        base = students.load_base(source, settings, settings.dtype, quantization)
        if source.adapter is not None:
            return students.attach(base, source.adapter, trainable=True)
        return _new_adapter(base, source, tune)
    model = students.load_base(source, settings, "float32")
    if source.adapter is not None:
        model = students.merged(students.attach(model, source.adapter, trainable=False))
    return model


def _four_bits(settings: Student) -> Any:
    """Return QLoRA's quantization: NormalFloat4, scales quantized too (Dettmers et al., 2023)."""
    from transformers import BitsAndBytesConfig

    dtype = getattr(torch, settings.dtype)
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # FSDP shards weights of one dtype only
    )


def _new_adapter(base: Any, source: students.Source, tune: Tune) -> Any:
    """Return `base` with a new low-rank adapter on every linear layer except the head."""
    peft = students.import_peft()
    if tune.method == "qlora":
        # the Trainer checkpoints activations itself, and peft would use a deprecated name
        base = peft.prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=tune.lora_rank,
        lora_alpha=2 * tune.lora_rank,
        target_modules="all-linear",
        base_model_name_or_path=source.base,
        revision=source.revision,
    )
    with students.peft_warning_suppressed():
        return peft.get_peft_model(base, config)


def _pad_id(tokenizer: Any, vocabulary: int | None) -> int:
    """Return an id to pad with, below `vocabulary`; padding is masked, so any id will do.

    A padding token is often added to a tokenizer alone, beyond the model's embeddings.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None and (vocabulary is None or token < vocabulary):
            return int(token)
    return 0


def _save(
    trained: Trainer,
    model: Any,
    tokenizer: Any,
    out: Path,
    settings: Student,
    prompt_format: RecordedFormat,
) -> None:
    """Write the student from the main process; sharded weights are gathered."""
    weights = trained.accelerator.get_state_dict(trained.model_wrapped)
    if trained.is_world_process_zero():
        state = _converted(weights, getattr(torch, settings.dtype))
        students.save(model, tokenizer, out, state, prompt_format)
    trained.accelerator.wait_for_everyone()


def _converted(weights: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the weights in `dtype`; tied ones stay one tensor, which is written once."""
    converted: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for weight in weights.values():
        converted.setdefault((weight.data_ptr(), weight.shape), weight.to(dtype))
    return {name: converted[weight.data_ptr(), weight.shape] for name, weight in weights.items()}
