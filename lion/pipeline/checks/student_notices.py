"""What a student of more than some millions of parameters takes on this machine, in sentences.

Each is an estimate and stops nothing: `lion check` says them before anything is spent, `lion plan`
beside its table.
"""

from collections.abc import Iterator, Mapping

from lion.config import project
from lion.config.settings import Settings
from lion.console import duration_text
from lion.errors import ModelError
from lion.pipeline import machine_pace, tuning_needs
from lion.pipeline.machine_pace import MachinePace
from lion.pipeline.row_counts import count_base_rows, count_exam_rows
from lion.pipeline.tuning_needs import LARGE, Basis, StudentSize, TuningNeeds
from lion.training.learning_rates import usual_rate

_LONG = 2 * 3600.0  # seconds after which a sentence says what shortens them
_GAIN = 1.3  # of a dtype's pace over the other's, below which nothing is said
_FAR = 10.0  # times the usual learning rate, or a part of it
_BASES: Mapping[Basis, str] = {
    "runs": "as the base took here",
    "machine": "by this machine's matrix products, if nothing else runs",
}


def student_notices(settings: Settings, *, ask_hub: bool) -> list[str]:
    """Return the sentences; none for a small student or one whose size is not known."""
    try:
        size = tuning_needs.student_size(settings, ask_hub=ask_hub)
    except ModelError:
        return []  # the checks say which file is damaged
    if size is None or size.parameters < LARGE:
        return []
    pace = machine_pace.measure(settings.student.threads)
    needs = tuning_needs.tuning_needs(
        settings, size, count_base_rows(settings), count_exam_rows(settings), pace
    )
    notices = [_work(settings, needs, pace), *_rates(settings, size)]
    return notices if pace is None else [*notices, *_memory(needs, pace), *_dtype(settings, pace)]


def _work(settings: Settings, needs: TuningNeeds, pace: MachinePace | None) -> str:
    """Return the time and memory of all trainings and answers."""
    has_none = pace is not None and pace.accelerator is None
    parts = [
        f"student.model: {needs.size.parameters / 1e6:,.0f} million parameters"
        f"{' and no GPU' if has_none else ''}: about {needs.tuned_tokens:,} tokens to tune on and "
        f"{needs.answered_tokens:,} to read and answer"
    ]
    if needs.seconds is not None:
        parts.append(f", {duration_text(needs.seconds)} ({_BASES[needs.basis]})")
    parts.append(f"; {needs.memory_bytes / 1e9:.1f} GB of memory while it is tuned.")
    if needs.seconds is not None and needs.seconds > _LONG:
        cheaper = "" if settings.tune.method != "full" else "`tune.method: lora`, "
        parts.append(f" Shorter: a GPU, {cheaper}fewer `tune.steps` or a smaller student.")
    return "".join(parts)


def _memory(needs: TuningNeeds, pace: MachinePace) -> Iterator[str]:
    if needs.memory_bytes > pace.memory_bytes:
        yield (
            f"tune: needs about {needs.memory_bytes / 1e9:.1f} GB of memory, "
            f"{pace.memory_bytes / 1e9:.1f} GB are free. Lower `hardware.micro_batch` or "
            "`tune.max_length`, or set `tune.gradient_checkpointing: true` or `tune.method: lora`."
        )


def _dtype(settings: Settings, pace: MachinePace) -> Iterator[str]:
    """Yield whether the other dtype is faster: bfloat16 wants avx512_bf16, amx_bf16 or a GPU."""
    half, single = (tuning_needs.seconds_a_flop(pace, dtype) for dtype in ("bfloat16", "float32"))
    ratio = single / half
    if settings.student.dtype == "bfloat16" and ratio < 1 / _GAIN:
        yield (
            f"student.dtype: bfloat16 takes about {1 / ratio:.1f} times as long as float32 on "
            "this processor (it wants avx512_bf16, amx_bf16 or a GPU). Set float32."
        )
    if settings.student.dtype == "float32" and ratio > _GAIN:
        yield (
            f"student.dtype: float32; in bfloat16 this machine tunes about {ratio:.1f} times as "
            "fast. Set bfloat16; weights that train stay float32."
        )


def _rates(settings: Settings, size: StudentSize) -> Iterator[str]:
    """Yield learning rates that are far from what suits the student's size and the method."""
    for name in (project.BASE, *settings.iterations):
        tune = settings.tune_at(name)
        usual = usual_rate(size.parameters, tune.method)
        if not usual / _FAR <= tune.learning_rate <= usual * _FAR:
            where = "base.tune" if name == project.BASE else f"tune, in iteration {name},"
            yield (
                f"{where}: learning_rate {tune.learning_rate:g}; {usual:.1g} is usual for "
                f"{size.parameters / 1e6:,.0f} million parameters and `method: {tune.method}`."
            )
            return
