"""The one door to files of metrics: a struct in, JSON out; JSON in, a struct out, or an error."""

from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from lion.errors import DataError
from lion.metrics.units import Metrics, decoded
from lion.records import jsonl

M = TypeVar("M", bound=Metrics)


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write a struct as indented JSON, `format` first."""
    jsonl.write_document(path, as_document(metrics))


def as_document(metrics: Metrics) -> dict[str, Any]:
    """Return a struct as the object that its file holds, without `format`."""
    document: dict[str, Any] = msgspec.to_builtins(metrics)
    for name in metrics.EMPTY:
        document[name] = document.get(name) or {}
    return document


def read_metrics(path: Path, kind: type[M]) -> M:
    """Read a file of metrics. Raises DataError with the file, the field and the next action."""
    document = jsonl.read_document(path)
    del document["format"]
    empty = {name: None for name in kind.EMPTY if document.get(name) == {}}
    try:
        return msgspec.convert({**document, **empty}, kind, dec_hook=decoded)
    except (msgspec.ValidationError, DataError) as error:
        fields = ", ".join(kind.__struct_fields__)
        raise DataError(f"{path}: {error} ({kind.__name__} has {fields}). {kind.NEXT}") from error


def read_if(path: Path, kind: type[M]) -> M | None:
    """Read a file of metrics; None where there is none. Raises DataError."""
    return read_metrics(path, kind) if path.exists() else None


_LATEST = ("needed", "p50_seconds", "p90_seconds", "p99_seconds")


class CallStats(Metrics, frozen=True):
    """Counts of the calls in one role during one run; `lion.llm.usage.UsageStats` defines them.

    The percentiles are latencies of single calls.
    """

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

    def add_earlier(self, earlier: Self) -> Self:
        """Return the sum of this run and an earlier one that was interrupted.

        `needed` and the latencies are not summed: they are those of this run.
        """
        return type(self)(
            **{
                name: getattr(self, name) + (0 if name in _LATEST else getattr(earlier, name))
                for name in self.__struct_fields__
            }
        )


class RunRecord(Metrics, frozen=True):
    """How a stage's run ended, how long it took, and what it asked, by role."""

    NEXT: ClassVar[str] = "Delete it: it tells of a run, and nothing follows from it."

    finished: bool
    exit_code: int
    seconds: float
    asked: dict[str, CallStats]
