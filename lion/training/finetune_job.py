"""A fine-tuning job of a stage: run in this process, or by processes that accelerate launches.

Both call `finetune.finetune` with the same arguments. A launched process is
`-m lion.training.finetune_job JOB`, where JOB is a folder with the arguments; the main process
writes the report to it. Every machine must see JOB and the project under the same path.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from lion import console
from lion.config import launcher, project
from lion.config.settings import Hardware, Settings, Student, Tune
from lion.errors import BusyError
from lion.records import jsonl
from lion.student import checkpoint
from lion.student.chat_format import Example
from lion.training.report import Progress, TuneReport
from lion.training.tune import Examples, FineTune

_EXAMPLES, _VALIDATION = "examples.jsonl", "validation.jsonl"
_OPTIONS, _REPORT, _LOCK = "options.json", "report.json", "lock"


def fine_tuning(settings: Settings, name: str) -> FineTune:
    """Return the fine-tuning of stage `name`, as the phase `tune` calls it."""

    def fine_tune(
        examples: Examples, validation: Examples, before: Path, out: Path, rules: Tune, seed: int
    ) -> TuneReport:
        return run_tuning(
            examples,
            validation=validation,
            student=before,
            out=out,
            settings=settings,
            tune=rules,
            random_seed=seed,
            name=name,
        )

    return fine_tune


def run_tuning(
    examples: Sequence[Example],
    *,
    validation: Sequence[Example] = (),
    student: Path,
    out: Path,
    settings: Settings,
    tune: Tune,
    random_seed: int,
    name: str,
) -> TuneReport:
    """Run the fine-tuning of stage `name` (such as `tune@1`), or resume a killed one.

    Raises as `finetune.finetune`, and ModelError where a launched process fails.
    """
    hardware, states_in = settings.hardware, project.unfinished(name)
    if not hardware.launcher.needed:
        with console.progress(name) as update:
            return _finetune(
                examples,
                validation=validation,
                student=student,
                out=out,
                settings=settings.student,
                tune=tune,
                hardware=hardware,
                random_seed=random_seed,
                states_in=states_in,
                progress=_shown(update),
            )
    job = states_in / "job"
    write_job(
        job,
        examples,
        validation=validation,
        student=student,
        out=out,
        settings=settings.student,
        tune=tune,
        hardware=hardware,
        random_seed=random_seed,
        states_in=states_in,
        label=name,
    )
    import torch

    cpu = not torch.accelerator.is_available()
    launcher.launch(hardware.launcher, __name__, str(job), cpu=cpu)
    return read_report(job)


def write_job(
    job: Path,
    examples: Sequence[Example],
    *,
    validation: Sequence[Example] = (),
    student: Path,
    out: Path,
    settings: Student,
    tune: Tune,
    hardware: Hardware,
    random_seed: int,
    states_in: Path,
    label: str,
) -> None:
    """Write the folder `job`. Raises BusyError where processes of a killed run still use it."""
    job.mkdir(parents=True, exist_ok=True)
    with _alone(job):
        (job / _REPORT).unlink(missing_ok=True)
        _write_examples(job / _EXAMPLES, examples)
        _write_examples(job / _VALIDATION, validation)
        options = {
            "student": str(student),
            "out": str(out),
            "settings": settings.model_dump(),
            "tune": tune.model_dump(),
            "hardware": hardware.model_dump(),
            "random_seed": random_seed,
            "states_in": str(states_in),
            "label": label,
        }
        jsonl.write_document(job / _OPTIONS, options)


def _write_examples(path: Path, examples: Sequence[Example]) -> None:
    with jsonl.replacing(path) as temporary, temporary.open("wb") as file:
        for example in examples:
            file.write(orjson.dumps(example) + b"\n")


def read_report(job: Path) -> TuneReport:
    """Return the report of the main process. Raises DataError where there is none."""
    return TuneReport.of(jsonl.read_document(job / _REPORT))


def run_job(job: Path) -> None:
    """Run the job as one of its processes; the main one shows progress and writes the report."""
    checkpoint.load_libraries("transformers.trainer")
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available())
    if not state.is_main_process:
        _tune(job, None)
        return
    label = jsonl.read_document(job / _OPTIONS)["label"]
    with _alone(job), console.progress(label) as update:
        report = _tune(job, _shown(update))
        jsonl.write_document(job / _REPORT, dataclasses.asdict(report))


def _shown(update: console.Update) -> Progress:
    """Return a callback that shows steps, supervised tokens a second, and the loss."""
    first: tuple[float, int] | None = None

    def progress(step: int, steps: int, loss: float, tokens: int) -> None:
        nonlocal first
        now = time.monotonic()
        first = first or (now, tokens)
        seconds, done = now - first[0], tokens - first[1]
        rate = f"{done / seconds:,.0f} answer tokens/s, " if done else ""
        update(step, steps, f"{rate}loss {loss:.3f}")

    return progress


def _tune(job: Path, progress: Progress | None) -> TuneReport:
    options = jsonl.read_document(job / _OPTIONS)
    return _finetune(
        _read_examples(job / _EXAMPLES),
        validation=_read_examples(job / _VALIDATION),
        student=Path(options["student"]),
        out=Path(options["out"]),
        settings=Student(**options["settings"]),
        tune=Tune(**options["tune"]),
        hardware=Hardware(**options["hardware"]),
        random_seed=options["random_seed"],
        states_in=Path(options["states_in"]),
        progress=progress,
    )


def _read_examples(path: Path) -> list[Example]:
    rows = (orjson.loads(line) for line in path.read_bytes().splitlines())
    return [Example(row["id"], tuple(row["input_ids"]), row["prompt_length"]) for row in rows]


@contextmanager
def _alone(job: Path) -> Iterator[None]:
    """Lock the job: the processes of a stage killed by `kill -9` may still be running."""
    lock = FileLock(job / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(
            f"processes of an earlier run still work on {job}. Wait for them or end them."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _finetune(examples: Sequence[Example], **arguments: Any) -> TuneReport:
    """Fine-tune in this process. Imports torch, which a process that only launches needs not."""
    from lion.training import finetune

    return finetune.finetune(examples, **arguments)


if __name__ == "__main__":
    with console.error_boundary():
        run_job(Path(sys.argv[1]))
