"""A tuning as a stage runs it: in this process, or launched in several; and what it left behind.

One path: both end in `tuning.finetune` with the same arguments.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from lion import console
from lion.config import launcher, project
from lion.config.settings import Settings, Tune
from lion.student.chat_format import Example
from lion.training import finetune, finetune_worker
from lion.training.finetune import TuneReport


def run_tuning(
    examples: Sequence[Example],
    *,
    student: Path,
    out: Path,
    settings: Settings,
    tune: Tune,
    random_seed: int,
    name: str,
) -> TuneReport:
    """Do the tuning called `name` (such as `tune@1`); go on where a killed one left a state.

    Raises as `tuning.finetune`, and ModelError where a launched process fails.
    """
    hardware, kept = settings.hardware, project.unfinished(name)
    if not hardware.launcher.needed:
        with console.progress(name) as update:
            return finetune.finetune(
                examples,
                student=student,
                out=out,
                settings=settings.student,
                tune=tune,
                hardware=hardware,
                random_seed=random_seed,
                states_in=kept,
                progress=lambda step, steps, _loss: update(step, steps),
            )
    job = kept / "job"
    finetune_worker.write_job(
        job,
        examples,
        before=student,
        out=out,
        settings=settings.student,
        tune=tune,
        hardware=hardware,
        random_seed=random_seed,
        states_in=kept,
        label=name,
    )
    cpu = not torch.accelerator.is_available()
    launcher.launch(hardware.launcher, finetune_worker.__name__, str(job), cpu=cpu)
    return finetune_worker.read_report(job)
