"""The benchmarks start: each explains itself, and one measures at the smallest size."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))


def _run(script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_there_are_benchmarks() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_explains_itself(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: two dozen interpreters would be a quarter of a minute."""
    monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])  # which a script extends
    for other in SCRIPTS:  # tests/ has modules of the same names
        monkeypatch.delitem(sys.modules, other.stem, raising=False)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert not ended.value.code
    assert "usage:" in capsys.readouterr().out


@pytest.mark.slow
def test_the_pipelines_benchmark_measures() -> None:
    done = _run(ROOT / "bench" / "pipeline.py", "--profile", "ci", "--claims", "noop")
    assert done.returncode == 0, done.stderr
    second = next(line for line in done.stdout.splitlines() if line.startswith("second"))
    assert second.split()[2:] == ["0", "0"]  # stages, replies; its seconds depend on the neighbours
    assert json.loads(done.stdout.splitlines()[-1])["name"] == "noop"


@pytest.mark.slow
def test_the_gpus_benchmark_starts_without_one() -> None:
    words = ["--size", "tiny", "--rows", "160", "--instructions", "32", "--batch", "16"]
    command = ["bash", str(ROOT / "bench" / "gpu.sh"), *words]
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "answering, ours" in done.stdout
