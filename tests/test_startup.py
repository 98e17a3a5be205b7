"""What starts at once: no command and no stage loads what it does not use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers"}
SLOW = {"openai", "polars", "scipy", "dvc", "pydantic", "aiohttp", *HEAVY}
STAGES = {
    "stages.seed": HEAVY,
    "stages.imitation.teach": HEAVY,
    "stages.discrimination.review": HEAVY,
    "stages.discrimination.split": HEAVY | {"openai", "aiohttp"},
    "stages.generation.generate": HEAVY,
    "stages.report": HEAVY | {"openai", "aiohttp"},
}


def loaded(program: str) -> set[str]:
    """Return the top-level modules that `program` loads in a process of its own."""
    tail = "\nimport json, sys; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    found = subprocess.run(
        [sys.executable, "-c", program + tail], capture_output=True, text=True, check=True
    )
    return set(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_without_a_model_loads_no_torch(module: str) -> None:
    assert not loaded(f"import {module}") & STAGES[module]


_HELP = """
from click.testing import CliRunner
from lion.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
"""


def test_help_loads_nothing_slow() -> None:
    assert not loaded(_HELP) & SLOW


def test_what_is_looked_for_would_be_found() -> None:
    assert "openai" in loaded("import lion.asking.api")


def cpu_seconds(*command: str) -> tuple[str, float]:
    """Return what a process prints, and the seconds of CPU that it alone takes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return shown, usage.ru_utime + usage.ru_stime


def test_help_appears_at_once() -> None:
    """The best of three, in CPU seconds, since other processes use the machine too."""
    seconds = []
    for _ in range(3):
        shown, used = cpu_seconds(str(Path(sys.executable).parent / "lion"), "--help")
        assert "Usage: lion" in shown
        seconds.append(used)
    assert min(seconds) < 0.6, seconds
