"""Where `lion run` ends before the pipeline does: after an iteration, by name or by validation.

The rule reads the loss on validation rows, a part of the base pool, never the exam's marks.
"""

from collections.abc import Collection, Iterator

from lion.config import project
from lion.config.settings import Settings
from lion.errors import SettingsError
from lion.metrics.pools import TuneMetrics
from lion.pipeline.stale_outputs import StaleOutputs


def exam_target(settings: Settings, iteration: str) -> str:
    """Return DVC's name of the exam of an iteration. Raises SettingsError where there is none."""
    if iteration == project.BASE:
        return "base-evaluate"
    if iteration not in settings.iterations:
        names = ", ".join((project.BASE, *settings.iterations))
        raise SettingsError(f"there is no iteration {iteration}; params.yaml has {names}")
    return f"evaluate@{iteration}"


def exam_targets(settings: Settings, until: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield each iteration and DVC's name of its exam, each after the one before it.

    Only `until` and those that it descends from, where it is named. Raises SettingsError.
    """
    names = sorted(settings.iterations, key=settings.depth)
    if until is not None:
        names = [] if until == project.BASE else settings.lineage(until)[::-1] or [until]
    for name in (project.BASE, *names):
        yield name, exam_target(settings, name)


def is_behind(settings: Settings, iteration: str, halted: Collection[str]) -> bool:
    """Return whether `iteration` is one of those `halted`, or descends from one."""
    return any(name in halted for name in settings.lineage(iteration))


def validation_problems(settings: Settings) -> Iterator[str]:
    """Yield why no rule can read validation rows."""
    names = (project.BASE, *settings.iterations)
    without = [name for name in names if not settings.tune_at(name).validation_share]
    if without:
        yield f"tune.validation_share: it is 0 in {', '.join(without)}; set it, as to 0.05"


def halt_sentence(settings: Settings, iteration: str) -> str | None:
    """Return why the loop halts after `iteration`, None where it goes on.

    It halts where the student's loss on the validation rows (nats per token) is no smaller than
    that of the student before.
    """
    if iteration == project.BASE:
        return None
    previous = settings.previous(iteration)
    now, before = _loss(iteration), _loss(previous)
    if now is None or before is None or now < before:
        return None
    return (
        f"halted after iteration {iteration}: its loss on the validation rows is {now:.4f} nats, "
        f"no smaller than {before:.4f} of student {previous}"
    )


def _loss(iteration: str) -> float | None:
    path = project.metrics(iteration, TuneMetrics.FILE)
    metrics = StaleOutputs.of_workspace().read_current(path, TuneMetrics)
    return None if metrics is None else metrics.validation_loss_nats
