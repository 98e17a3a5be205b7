"""The disk that a run's students take, as far as params and the student's size tell."""

from dataclasses import dataclass

from lion.config.settings import Settings
from lion.pipeline.checks import checkpoint

_HALVES = {"float32": 1, "bfloat16": 2, "float16": 2}
_OF_STATE = 3  # float32 weights and AdamW's two moments
_STATES = 2  # while one is written, the one before is whole


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Bytes: of all students, in the workspace and in DVC's cache; of a training's states.

    `staying` of the students' bytes are left where `hardware.keep` has made room after the run.

    0 where the student's size is not known (`embedded`, a hub that does not answer).
    """

    students: int
    staying: int
    states: int


def needed(settings: Settings, *, ask_hub: bool) -> DiskNeed:
    """Return what full students and the states of one training take; adapters take next to none."""
    weights = checkpoint.student_bytes(settings.student, ask_hub=ask_hub)
    methods = [settings.tune_at(name).method for name in ("0", *settings.iterations)]
    full = methods.count("full")
    states = 0
    if full and settings.hardware.save_every is not None:
        states = _STATES * _OF_STATE * weights * _HALVES[settings.student.dtype]
    ends = {*settings.iterations, "0"} - {entry.previous for entry in settings.iterations.values()}
    staying = {"last": len(ends), "best": len(ends) + 1, "all": full}[settings.hardware.keep]
    staying = min(staying, full)
    return DiskNeed(students=2 * full * weights, staying=2 * staying * weights, states=states)
