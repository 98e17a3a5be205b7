"""The profile `narrow`: simulated tickets by the stages themselves, with and without iterations.

Quick: tiny sizes, the stages called one after the other in this process. Slow: the profile as it
is, by a real `dvc repro`.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.repo import Repo
from fixtures import ROOT
from narrow import BASE, LOOP, NARROW, TINY, narrow_folder, run_stages
from pipeline import Project

from lion.cli import main
from lion.config import project
from lion.config.validation import read_settings
from lion.conversations import TaskTemplate
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.pools import GenerateMetrics, TeachMetrics, TuneMetrics
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.simulator.tickets import read_ticket


@pytest.fixture(scope="module")
def finished_narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in which base and one iteration of the tiny profile ran."""
    root = tmp_path_factory.mktemp("narrow")
    narrow_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stages(TINY, *(f"{stage}@0" for stage in BASE))
        run_stages(TINY, *(f"{stage}@1" for stage in LOOP))
    yield root


def pool(name: str) -> list[Instruction]:
    return jsonl.read(Path("data") / name, Instruction)


def lion(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_rows_are_conversations_of_the_task_and_children_keep_its_shape(
    finished_narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_narrow)
    task = TaskTemplate.declared(read_settings(NARROW).task)
    assert task is not None
    rows = [*pool("0/train_pool.jsonl"), *pool("exam.jsonl"), *pool("1/train_pool.jsonl")]
    for row in rows:
        values = task.read(row.messages)
        assert values is not None
        assert set(values) == {"subject", "body"}
        assert read_ticket(row.messages[-1]["content"]) is not None
    assert all(row.expected for row in pool("exam.jsonl"))
    assert not any(row.expected for row in pool("0/train_pool.jsonl"))
    funnels = files.read_metrics(project.metrics("1", "generate"), GenerateMetrics).funnels
    asked = sum(funnel.asked for funnel in funnels.values())
    kept = sum(funnel.kept for funnel in funnels.values())
    assert kept >= 0.8 * asked


def test_metrics_have_fields_trial_and_validation(
    finished_narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_narrow)
    fields = files.read_metrics(project.metrics("1", "evaluate"), EvaluateMetrics).fields
    assert fields is not None
    assert list(fields.by_name) == ["label", "urgency", "order"]
    teacher = fields.by_name["label"].teacher
    assert teacher is not None
    assert teacher.value_share > 0.9
    confusion = fields.by_name["urgency"].confusion_rows
    assert confusion is not None
    assert sum(sum(row.values()) for row in confusion.values()) == 36
    trial = files.read_metrics(project.metrics("0", "teach"), TeachMetrics).trial
    assert trial is not None
    assert (trial.rows, trial.accuracy_share > 0.8) == (36, True)
    apart = files.read_metrics(project.metrics("0", "tune"), TuneMetrics).validation_rows
    assert apart == 6
    header = project.metrics("1", "tune", "csv").read_text().splitlines()[0]
    assert header.endswith(",validation_loss")


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # pygtrie's, in DVC
def test_given_rows_alone_go_through_plan_table_page_and_report(
    finished_narrow: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`iterations: {}` is plain fine-tuning on the given rows: the base alone."""
    root = tmp_path / "given"
    shutil.copytree(finished_narrow, root)
    shutil.copy(ROOT / "dvc.yaml", root)
    monkeypatch.chdir(root)
    for name in ("data/1", "metrics/1"):
        shutil.rmtree(name)
    sentences = run_stages({**TINY, "iterations": {}}, "report@0")
    assert sentences["report@0"].startswith("1 iterations side by side")
    Repo.init(str(root), no_scm=True).close()
    with Repo(str(root)) as repo:
        names = {stage.addressing for stage in repo.index.stages}
    assert names == {"seed", "base-teach", "base-tune", "base-evaluate", "report"}
    table = lion("table")
    assert re.search(r"^ 0 +\d+", table, re.MULTILINE)
    assert re.search(r"^fields in 0: label .* %, urgency .* %, order .* %, valid", table, re.M)
    plan = json.loads(lion("plan", "--json"))
    assert {need["stage"] for need in plan} <= {"teach@0", "evaluate@0"}
    lion("report")
    assert "Training loss" in (root / "report/index.html").read_text()


@pytest.mark.slow
def test_the_profile_learns_by_a_real_repro(tmp_path: Path) -> None:
    """Base and two iterations: 40 to 70 % of whole answers at the base, and rising."""
    narrow = Project.of_working_tree(tmp_path / "narrow", "narrow")
    narrow.commit()
    run = narrow.repro()
    assert run.code == 0, run.output
    shares = [
        json.loads((narrow.root / f"metrics/{k}/exam.json").read_text())["accuracy_share"]
        for k in range(3)
    ]
    assert 0.4 <= shares[0] <= 0.7
    assert shares[0] + 0.1 < shares[1] < shares[2]
    narrow.edit({"iterations": {}})
    again = narrow.repro()
    assert (again.code, again.stages) == (0, ["report"])
