"""One fault from beginning to end: forget a stage, disturb, one `dvc repro`, compare, one line.

A line tells the fault, what was needed to recover, what differs, what was lost and paid twice.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from polling import is_alive, wait_for_end, wait_until

from faulting.site import BUSY, CUT_OFF, IN_FLIGHT, Repro, Site, Stage

Row = dict[str, Any]
_LONGEST = 300.0  # seconds of one repro: longer is a hang


@dataclass(slots=True)
class Cycle:
    """A fault at work; what it does is noted as it goes."""

    site: Site
    stage: Stage
    rng: random.Random
    notes: Row = field(default_factory=dict)
    orphans: list[psutil.Process] = field(default_factory=list)
    allowed_twice: int = 0
    twice: int = 0

    def again(self) -> None:
        """Forget the stage once more: the last fault came too late for it."""
        self.wait_for_orphans()
        self.twice += self.site.teacher.counts()["repeated"]
        self.site.forget(self.stage)
        self.site.teacher.begin()

    def wait_for_orphans(self) -> None:
        """Let the stages that outlived their dvc end. Raises TimeoutError where one hangs."""
        self.orphans += self.site.processes()
        try:
            wait_until(
                lambda: not any(map(is_alive, self.orphans)),
                "the orphans have ended",
                timeout=_LONGEST,
                interval=0.05,
            )
        finally:
            for process in filter(is_alive, self.orphans):
                process.kill()
        self.orphans.clear()


Fault = Callable[[Cycle], None]


def recover(cycle: Cycle) -> list[str]:
    """Run `dvc repro`, and what its error names; return the steps that were taken."""
    steps = []
    for _ in range(4):
        with cycle.site.repro() as running:
            code, output = running.wait(_LONGEST), running.output
        if code == 0:
            cycle.wait_for_orphans()
            return [*steps, "repro"]
        if any(words in output for words in CUT_OFF):  # dvc was killed while it wrote one of these
            steps.append("dvc's lock cut off")
            if cycle.site.mend():
                return [*steps, "lion run"]
        if BUSY in output:
            steps.append("busy: waited")
            cycle.wait_for_orphans()
            continue
        steps.append("failed")
        cycle.notes["output"] = output[-1500:]
        break
    return steps


def run(site: Site, stage: Stage, name: str, fault: Fault, seed: str) -> Row:
    """Do a fault and return its line."""
    cycle = Cycle(site, stage, random.Random(seed))
    began = time.monotonic()
    site.forget(stage)
    site.teacher.begin()
    pace(site, stage)
    problem, steps, differences = "", [], []
    try:
        fault(cycle)
        steps = recover(cycle)
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        problem = f"hang: {error}"
    counts = site.teacher.counts()
    try:
        differences = site.differences()
        lost = site.lost()
    except (OSError, KeyError, TypeError, ValueError) as error:
        problem, lost = f"unreadable: {error}", -1
    twice = cycle.twice + counts["repeated"]
    bound = cycle.allowed_twice
    problem = problem or cycle.notes.pop("missed", "")
    survived = not (problem or differences or lost or twice > bound or "failed" in steps)
    if not survived:
        site.restore()
    return {
        "fault": name,
        "stage": stage.name,
        "survived": survived,
        **cycle.notes,
        "recovery": steps,
        "problem": problem,
        "differences": differences[:10],
        "needed": counts["distinct"],
        "lost": lost,
        "twice": twice,
        "bound": bound,
        "seconds": round(time.monotonic() - began, 1),
    }


# --- kills -----------------------------------------------------------------------------------


def stop_with(number: int, who: str) -> Fault:
    """Return a fault: one signal to the stage, to dvc, or to their group, as Ctrl-C."""

    def fault(cycle: Cycle) -> None:
        _one(cycle, number, who)
        # what a signal asks to end in good order may take its time
        cycle.wait_for_orphans()

    return fault


def kills(count: int) -> Fault:
    """Return a fault of several kills -9 in a row, each of another start of `dvc repro`."""

    def fault(cycle: Cycle) -> None:
        for _ in range(count):
            who = cycle.rng.choice(("stage", "dvc", "both"))
            if not _one(cycle, signal.SIGKILL, who):
                cycle.again()
            elif cycle.rng.random() < 0.5:
                cycle.wait_for_orphans()

    return fault


def _one(cycle: Cycle, number: int, who: str) -> bool:
    """Start `dvc repro` and send a signal at a random moment; tell whether the stage was open.

    It is not where the stage had ended and dvc as well: the next `dvc repro` would do nothing.
    """
    with cycle.site.repro("--single-item", cycle.stage.name) as running:
        phase, stage = random_moment(cycle, running, who)
        in_flight = cycle.site.teacher.counts()["in_flight"]
        hit = _send(running.process, stage, number, who)
        if who == "stage" or number != signal.SIGKILL:
            running.wait(_LONGEST)
        if stage is not None and is_alive(stage) and who != "both":
            cycle.orphans.append(stage)
    cycle.notes.setdefault("hits", []).append(
        {"who": who, "hit": hit, "phase": phase, "in_flight": in_flight}
    )
    cycle.allowed_twice += IN_FLIGHT * hit
    if cycle.site.is_cut_off():  # `lion run` would mend it, and run to the end
        cycle.notes["cut_off"] = cycle.notes.get("cut_off", 0) + 1
        cycle.site.mend_lock()
    return hit


def random_moment(cycle: Cycle, running: Repro, who: str) -> tuple[str, psutil.Process | None]:
    """Wait for a moment before, in or after the stage, or in its asking; return which, and it."""
    draw = cycle.rng.random()
    if who != "stage" and draw < 0.1:
        time.sleep(cycle.rng.uniform(0, 1.5))
        return "before", None
    stage = running.stage(cycle.stage)
    missing = (
        cycle.site.asked.get(cycle.stage.recorded, 0) - cycle.site.teacher.counts()["distinct"]
    )
    if missing > 0 and draw < 0.6:
        goal = cycle.site.teacher.counts()["calls"] + cycle.rng.randint(1, missing)
        wait_until(
            lambda: not is_alive(stage) or cycle.site.teacher.counts()["calls"] >= goal,
            f"call {goal}",
            timeout=_LONGEST,
            interval=0.005,
        )
        return "asking", stage
    longest = pace(cycle.site, cycle.stage)
    time.sleep(cycle.rng.uniform(0, longest if who == "stage" else longest + 0.6))
    return "any", stage


def _send(
    dvc: subprocess.Popen[bytes], stage: psutil.Process | None, number: int, who: str
) -> bool:
    """Send the signal; return whether somebody was there to receive it."""
    alive = dvc.poll() is None
    stage_alive = is_alive(stage)
    if who == "group" and alive:
        os.killpg(dvc.pid, number)
    if who in ("dvc", "both") and alive:
        dvc.send_signal(number)
    if who in ("stage", "both") and stage is not None and stage_alive:
        try:
            stage.send_signal(number)
        except psutil.NoSuchProcess:
            stage_alive = False
    return {"stage": stage_alive, "dvc": alive, "both": alive or stage_alive}.get(who, alive)


# --- how long a stage takes ------------------------------------------------------------------


def pace(site: Site, stage: Stage) -> float:
    """Return the seconds that the process of a forgotten stage takes, measured once."""
    known = paces(site)
    if stage.name not in known:
        with site.repro() as running:
            process = running.stage(stage)
            began = time.monotonic()
            if process is None:
                raise RuntimeError(f"{stage.name} did not run:\n{running.output[-2000:]}")
            wait_for_end(process, timeout=_LONGEST)
            known[stage.name] = round(time.monotonic() - began, 2)
            running.wait(_LONGEST)
        site.project.root.with_suffix(".pace.json").write_text(json.dumps(known))
        site.forget(stage)
        site.teacher.begin()
    return known[stage.name]


def paces(site: Site) -> dict[str, float]:
    """Return what is known of the stages' seconds."""
    path = site.project.root.with_suffix(".pace.json")
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return known


def append(path: Path, row: Row) -> None:
    """Add a line to the results."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
