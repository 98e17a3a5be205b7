"""The exact calls of the next stages, by running them against the ledger alone.

Each remaining stage whose inputs exist is run with clients that only read the ledger, and its
outputs are kept in memory. A stage ends at its first missing reply, or where a student would have
to respond or be tuned; the stages behind it are not rehearsed.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lion import console
from lion.certify import looks
from lion.config import project
from lion.config.settings import Endpoint, Settings
from lion.errors import LionError, MissingRepliesError
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.metrics.certificates import CertificateMetrics
from lion.metrics.units import Metrics
from lion.pipeline.plan import Exact
from lion.pipeline.stage import Disk, M, R, Work
from lion.records.rows import Record, Row
from lion.stage_table import Role, Stage, of_base, of_baselines, of_loop

_NOT_ASKING = ("split",)  # asks no endpoint, but later stages read its outputs


class StudentNeededError(LionError):
    """A student would have to respond, so that what follows is unknown."""


@dataclass(slots=True)
class Memory(Disk):
    """Files of a rehearsal: what it wrote is in memory, everything else on the disk."""

    written: dict[Path, Any] = field(default_factory=dict)

    def has(self, path: Path) -> bool:
        """Return whether a file exists, in memory or on the disk."""
        return path in self.written or path.exists()

    def read(self, path: Path, kind: type[R]) -> list[R]:
        """Return the rows of a file. Raises DataError."""
        if path not in self.written:
            return Disk.read(self, path, kind)
        return [row for row in self.written[path] if isinstance(row, kind)]  # no closing row

    def write(self, path: Path, rows: Sequence[Record]) -> None:
        """Keep rows."""
        self.written[path] = rows

    def read_document(self, path: Path) -> Row:
        """Return a JSON object. Raises DataError."""
        document: Row = self.written.get(path) or Disk.read_document(self, path)
        return document

    def write_document(self, path: Path, document: Row) -> None:
        """Keep a JSON object."""
        self.written[path] = document

    def read_metrics(self, path: Path, kind: type[M]) -> M:
        """Return a file of metrics. Raises DataError."""
        metrics: M = self.written.get(path) or Disk.read_metrics(self, path, kind)
        return metrics

    def write_metrics(self, path: Path, metrics: Metrics) -> None:
        """Keep a file of metrics."""
        self.written[path] = metrics


@dataclass(slots=True)
class RehearsedWork(Work):
    """A stage run with a ledger that nothing is added to; `exact` are its calls by role."""

    ledger: Ledger = field(kw_only=True)
    exact: dict[Role, Exact] = field(default_factory=dict)

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator[LLMClient]:
        """Yield a client that sends nothing and raises MissingRepliesError instead."""
        settings = self.settings
        with LLMClient(
            endpoint, settings.api, self.ledger, settings.random_seed, sends=False
        ) as client:
            missing = 0
            try:
                yield client
            except MissingRepliesError as error:
                missing = error.missing
                raise
            finally:
                self.exact[role] = Exact(client.usage.hits, missing)

    def count_look(self, certificate: CertificateMetrics) -> int:
        """Return how many students were certified on the rows; a rehearsal is no look."""
        return looks.looks_at(certificate)

    def progress(self) -> AbstractContextManager[console.Update]:
        """Raise StudentNeededError: a student would respond next."""
        raise StudentNeededError(f"{self.name}: a student would have to respond")


def rehearse(
    settings: Settings, remaining: set[str], ledger: Ledger
) -> dict[tuple[str, str], Exact]:
    """Return the exact calls of the `remaining` stages, by stage and role, as far as known.

    Raises what the stages themselves would raise before they ask.
    """
    memory = Memory()
    certain: dict[tuple[str, str], Exact] = {}
    stages = list(_in_order(settings, remaining))
    pending = {path for entry, key in stages for path in entry.outputs(key)}
    for entry, key in stages:
        inputs = _inputs(settings, entry, key)
        if not entry.asks and entry.name not in _NOT_ASKING:
            continue
        if not all(memory.has(Path(path)) and path not in pending for path in inputs):
            continue
        work = RehearsedWork(entry.kind, key, settings, memory, ledger=ledger)
        try:
            importlib.import_module(entry.module).main(work)
        except (MissingRepliesError, StudentNeededError):
            pass  # `exact` has the calls so far; its outputs stay pending
        else:
            pending -= set(entry.outputs(key))
        certain.update({(work.name, role): exact for role, exact in work.exact.items()})
    return certain


def _in_order(settings: Settings, remaining: set[str]) -> Iterator[tuple[Stage, str]]:
    """Yield the remaining stages with their iterations, each after its dependencies."""
    yield from (
        (entry, project.BASE) for entry in of_base() if _named(entry, project.BASE) & remaining
    )
    for key in sorted(settings.iterations, key=settings.depth):
        yield from ((entry, key) for entry in of_loop() if _named(entry, key) & remaining)
    for key in sorted(settings.baselines, key=settings.depth):
        yield from ((entry, key) for entry in of_baselines() if _named(entry, key) & remaining)


def _named(entry: Stage, key: str) -> set[str]:
    """Return the names of a stage: DVC names no iteration of a stage that exists once."""
    return {f"{entry.kind}@{key}", entry.name}


def _inputs(settings: Settings, entry: Stage, key: str) -> Sequence[str]:
    previous = None if key == project.BASE else settings.previous(key)
    baseline = settings.baselines.get(key)
    return entry.inputs(key, previous, "" if baseline is None else baseline.like)
