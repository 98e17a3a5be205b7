"""Faults other than kills: orphans, full disks, read-only outputs, two at once, checkouts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from polling import is_alive, suspend_holding, wait_until

from faulting.cycle import Cycle, Fault, pace, random_moment
from faulting.site import BUSY, IN_FLIGHT, Site, Stage

AS_A_USER = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner")
    if not os.getuid()
    else ()
)
"""Before a command of root's: modes of files hold for it as for anybody."""
_LONGEST = 300.0  # seconds


def orphan(cycle: Cycle) -> None:
    """Kill dvc while its stage, halted, holds the lock; start a second `dvc repro` beside it."""
    with cycle.site.repro() as running:
        stage = running.stage(cycle.stage)
        held = stage is not None and suspend_holding(stage, _lock(cycle))
        running.process.kill()
    if stage is None:
        return
    with cycle.site.repro() as second:
        code = second.wait(_LONGEST)
        cycle.notes["second"] = f"exit {code}" + (", busy" if BUSY in second.output else "")
    cycle.notes["held"] = held
    if held:
        stage.resume()
    cycle.orphans.append(stage)
    cycle.allowed_twice = IN_FLIGHT
    cycle.wait_for_orphans()


def _lock(cycle: Cycle) -> Path:
    return cycle.site.project.root / ".lion" / "locks" / f"{cycle.stage.recorded}.lock"


def two_at_once(cycle: Cycle) -> None:
    """Start a second `dvc repro` while the first runs the stage; both end as they like."""
    with cycle.site.repro() as first:
        first.stage(cycle.stage)
        time.sleep(cycle.rng.uniform(0, pace(cycle.site, cycle.stage) / 2))
        command = [sys.executable, "-m", "dvc", "repro", *cycle.site.target]
        second = subprocess.run(
            command,
            cwd=cycle.site.project.root,
            env=cycle.site.project.environment(),
            capture_output=True,
            timeout=_LONGEST,
            check=False,
        )
        cycle.notes["ended"] = [first.wait(_LONGEST), second.returncode]


def cut_off(cycle: Cycle) -> None:
    """Leave dvc.lock as dvc does between emptying it and writing it anew."""
    (cycle.site.project.root / "dvc.lock").write_bytes(b"")


# --- disks -----------------------------------------------------------------------------------


@contextmanager
def small_disk(site: Site) -> Iterator[Site]:
    """Yield a copy of the site on a tmpfs of its own. Wants root."""
    mount = site.project.root.with_suffix(".disk")
    mount.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1700m", "tmpfs", mount], check=True)
    try:
        root = mount / site.project.root.name
        shutil.copytree(site.project.root.with_suffix(".pristine"), root, symlinks=True)
        shutil.copytree(root, root.with_suffix(".pristine"), symlinks=True)
        known = site.project.root.with_suffix(".pace.json")
        if known.exists():
            shutil.copy(known, root.with_suffix(".pace.json"))
        copy = Site(type(site.project)(root), site.teacher, site.target, site.stages, site.whole)
        yield copy
        copy.end_leftovers()
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def full_disk(cycle: Cycle) -> None:
    """Leave the stage a little room, or none, and give it back afterwards."""
    root = cycle.site.project.root
    filler = root.parent / "filler"
    room = cycle.rng.choice((0, cycle.rng.randrange(4096, 400_000)))
    with cycle.site.repro() as running:
        random_moment(cycle, running, "stage")  # by then dvc has removed the outputs
        _fill(filler, room)
        code, output = running.wait(_LONGEST), running.output
    filler.unlink()
    cycle.notes |= {"room": room, "exit": code, "traceback": "Traceback" in output}
    cycle.notes["said"] = [line for line in output.splitlines() if "rror" in line][-3:]
    cycle.allowed_twice = IN_FLIGHT  # a reply that came and found no room was in flight


def _fill(filler: Path, room: int) -> None:
    """Take the disk but for `room` bytes; pages that others take meanwhile are not ours."""
    with filler.open("wb") as file:
        for _ in range(20):
            try:
                free = shutil.disk_usage(filler.parent).free
                os.posix_fallocate(file.fileno(), file.tell(), max(1, free - room))
            except OSError:
                continue
            return


def read_only(cycle: Cycle) -> None:
    """Forbid writing where the outputs lie, and allow it again afterwards."""
    root = cycle.site.project.root
    folders = [root / part / cycle.stage.key for part in ("data", "metrics")] + [root / "report"]
    folders = [folder for folder in folders if folder.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with cycle.site.repro(prefix=AS_A_USER) as running:
            code, output = running.wait(_LONGEST), running.output
    finally:
        for folder in folders:
            folder.chmod(0o755)
    cycle.notes |= {"exit": code, "traceback": "Traceback" in output}
    cycle.notes["said"] = [line for line in output.splitlines() if "rror" in line][-3:]


# --- dvc checkout during a stage -------------------------------------------------------------


def make_stale(site: Site, stage: Stage) -> None:
    """Let dvc.lock know an older run of the stage: another dependency, other outputs."""
    lock = site.lock()
    lock["stages"][stage.name] = whole = site.pristine_lock()["stages"][stage.name]
    whole["deps"][0]["md5"] = "0" * 32
    for out in whole["outs"]:
        out["md5"] = _stale(site.project.root, is_folder=out["md5"].endswith(".dir"))
        out.pop("size", None)
        out.pop("nfiles", None)
    site.write_lock(lock)


def _stale(root: Path, *, is_folder: bool) -> str:
    """Put something else into DVC's cache; return its MD5."""
    content = b'{"stale": true}\n'
    name = _keep(root, content, "")
    if is_folder:
        listing: list[dict[str, Any]] = [{"md5": name, "relpath": "stale.json"}]
        return _keep(root, json.dumps(listing).encode(), ".dir")
    return name


def _keep(root: Path, content: bytes, suffix: str) -> str:
    name = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    path = root / ".dvc/cache/files/md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return name


def checkout(*, worst: bool) -> Fault:
    """Return a fault: `dvc checkout` puts older outputs back while the stage runs.

    `worst`: just when its first output appears, and the stage halted meanwhile.
    """

    def fault(cycle: Cycle) -> None:
        make_stale(cycle.site, cycle.stage)
        outs = cycle.site.lock()["stages"][cycle.stage.name]["outs"]
        paths = [cycle.site.project.root / out["path"] for out in outs]
        longest = pace(cycle.site, cycle.stage)
        with cycle.site.repro() as running:
            stage = running.stage(cycle.stage)
            if worst:
                wait_until(
                    lambda: not is_alive(stage) or any(map(Path.exists, paths)),
                    f"an output of {cycle.stage.name}",
                    timeout=_LONGEST,
                    interval=0.0005,
                )
                _send(stage, signal.SIGSTOP)
            else:
                time.sleep(cycle.rng.uniform(0, longest))
            cycle.notes["hit"] = is_alive(stage)
            done = cycle.site.project.dvc("checkout", "--force")
            cycle.notes["checkout"] = done.code
            _send(stage, signal.SIGCONT)
            cycle.notes["exit"] = running.wait(_LONGEST)
            cycle.notes["noticed"] = "changed while" in running.output

    return fault


def _send(process: psutil.Process | None, number: int) -> None:
    if process is not None and is_alive(process):
        process.send_signal(number)
