"""Students that `lion make-room` has removed, and that a new line of params.yaml starts from."""

from collections.abc import Iterator

from lion.config import project
from lion.config.settings import Settings
from lion.metrics.pools import TuneMetrics


def removed_student_notices(settings: Settings) -> Iterator[str]:
    """Yield which removed student an iteration or baseline starts from, and what brings it back."""
    names = [name for name in (*settings.iterations, *settings.baselines) if not _is_tuned(name)]
    for previous in dict.fromkeys(settings.previous(name) for name in names):
        folder = project.data(previous, "student")
        if _is_tuned(previous) and not folder.is_dir():
            after = ", ".join(name for name in names if settings.previous(name) == previous)
            yield (
                f"{folder}: it was removed, and {after} starts from it. Before the run: "
                f"`dvc pull {folder}`, or `dvc repro {_target(settings, previous)}` where no "
                "remote has it."
            )


def _is_tuned(name: str) -> bool:
    return project.metrics(name, TuneMetrics.FILE).exists()


def _target(settings: Settings, name: str) -> str:
    """Return DVC's name of the stage that tunes a student."""
    if name == project.BASE:
        return "base-tune"
    return f"baseline-tune@{name}" if name in settings.baselines else f"tune@{name}"
