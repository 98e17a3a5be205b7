"""How long a call takes: as in earlier runs, else as `lion check` measured it, else assumed.

`lion check` keeps what it measures in `.lion/measured.json`, outside git and DVC.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_high
from typing import ClassVar, Literal

from lion.config import project
from lion.config.settings import Endpoint, Settings
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.metrics.units import Metrics
from lion.pipeline.stale_outputs import StaleOutputs
from lion.stage_table import STAGES

PaceBasis = Literal["runs", "check", "assumed"]
"""Where the seconds of a call come from: records of runs, a call of `lion check`, or no call."""

ASSUMED_SECONDS = 3.0
"""A call's, before any was measured."""


_ASKING = tuple(dict.fromkeys(stage.kind for stage in STAGES.values() if stage.asks))


class EndpointPace(Metrics, frozen=True):
    """One call of `lion check`: its latency, and the tokens of its reply by that latency.

    `completion_tokens_per_second` is None where the server counts no tokens.
    """

    role: str
    base_url: str
    model: str
    latency_seconds: float
    completion_tokens_per_second: float | None

    def seconds_of(self, completion_tokens: float | None) -> float:
        """Return the seconds of a call whose reply has so many tokens, None: as many as this."""
        if not completion_tokens or not self.completion_tokens_per_second:
            return self.latency_seconds
        return completion_tokens / self.completion_tokens_per_second


class EndpointPaces(Metrics, frozen=True):
    """The calls of the last `lion check` that were answered."""

    NEXT: ClassVar[str] = "Delete it: `lion check` measures again, and only estimates follow of it."

    calls: tuple[EndpointPace, ...]

    @classmethod
    def path(cls) -> Path:
        """Return the file of the project."""
        return project.home() / "measured.json"

    @classmethod
    def read(cls) -> "EndpointPaces":
        """Read the project's file; without one there is no call. Raises DataError."""
        return files.read_if(cls.path(), cls) or cls(())

    def write(self) -> None:
        """Replace the project's file."""
        files.write_metrics(self.path(), self)

    def of(self, role: str, endpoint: Endpoint) -> EndpointPace | None:
        """Return the call of an endpoint: in this role, else in any other; None without one."""
        same = [
            call
            for call in self.calls
            if (call.base_url, call.model) == (endpoint.base_url, endpoint.model)
        ]
        return next((call for call in same if call.role == role), same[0] if same else None)


def call_seconds(
    settings: Settings, role: str, endpoint: Endpoint, completion_tokens: float | None
) -> tuple[float, PaceBasis]:
    """Return the seconds of a call to `endpoint` in `role`, and where they come from.

    `completion_tokens` are those of a reply as earlier stages measured it, None where they did not:
    then a reply is taken to be as long as that to `lion check`. Raises DataError.
    """
    latencies = dict(_latencies(settings))
    if role in latencies:
        return median_high(latencies[role]), "runs"
    call = EndpointPaces.read().of(role, endpoint)
    if call is not None:
        return call.seconds_of(completion_tokens), "check"
    others = [seconds for group in latencies.values() for seconds in group]
    return (median_high(others), "runs") if others else (ASSUMED_SECONDS, "assumed")


def _latencies(settings: Settings) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield the median seconds of a call in each stage so far, by role; not a served student's."""
    stale, groups = StaleOutputs.of_workspace(), dict[str, list[float]]()
    for name in (project.BASE, *settings.iterations, *settings.baselines):
        for stage in _ASKING:
            record = stale.read_current(project.run_record(f"{stage}@{name}"), RunRecord)
            for role, client in () if record is None else record.asked.items():
                if client.p50_seconds and role != "student":
                    groups.setdefault(role, []).append(client.p50_seconds)
    yield from groups.items()
