"""What the student's own work takes on this machine: tokens, seconds, memory. An estimate.

Seconds come from earlier runs of the same params, else from the pace of this machine's matrix
products and FLOPs of 6 N a token of tuning and 2 N of answering (Kaplan et al., 2020, table 1; N
parameters of the layers), 4 N where only an adapter's weights get gradients. What else a CPU does
(norms, casts, the optimizer) took 0.7 of the float32 products' time: SmolLM2-135M on two cores of
an EPYC with avx512_bf16 tunes 189 tokens/s in float32 and 328 in bfloat16.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Literal

from lion.config import project
from lion.config.settings import EMBEDDED, Settings, Tune
from lion.metrics.files import RunRecord
from lion.metrics.pools import TuneMetrics
from lion.pipeline.checks.student import checkpoint_folder, student_bytes
from lion.pipeline.machine_pace import MachinePace
from lion.pipeline.stale_outputs import StaleOutputs
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.student.weights import WeightHeaders

LARGE = 50_000_000
"""Parameters from which a student's work on this machine is worth a sentence."""
_HUB_BYTES = 2  # a parameter, of most models on the hub
_USUAL_LAYERS = 30
_USUAL_SHARE = 0.8  # of the parameters that are the layers', the others are embeddings
_BESIDES = 0.7  # of the time of float32 products, on a CPU
_GPU_SHARE = 0.35  # of its matrix products that tuning reaches
_FORWARD, _ADAPTER, _FULL = 2, 4, 6  # FLOPs a token and parameter
_RECOMPUTED = 2  # more where activations are computed again
_ROW_TOKENS = 60  # of an instruction that no file has yet
_TEMPLATE_TOKENS = 20  # of a chat template
_BYTES_A_TOKEN = 4
_OF_TRAINED = 16  # bytes: float32 weight, gradient, AdamW's two moments
_ACTIVATION_BYTES = 19  # a token, layer and square root of the layer's parameters
_RUNTIME_BYTES = 600_000_000  # torch and the interpreter

Basis = Literal["runs", "machine"]


@dataclass(frozen=True, slots=True)
class StudentSize:
    """The student's `parameters`, those of its `layers` (a number), and of an adapter of rank 1."""

    parameters: int
    layer_parameters: int
    layers: int
    adapter_of_rank_1: int


@dataclass(frozen=True, slots=True)
class TuningNeeds:
    """The tokens of all trainings and of all answers, the most memory in bytes, and the seconds.

    `seconds` is None where neither a run nor the machine was measured.
    """

    size: StudentSize
    tuned_tokens: int
    answered_tokens: int
    memory_bytes: int
    seconds: float | None
    basis: Basis


def student_size(settings: Settings, *, ask_hub: bool) -> StudentSize | None:
    """Return the student's size by its headers, of a hub's by its bytes; None where unknown."""
    if settings.student.model == EMBEDDED:
        return None
    folder = checkpoint_folder(settings.student)
    if folder is not None:
        return _size_of(folder)
    parameters = student_bytes(settings.student, ask_hub=ask_hub) // _HUB_BYTES
    if not parameters:
        return None
    layers = round(_USUAL_SHARE * parameters)
    matrices = 7 * _USUAL_LAYERS  # of a Llama: four of attention, three of the feed-forward layer
    rank_1 = round(matrices * 2 * sqrt(layers / matrices))
    return StudentSize(parameters, layers, _USUAL_LAYERS, rank_1)


def _size_of(folder: Path) -> StudentSize:
    headers = WeightHeaders(folder)
    matrices = headers.layer_matrices
    return StudentSize(
        parameters=headers.parameters,
        layer_parameters=sum(rows * columns for rows, columns in matrices),
        layers=headers.layers or _USUAL_LAYERS,
        adapter_of_rank_1=sum(rows + columns for rows, columns in matrices),
    )


def tuning_needs(
    settings: Settings, size: StudentSize, rows: int, exam: int, pace: MachinePace | None
) -> TuningNeeds:
    """Return what all trainings and answers of the params need.

    Those of baselines and of the curve's points, which take the base's steps, are among them.
    `rows` are those of the base pool, `exam` those of the exam.
    """
    length = _row_tokens()
    curve = [project.BASE] * len(settings.curve)
    names = (project.BASE, *settings.iterations, *settings.baselines, *curve)
    tunes = [settings.tune_at(name) for name in names]
    trained = [_examples(tune, rows) * min(length, tune.max_length) for tune in tunes]
    answered = round(length * sum(_answered_rows(settings, rows, exam)))
    memory = max(_memory(tune, size, length, settings) for tune in tunes)
    seconds, basis = _seconds_of_runs(settings, tunes), "runs"
    if seconds is None and pace is not None:
        basis = "machine"
        flops = [_flops(tune) * tokens for tune, tokens in zip(tunes, trained, strict=True)]
        work = size.layer_parameters * (sum(flops) + _FORWARD * answered)
        seconds = work * seconds_a_flop(pace, settings.student.dtype)
    tokens = round(sum(trained))
    return TuningNeeds(size, tokens, answered, memory, seconds, basis)  # type: ignore[arg-type]  # one of Basis


def _examples(tune: Tune, rows: int) -> float:
    """Return the examples of a training; where epochs say how many, of the base pool's size."""
    return tune.steps * tune.batch_size if tune.steps else (tune.epochs or 0) * rows


def _flops(tune: Tune) -> int:
    """Return the FLOPs of tuning, a token and parameter."""
    kind = _FULL if tune.method == "full" else _ADAPTER
    return kind + (_RECOMPUTED if tune.gradient_checkpointing else 0)


def seconds_a_flop(pace: MachinePace, dtype: str) -> float:
    """Return the seconds of a FLOP of tuning that computes in `dtype`."""
    if pace.accelerator is not None:
        return 1 / (_GPU_SHARE * pace.of(dtype))
    return 1 / pace.of(dtype) + _BESIDES / pace.of("float32")


def _answered_rows(settings: Settings, rows: int, exam: int) -> Iterator[int]:
    """Yield the rows that each student answers here, or whose answers it scores."""
    if settings.student.endpoint is not None:
        return  # its server's work
    yield exam * (1 + len(settings.baselines) + len(settings.curve))
    cache = rows
    for name in settings.iterations:
        likely = settings.review.judge == "likelihood"
        limit = None if likely else settings.respond.limit
        generate = settings.generate_at(name)
        answered = cache if limit is None else min(limit, cache)
        yield exam + (answered if settings.no_reader(generate) is None else 0)
        cache += generate.hard + generate.easy


def _row_tokens() -> float:
    """Return the mean tokens of a row with its answer and template, by the pool where it is."""
    pool = project.data(project.BASE, "cache_pool.jsonl")
    if not StaleOutputs.of_workspace().has_current(pool):
        return _ROW_TOKENS + _TEMPLATE_TOKENS
    return (
        _TEMPLATE_TOKENS + fmean(map(_characters, jsonl.read(pool, Instruction))) / _BYTES_A_TOKEN
    )


def _characters(row: Instruction) -> int:
    answer = 0 if row.answer is None else len(row.answer.text)
    return answer + sum(len(turn["content"]) for turn in row.messages)


def _memory(tune: Tune, size: StudentSize, length: float, settings: Settings) -> int:
    """Return the bytes that one process takes at its most: weights, optimizer, activations.

    A batch may hold the longest examples; they are taken to be twice the mean.
    """
    adapter = tune.lora_rank * size.adapter_of_rank_1
    kept = 4 if settings.student.dtype == "float32" else 2
    weights = {
        "full": _OF_TRAINED * size.parameters,
        "lora": kept * size.parameters + _OF_TRAINED * adapter,
        "qlora": size.parameters + _OF_TRAINED * adapter,
    }[tune.method]
    share = tune.batch_size // settings.hardware.launcher.processes
    sequences = min(share, settings.hardware.micro_batch or share)
    each = _ACTIVATION_BYTES * sqrt(size.layer_parameters / size.layers)
    layers = 2 * sqrt(size.layers) if tune.gradient_checkpointing else size.layers
    tokens = sequences * min(2 * length, tune.max_length)
    return round(weights + tokens * layers * each + _RUNTIME_BYTES)


def _seconds_of_runs(settings: Settings, tunes: list[Tune]) -> float | None:
    """Return the seconds of all trainings and answers by those of the base; None without it."""
    stale = StaleOutputs.of_workspace()
    tuned = stale.read_current(project.run_record(f"tune@{project.BASE}"), RunRecord)
    metrics = stale.read_current(project.metrics(project.BASE, TuneMetrics.FILE), TuneMetrics)
    exam = stale.read_current(project.run_record(f"evaluate@{project.BASE}"), RunRecord)
    if tuned is None or metrics is None or exam is None or not metrics.steps:
        return None
    each = tuned.seconds / (metrics.steps * tunes[0].batch_size)
    examples = sum(_examples(tune, metrics.new_rows + metrics.old_rows) for tune in tunes)
    return each * examples + exam.seconds * (1 + 2 * len(settings.iterations))
