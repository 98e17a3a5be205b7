"""The one door to files of metrics: a struct in, JSON out; JSON in, a struct out, or an error."""

from pathlib import Path
from typing import Any, TypeVar

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
