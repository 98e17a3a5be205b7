"""The stages as DVC orders them: which are still to run, and in which order a run visits them."""

from collections.abc import Iterable, Sequence
from typing import Any

from lion.config import project
from lion.pipeline import dvc_project
from lion.pipeline.run_progress import RunOrder

_IN_DVCS_ORDER = {
    "--allow-missing",
    "--pull",
    "--keep-going",
    "-k",
    "--no-commit",
    "--no-run-cache",
}
_FORCED = {"--force", "-f"}  # DVC skips no stage, and its order stays the same


def remaining_stages() -> set[str]:
    """Return the stages that `dvc repro` would run, or may run later, as `teach@1`.

    Beside a run, its stage at work is one of them. Raises DataError where the working folder is no
    DVC project.
    """
    with dvc_project.open_beside_a_run() as repo:
        names = {stage.addressing for stage in _stale(repo.index.graph, allow_missing=False)}
    return {_named(name) for name in names}


def run_order(calls: Iterable[Sequence[str]]) -> RunOrder | None:
    """Return the stages that a run visits; `calls` are the arguments of each `dvc repro` in turn.

    None where an argument changes the order, as `--downstream` does. DVC breaks ties among stages
    that do not depend on each other by chance where targets leave out half of the pipeline.
    Raises DataError where DVC finds no project or no such target.
    """
    calls = [tuple(arguments) for arguments in calls]
    options = {word for arguments in calls for word in arguments if word.startswith("-")}
    if not options <= _IN_DVCS_ORDER | _FORCED:
        return None
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with dvc_project.open_beside_a_run() as repo:
        graph = get_active_graph(repo.index.graph)
        stages = dict[Any, None]()  # a set that keeps the order
        for arguments in calls:
            targets = [word for word in arguments if not word.startswith("-")]
            visited = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
            stages |= dict.fromkeys(stage for stage in visited if stage.cmd)
        stale = stages if options & _FORCED else _stale(graph, "--allow-missing" in options)
        return RunOrder(
            stages=tuple(map(_process_name, stages)),
            to_run=frozenset(_process_name(stage) for stage in stages if stage in stale),
        )


def _stale(graph: Any, allow_missing: bool) -> set[Any]:
    """Return the stages that have changed, and all that depend on them."""
    import networkx  # type: ignore[import-untyped]  # dvc brings it, without stubs

    stale = {stage for stage in graph if _has_changed(stage, allow_missing)}
    for stage in list(stale):
        stale |= networkx.ancestors(graph, stage)  # DVC's edges point to dependencies
    return stale


def _has_changed(stage: Any, allow_missing: bool) -> bool:
    try:
        return bool(stage.changed(allow_missing=True) if allow_missing else stage.status())
    except FileNotFoundError:
        return True  # the stage at work has just removed or replaced a file


def _named(addressing: str) -> str:
    """Return the name that a stage runs under: `teach@0` of DVC's `base-teach`."""
    if addressing.startswith("base-"):
        return f"{addressing.removeprefix('base-')}@{project.BASE}"
    if addressing.startswith("curve@"):
        return addressing.replace("@", f"@{project.CURVE_PREFIX}")
    return addressing.removeprefix("baseline-")


def _process_name(stage: Any) -> str:
    """Return the name that a stage's process has: `seed@0` of DVC's `seed`."""
    name = _named(stage.addressing)
    return name if "@" in name else f"{name}@{project.BASE}"
