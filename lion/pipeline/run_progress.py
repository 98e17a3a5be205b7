"""How far `lion run` is: the place of a stage in the run, and the time left by run records.

`lion run` hands the order of the stages to them in the environment; a bare `dvc repro` does not.
"""

import os
from collections.abc import Callable, Iterator, Mapping

import msgspec

from lion.config import project
from lion.config.settings import Settings
from lion.console import duration_text
from lion.metrics.files import RunRecord
from lion.pipeline.stale_outputs import StaleOutputs
from lion.stage_table import STAGES

_VARIABLE = "LION_RUN_ORDER"


class RunOrder(msgspec.Struct, frozen=True):
    """The `stages` of a run (as `teach@1`) in their order; DVC skips those not in `to_run`."""

    stages: tuple[str, ...]
    to_run: frozenset[str]

    @classmethod
    def of_environment(cls) -> "RunOrder | None":
        """Return the order that `lion run` gave to this process; None under a bare `dvc repro`."""
        text = os.environ.get(_VARIABLE)
        return None if text is None else msgspec.json.decode(text, type=cls)

    def as_environment(self) -> Mapping[str, str]:
        """Return the variable that hands the order to the stages."""
        return {_VARIABLE: msgspec.json.encode(self).decode()}

    def sentence(self, name: str, seconds_of: Callable[[str], float | None]) -> str | None:
        """Return `stage 7 of 26: teach@1, 41 min left ...`; None of a stage that is not listed.

        `seconds_of` returns how long a stage takes, None where that is not known.
        """
        if name not in self.stages:
            return None
        place = self.stages.index(name)
        left = self._seconds_left(place, seconds_of)
        time = f", {duration_text(left)} left of the run, by the last runs" if left else ""
        return f"stage {place + 1} of {len(self.stages)}: {name}{time}"

    def _seconds_left(self, place: int, seconds_of: Callable[[str], float | None]) -> float | None:
        """Return the seconds from a stage's start to the end; None where one of them is unknown.

        The closing report takes seconds and has no record in a first run: it is left out.
        """
        ahead = [
            self.stages[place],
            *(name for name in self.stages[place + 1 :] if self._counts(name)),
        ]
        durations = [seconds_of(name) for name in ahead]
        return None if None in durations else sum(filter(None, durations))

    def _counts(self, name: str) -> bool:
        stage = STAGES.get(name.partition("@")[0])
        return name in self.to_run and (stage is None or stage.runs_in != "end")


def recorded_seconds(settings: Settings) -> Callable[[str], float | None]:
    """Return what reads the seconds of a stage's last run on this machine.

    A stage of an iteration that has not run takes as long as that of another one with the same
    params. Records of other params do not count.
    """
    stale = StaleOutputs.of_workspace()

    def seconds_of(name: str) -> float | None:
        for like in (name, *_stages_alike(settings, name)):
            record = stale.read_current(project.run_record(like), RunRecord)
            if record is not None and record.finished:
                return record.seconds
        return None

    return seconds_of


def _stages_alike(settings: Settings, name: str) -> Iterator[str]:
    """Yield the stage in the other iterations with the same params, the last iteration first."""
    kind, _, key = name.partition("@")
    iteration = settings.iterations.get(key)
    for other, entry in reversed(settings.iterations.items()):
        same = iteration and (entry.generate, entry.tune) == (iteration.generate, iteration.tune)
        if same and other != key:
            yield f"{kind}@{other}"
