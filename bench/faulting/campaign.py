"""All faults in their order, each done once: what the results hold already is left out."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from faulting import cycle, lies, remotes, trouble
from faulting.cycle import Fault
from faulting.site import Site, Stage, parsed, teaching

KILLS_A_CYCLE = 6
QUICK, QUICK_TIMES = 5.0, 2
"""Seconds: stages that take less are killed so many times as often as the others."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault that is to be done to a stage, or to a remote; to `site`, where it has its own."""

    family: str
    name: str
    stage: Stage | None
    fault: Fault | None
    number: int = 0
    site: Site | None = None

    @property
    def id(self) -> str:
        """Its name in the results."""
        stage = "-" if self.stage is None else self.stage.name
        return f"{self.family}/{self.name}/{stage}/{self.number}"


def _kills(site: Site, cycles: int) -> Iterator[Trial]:
    for number in range(QUICK_TIMES * cycles):
        for stage in _quickest(site):
            if number < cycles or cycle.paces(site).get(stage.name, QUICK) < QUICK:
                yield Trial("kills", "kill -9", stage, cycle.kills(KILLS_A_CYCLE), number)


def _quickest(site: Site) -> list[Stage]:
    """Return the stages, those that take least time first: a campaign may be cut short."""
    known = cycle.paces(site)
    return sorted(site.stages, key=lambda stage: known.get(stage.name, 0.0))


def _signals(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        for name, sent, who in (
            ("SIGTERM to the stage", signal.SIGTERM, "stage"),
            ("SIGTERM to dvc", signal.SIGTERM, "dvc"),
            ("Ctrl-C", signal.SIGINT, "group"),
        ):
            yield Trial("signals", name, stage, cycle.stop_with(sent, who))


def _locks(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        yield Trial("locks", "dvc.lock cut off", stage, trouble.cut_off)


def _orphans(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        yield Trial("orphans", "an orphan beside a second dvc repro", stage, trouble.orphan)


def _disks(site: Site, _: int) -> Iterator[Trial]:
    if os.getuid():
        print("full disks: left out, mounting one wants root")
        return
    with trouble.small_disk(site) as small:
        for stage in _quickest(site):
            yield Trial("disks", "full disk", stage, trouble.full_disk, site=small)


def _outputs(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        yield Trial("outputs", "read-only outputs", stage, trouble.read_only)


def _two(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        yield Trial("two", "two dvc repro at once", stage, trouble.two_at_once)


def _checkouts(site: Site, _: int) -> Iterator[Trial]:
    for stage in _quickest(site):
        for name, worst in (("at a random moment", False), ("as its first output appears", True)):
            fault = trouble.checkout(worst=worst)
            yield Trial("checkouts", f"dvc checkout during a stage, {name}", stage, fault)


def _lies(site: Site, _: int) -> Iterator[Trial]:
    """Lie to a few calls of the longest asking, and to all of the shortest."""
    named = {stage.name: stage for stage in site.stages}
    for name in lies.LIES:
        if "base-teach" in named:
            some, every = lies.lie_sometimes(name), lies.lie_always(name)
            yield Trial("lies", f"{name}, now and then", named["base-teach"], some)
            yield Trial("lies", f"{name}, always", named["teach@1"], every)


def _remotes(site: Site, _: int) -> Iterator[Trial]:
    for name in remotes.FAULTS if len(site.stages) > 1 else ():
        for number in range(2):
            yield Trial("remotes", name, None, None, number)


Family = Callable[[Site, int], Iterator[Trial]]
FAMILIES: dict[str, Family] = {
    "kills": _kills,
    "signals": _signals,
    "locks": _locks,
    "orphans": _orphans,
    "disks": _disks,
    "outputs": _outputs,
    "two": _two,
    "checkouts": _checkouts,
    "lies": _lies,
    "remotes": _remotes,
}


def planned(folder: Path, cycles: int) -> dict[str, int]:
    """Return how many trials each family has."""
    names = ("loop", "grown")
    locks = [folder / f"{name}.pristine" / "dvc.lock" for name in names]
    stages = sum(len(parsed(lock)["stages"]) for lock in locks)
    known = [folder / f"{name}.pace.json" for name in names]
    paces = [pace for file in known if file.exists() for pace in parsed(file).values()]
    quick = sum(pace < QUICK for pace in paces)
    each = {
        "signals": 3,
        "locks": 1,
        "orphans": 1,
        "disks": 1,
        "outputs": 1,
        "two": 1,
        "checkouts": 2,
    }
    counts = {family: times * stages for family, times in each.items()}
    counts["kills"] = cycles * (stages + (QUICK_TIMES - 1) * quick)
    return {**counts, "lies": 2 * len(lies.LIES), "remotes": 2 * len(remotes.FAULTS)}


def run(folder: Path, results: Path, families: list[str], cycles: int, most: int | None) -> None:
    """Do every trial of `families` that has no line in `results`; of each family `most` now."""
    done = set()
    if results.exists():
        done = {json.loads(line)["id"] for line in results.read_text().splitlines()}
    with teaching(folder) as teacher:
        sites = [
            Site.at(folder / "loop", teacher),
            Site.at(folder / "grown", teacher, bootstrap=True),
        ]
        for family in families:
            for site in sites:
                trials = FAMILIES[family](site, cycles)
                missing = (trial for trial in trials if trial.id not in done)
                for trial in islice(missing, most):
                    cycle.append(results, _try(trial.site or site, trial))


def _try(site: Site, trial: Trial) -> cycle.Row:
    if trial.stage is None or trial.fault is None:
        row = remotes.run(site, trial.name, seed=trial.id)
    else:
        row = cycle.run(site, trial.stage, trial.name, trial.fault, seed=trial.id)
    told = "survived" if row["survived"] else "NOT SURVIVED"
    steps = ", ".join(map(str, row["recovery"]))
    print(f"{trial.id}: {told}; {steps}; {row['seconds']} s", flush=True)
    return {"id": trial.id, "family": trial.family, **row}
