"""Which outputs belong to other params than those at hand, from params.yaml and dvc.lock alone.

dvc.lock has the values that each stage ran with. Where one differs now, what the stage wrote, and
all that was made of it, is stale: figures of it are shown as absent. Changed code and prompts are
DVC's matter (`dvc status`): they change how, not what for.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lion.config import project, yaml_file
from lion.metrics import files
from lion.metrics.files import M
from lion.pipeline import dvc_project

_MISSING = object()


@dataclass(frozen=True, slots=True)
class StaleOutputs:
    """The stale stages of the workspace as DVC names them, and the `params` that differ."""

    stages: frozenset[str]
    params: tuple[str, ...]
    paths: frozenset[Path]

    @classmethod
    def of_workspace(cls) -> "StaleOutputs":
        """Compare dvc.lock with params.yaml. Raises SettingsError where params cannot be read."""
        stamps = [_stamp(path) for path in (dvc_project.PATH, project.PARAMS)]
        return _compared(Path.cwd(), *stamps)

    def read_current(self, path: Path, kind: type[M]) -> M | None:
        """Read a file of metrics or a run record; None where there is none, or it is stale."""
        return files.read_if(path, kind) if self.is_current(path) else None

    def is_current(self, path: Path) -> bool:
        """Return whether a file, if it exists, belongs to the params at hand."""
        return path not in self.paths and not self._is_record(path)

    def has_current(self, path: Path) -> bool:
        """Return whether a file exists that belongs to the params at hand."""
        return path.exists() and path not in self.paths

    def sentence(self) -> str | None:
        """Return what is stale and why; None where nothing is."""
        if not self.stages:
            return None
        return (
            f"{len(self.stages)} stages ran with other params ({self._shown_params}): what they "
            "wrote is stale and not shown. `lion run` replaces it; `lion new` makes a folder of "
            "its own for another task."
        )

    def notice(self, *paths: Path) -> str | None:
        """Return which of the files that a command shows are stale; None where none is."""
        stale = [str(path) for path in paths if path.exists() and not self.is_current(path)]
        if not stale:
            return None
        return (
            f"stale, made with other params ({self._shown_params}): {', '.join(stale)}. `lion run` "
            "replaces it."
        )

    @property
    def _shown_params(self) -> str:
        more = f" and {len(self.params) - 5} more" if len(self.params) > 5 else ""
        return f"{', '.join(self.params[:5])}{more}"

    def _is_record(self, path: Path) -> bool:
        stage = path.stem.removesuffix("@0")
        names = {path.stem, f"baseline-{path.stem}"}
        if path.stem.endswith("@0"):
            names |= {stage, f"base-{stage}"}
        return path.parent == project.run_record("").parent and not names.isdisjoint(self.stages)


_Stamp = tuple[int, int] | None


def _stamp(path: Path) -> _Stamp:
    """Return the time of a file's last change and its size; None where there is none."""
    status = path.stat() if path.exists() else None
    return None if status is None else (status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _compared(_folder: Path, lock: _Stamp, _params: _Stamp) -> StaleOutputs:
    """Return what is stale; read once for the same files, since a plan asks a hundred times."""
    document = None if lock is None else yaml_file.parse_lock(dvc_project.PATH.read_bytes())
    stages = document.get("stages") if isinstance(document, dict) else None
    if not isinstance(stages, dict):
        return StaleOutputs(frozenset(), (), frozenset())
    params = yaml_file.read_yaml(project.PARAMS)
    differing = {name: _differing(entry, params) for name, entry in stages.items()}
    outs = {name: _paths(entry, "outs") for name, entry in stages.items()}
    deps = {name: _paths(entry, "deps") for name, entry in stages.items()}
    stale = _with_followers({name for name, names in differing.items() if names}, outs, deps)
    return StaleOutputs(
        stages=frozenset(stale),
        params=tuple(sorted({name for names in differing.values() for name in names})),
        paths=frozenset(path for name in stale for path in outs[name]),
    )


def _differing(entry: Mapping[str, Any], params: object) -> list[str]:
    """Return the params of a stage in dvc.lock that have another value now."""
    recorded = entry.get("params", {}).get(project.PARAMS.name, {})
    return [name for name, value in recorded.items() if _value(params, name) != value]


def _value(params: object, dotted: str) -> object:
    for name in dotted.split("."):
        params = params.get(name, _MISSING) if isinstance(params, dict) else _MISSING
    return params


def _paths(entry: Mapping[str, Any], kind: str) -> frozenset[Path]:
    return frozenset(Path(part["path"]) for part in entry.get(kind, []))


def _with_followers(
    stale: set[str], outs: Mapping[str, frozenset[Path]], deps: Mapping[str, frozenset[Path]]
) -> set[str]:
    """Return the stages of `stale` and those that read what they wrote, however far on."""
    while True:
        written = frozenset().union(*(outs[name] for name in stale))
        added = {name for name in deps if name not in stale and not written.isdisjoint(deps[name])}
        if not added:
            return stale
        stale = stale | added
