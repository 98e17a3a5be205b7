"""All faults in their order, each done once: what the results hold already is left out."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faulting import cycle
from faulting.cycle import Fault
from faulting.site import Endpoint, Site, Stage

KILLS_A_CYCLE = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault that is to be done to a stage; `locked`: dvc.lock still knows the stage."""

    family: str
    name: str
    stage: Stage
    fault: Fault
    number: int = 0
    locked: bool = False

    @property
    def id(self) -> str:
        """Its name in the results."""
        return f"{self.family}/{self.name}/{self.stage.name}/{self.number}"


def _kills(site: Site, cycles: int) -> Iterator[Trial]:
    for number in range(cycles):
        for stage in site.stages:
            yield Trial("kills", "kill -9", stage, cycle.kills(KILLS_A_CYCLE), number)


def _signals(site: Site, _: int) -> Iterator[Trial]:
    for name, sent, who in (
        ("SIGTERM to the stage", signal.SIGTERM, "stage"),
        ("SIGTERM to dvc", signal.SIGTERM, "dvc"),
        ("Ctrl-C", signal.SIGINT, "group"),
    ):
        for stage in site.stages:
            yield Trial("signals", name, stage, cycle.stop_with(sent, who))


Family = Callable[[Site, int], Iterator[Trial]]
FAMILIES: dict[str, Family] = {"kills": _kills, "signals": _signals}


def run(folder: Path, results: Path, families: list[str], cycles: int) -> None:
    """Do every trial of `families` that has no line in `results`."""
    done = {json.loads(line)["id"] for line in results.read_text().splitlines()} if (
        results.exists()
    ) else set()
    with Endpoint(folder).running() as endpoint:
        sites = [
            Site.at(folder / "loop", endpoint),
            Site.at(folder / "grown", endpoint, bootstrap=True),
        ]
        for family in families:
            for site in sites:
                for trial in FAMILIES[family](site, cycles):
                    if trial.id not in done:
                        cycle.append(results, _try(site, trial))


def _try(site: Site, trial: Trial) -> cycle.Row:
    row = cycle.run(
        site, trial.stage, trial.name, trial.fault, seed=trial.id, locked=trial.locked
    )
    told = "survived" if row["survived"] else "NOT SURVIVED"
    print(f"{trial.id}: {told}, {' '.join(row['recovery'])}, {row['seconds']} s", flush=True)
    return {"id": trial.id, "family": trial.family, **row}
