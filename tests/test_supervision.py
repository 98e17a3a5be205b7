"""A signal to `lion run` alone, as a supervisor or a container sends it, stops everything."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pipeline import Project, stage_process
from polling import is_alive, wait_until
from running import Finished

_SUPERVISING = """
import os, sys
from lion.cli.supervision import run_child
code, interrupted = run_child([sys.executable, "-c", sys.argv[1]], os.environ)
print(code, interrupted, flush=True)
"""
# as dvc: ignores SIGINT while its stage runs, dies of SIGTERM, ends when its stage has ended
_DVC = """
import signal, subprocess, sys
stage = subprocess.Popen([sys.executable, "-c", {stage!r}])
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(stage.wait())
"""
_STAGE = """
import sys, time
try:
    print("running", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stage stops", flush=True)
    sys.exit(130)
"""
_STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("running", flush=True)
time.sleep(60)
"""


def supervised(child: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _SUPERVISING, child],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_alone_reaches_the_stage(number: signal.Signals) -> None:
    process = supervised(_DVC.format(stage=_STAGE))
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    said, _ = process.communicate(timeout=15)
    assert said == "stage stops\n130 True\n"


@pytest.mark.slow
def test_what_a_child_leaves_behind_is_ended() -> None:
    """A stage that does not heed the signal, and whose dvc is gone, does not live on."""
    dvc = f"""
import os, subprocess, sys, time
stage = subprocess.Popen([sys.executable, "-c", {_STUBBORN!r}])
print(stage.pid, flush=True)
time.sleep(60)
"""
    process = supervised(dvc)
    assert process.stdout is not None
    lines = {process.stdout.readline(), process.stdout.readline()}
    assert "running\n" in lines
    stage = psutil.Process(int((lines - {"running\n"}).pop()))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert said.endswith("True\n")
    wait_until(lambda: not is_alive(stage), "the stage has ended", timeout=5)


def interrupted(project: Project, stage: str, key: str, number: signal.Signals) -> tuple[str, int]:
    """Send a signal to `lion run` alone once a stage works.

    Returns what was said, and the replies that the stage has added.
    """
    said = project.root / "said"
    with (
        said.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "lion.cli", "run"],
            cwd=project.root,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        ) as lion,
    ):
        stage_process(lion, f"stages.{stage}", key)
        before = project.replies()  # it still imports

        def works() -> bool:
            tunes = stage == "tune"
            return bool(project.states(f"tune@{key}")) if tunes else project.replies() > before

        wait_until(works, f"{stage}@{key} works", interval=0.002)
        family = psutil.Process(lion.pid).children(recursive=True)
        lion.send_signal(number)
        assert lion.wait(15) == 130, said.read_text()
    wait_until(lambda: not any(map(is_alive, family)), "all have ended", timeout=15)
    return said.read_text(), project.replies() - before


# no stage declares these: slower, and the same outputs
SLOWER = {"api.concurrency": 2, "api.requests_per_minute": 900, "hardware.save_every": 1}
ASKING_AND_TUNING = (
    ("teach", "0"),
    ("tune", "0"),
    ("evaluate", "0"),
    ("review", "1"),
    ("generate", "1"),
    ("teach", "1"),
    ("tune", "1"),
    ("evaluate", "1"),
)


@pytest.mark.slow
def test_a_signal_to_lion_run_alone_stops_every_asking_and_tuning_stage(
    tiny_project: Project, finished: Finished, tmp_path: Path
) -> None:
    """No process is left, every reply is kept, and the outputs are those of another run."""
    project = tiny_project.clone(tmp_path / "project")
    project.edit(SLOWER)
    for place, (stage, key) in enumerate(ASKING_AND_TUNING):
        name = f"{stage}@{key}"
        said, added = interrupted(project, stage, key, (signal.SIGINT, signal.SIGTERM)[place % 2])
        assert "interrupted." in said, name
        assert "Traceback" not in said, name
        assert project.record(name).exit_code == 130, name
        if stage != "tune":
            assert "stopping: calls in flight are waited for" in said, name
            assert project.calls(name) == added, name
    assert project.repro().code == 0
    assert project.outs() == finished.project.outs()
