"""Results of finished arms: one JSON line each, in the repository."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from proving import frozen, registered

Key = tuple[str, float, str, int]
"""Regime, skew, arm and seed."""

Results = Mapping[tuple[str, float, str], Mapping[int, Mapping[str, Any]]]
"""Results by regime, skew and arm, then by seed."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """The file; processes that share the seeds append to it one at a time."""

    path: Path

    def done(self) -> set[Key]:
        """Return what is done, of the laboratory and the registration of today."""
        return {_key(row) for row in self._rows()}

    def get(self, regime: str, skew: float, arm: str, seed: int) -> dict[str, Any]:
        """Return the result of an arm. Raises KeyError where it is not done."""
        key = (regime, skew, arm, seed)
        for row in self._rows():
            if _key(row) == key:
                return row
        raise KeyError(f"{arm}, {regime}, skew {skew:g}, seed {seed} has not run yet")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a result with the marks of laboratory and registration."""
        marked = {**row, **_marks()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"), self.path.open("ab") as file:
            file.write(orjson.dumps(marked) + b"\n")

    def results(self, seeds: tuple[int, ...] = registered.SEEDS) -> Results:
        """Return the results of `seeds`."""
        by_arm: dict[tuple[str, float, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
        for row in self._rows():
            if row["seed"] in seeds:
                by_arm[row["regime"], row["skew"], row["arm"]][row["seed"]] = row
        return by_arm

    def _rows(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        rows = [orjson.loads(line) for line in self.path.read_bytes().splitlines()]
        marks = _marks()
        return [row for row in rows if marks.items() <= row.items()]


def _marks() -> dict[str, str]:
    return {"frozen": frozen.check(), "registered": registered.digest()}


def _key(row: Mapping[str, Any]) -> Key:
    return row["regime"], row["skew"], row["arm"], row["seed"]
