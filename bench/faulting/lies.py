"""A teacher that lies: to some calls, which are asked again; to all, which stops the stage."""

from __future__ import annotations

import time

import psutil
from fake_server.lies import LIES
from polling import is_alive

from faulting.cycle import Cycle, Fault
from faulting.site import IN_FLIGHT

SOME = 0.03  # of the requests, at their first call
MOST_SECONDS = 120.0  # 6 tries of 4 seconds, a few times over
MOST_MEGABYTES = 1000

__all__ = ["LIES", "lie_always", "lie_sometimes"]


def lie_sometimes(name: str) -> Fault:
    """Return a fault: some calls are lied to; the very same run ends well."""

    def fault(cycle: Cycle) -> None:
        cycle.site.teacher.begin(lie=name, share=SOME)
        cycle.notes["exit"] = _watched(cycle)
        cycle.notes["lies"] = cycle.site.teacher.counts()["unbilled"]
        if cycle.notes["exit"]:
            cycle.notes["missed"] = "a few lies stopped the stage"

    return fault


def lie_always(name: str) -> Fault:
    """Return a fault: every call is lied to; the stage stops in time, and keeps nothing of it."""

    def fault(cycle: Cycle) -> None:
        cycle.site.teacher.begin(lie=name, share=1.0, always=True)
        cycle.notes["exit"] = _watched(cycle)
        cycle.notes["lies"] = cycle.site.teacher.counts()["unbilled"]
        if cycle.notes["traceback"]:
            cycle.notes["missed"] = "an error that nobody foresaw"
        cycle.site.teacher.begin()
        cycle.allowed_twice = IN_FLIGHT

    return fault


def _watched(cycle: Cycle) -> int:
    """Run `dvc repro`; note the memory of the stage. Raises TimeoutError where it hangs."""
    most, began = 0, time.monotonic()
    with cycle.site.repro() as running:
        stage = running.stage(cycle.stage)
        while is_alive(stage):
            most = max(most, _memory(stage))
            if time.monotonic() - began > MOST_SECONDS or most > MOST_MEGABYTES << 20:
                assert stage is not None
                stage.kill()
                raise TimeoutError(f"{time.monotonic() - began:.0f} s, {most >> 20} MB")
            time.sleep(0.05)
        code = running.wait()
        cycle.notes["traceback"] = "Traceback" in running.output
        cycle.notes["said"] = [line for line in running.output.splitlines() if "rror:" in line][:1]
    cycle.notes["megabytes"] = most >> 20
    return code


def _memory(process: psutil.Process | None) -> int:
    try:
        return int(process.memory_info().rss) if process is not None else 0
    except psutil.Error:
        return 0
