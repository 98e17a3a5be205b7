"""The profile `pocket` and its bench: the tables in the docs are those of the result file."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from fixtures import ROOT

from lion.config.validation import read_settings


@pytest.fixture(scope="module")
def pocket() -> ModuleType:
    sys.path.insert(0, str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("pocket_bench", ROOT / "bench" / "pocket.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(pocket: ModuleType) -> dict[str, Any]:
    rights = {name: 10 + 5 * place for place, name in enumerate(pocket.STUDENTS)}
    marks = {name: {f"r{row}": row < right for row in range(40)} for name, right in rights.items()}
    keys = ["0", *pocket.LOOP, *pocket.baselines()]
    seed = {
        "seed": 3,
        "commit": "abc",
        "marks": marks,
        "seconds": {f"tune@{key}": 90.0 for key in keys},
        "peak_bytes": {"tune@0": 3_400_000_000},
    }
    return {"machine": "a machine, 2 cores", "versions": {"torch": "2"}, "seeds": [seed]}


def test_the_table_has_each_student_beside_the_base(pocket: ModuleType) -> None:
    text = pocket.table(result(pocket))
    assert "| the pretrained model, untouched | 25.0 | -12.5 (" in text
    assert "| base: fine-tuned on the given rows | 37.5 |  |" in text
    assert "| student 2 | 62.5 | +25.0 (" in text
    assert "Student 2 less given -12.5 (" in text and "less one-way -25.0 (" in text
    assert "| base | 1.5 | 3.4 |" in text
    assert "| baselines | 6.0 | 0.0 |" in text
    assert pocket.claim(result(pocket)) == {
        "name": "pocket", "ours": 62.5, "others": 37.5, "ratio": 1.667, "unit": "% accuracy",
    }  # fmt: skip


def test_the_memory_of_a_stage_is_read_beside_a_child_that_nobody_waits_for(
    pocket: ModuleType,
) -> None:
    stage = [sys.executable, "-c", "print(flush=True); input()", "stages.tune", "0"]
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # now a zombie
    with subprocess.Popen(stage, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sizes = dict(pocket.stage_memory(os.getpid()))
        process.communicate(b"\n")
    ended.wait()
    assert sizes["tune@0"] > 1_000_000


def test_a_finished_seed_is_read_and_not_run_again(pocket: ModuleType, tmp_path: Path) -> None:
    [seed] = result(pocket)["seeds"]
    (tmp_path / "seed-3.json").write_text(json.dumps(seed), encoding="utf-8")
    assert pocket.measured(tmp_path, 3, {}) == seed


def test_the_table_in_the_docs_is_that_of_the_result(pocket: ModuleType) -> None:
    page = pocket.PAGE.read_text(encoding="utf-8")
    assert page.count(pocket.BEGIN) == page.count(pocket.END) == 1
    if not pocket.RESULT.exists():
        assert "not yet measured" in page.partition(pocket.BEGIN)[2].partition(pocket.END)[0]
        return
    assert pocket.with_table(page, json.loads(pocket.RESULT.read_text(encoding="utf-8"))) == page


def test_the_profile_takes_the_bench_s_baselines(pocket: ModuleType) -> None:
    """Each iteration has its line in both, so that the bench compares at equal steps."""
    document = yaml.safe_load(Path(ROOT / "profiles/pocket.yaml").read_text(encoding="utf-8"))
    settings = read_settings({**document, "baselines": pocket.baselines()})
    assert tuple(settings.iterations) == pocket.LOOP
    steps = {settings.tune_at(name).steps for name in (*settings.iterations, *settings.baselines)}
    assert steps == {80}
    assert settings.tune_at("0").learning_rate > settings.tune_at("1").learning_rate
