"""Records of runs, `.lion/runs/*.json`: what really happened here in the last run of a stage.

No metrics: they differ from run to run, and git has none of them.
"""

from typing import ClassVar, Self

from lion.metrics.units import Metrics

_LATEST = ("needed", "p50_seconds", "p90_seconds", "p99_seconds")


class Happened(Metrics, frozen=True):
    """What asking in a role did: see `lion.llm.usage.Account`. Latencies are of one call."""

    needed: int
    hits: int
    calls: int
    retries: int
    wasted: int
    throttled: int
    billed: int
    nanodollars: int
    unpriced: int
    seconds: float
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float

    def after(self, before: Self) -> Self:
        """Return both together; latencies, and what the inputs need, are those of the later run."""
        return type(self)(
            **{
                name: getattr(self, name) + (0 if name in _LATEST else getattr(before, name))
                for name in self.__struct_fields__
            }
        )


class RunRecord(Metrics, frozen=True):
    """How a stage's run ended, how long it took, and what it asked, by role."""

    NEXT: ClassVar[str] = "Delete it: it tells of a run, and nothing follows from it."

    finished: bool
    exit_code: int
    seconds: float
    asked: dict[str, Happened]
