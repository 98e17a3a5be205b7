"""Evaluation's own referee: whom the exam asks, how often, and what a change of it reruns."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage
from fake_server import ChatServer, says
from fixtures import ROOT, Workplace, override
from pipeline import Project
from running import Changed, Finished
from test_loop import Scripted, Speaker

from lion.certify.labels import AnsweredRow, Labeller
from lion.config import project
from lion.config.settings import Endpoint
from lion.evaluation.evaluate import evaluate
from lion.inference.respondent import Respondent
from lion.metrics.units import RoleUsage
from lion.pipeline import plan
from lion.pipeline.checks import endpoints
from lion.prompting import templates as prompts
from lion.records.rows import ExamAnswer
from lion.stage_table import Role
from stages.evaluate import basis

HERE = {"api_key_env": None, "send_seed": False, "form": "text", "request": {"temperature": 1.0}}
OWN = {**HERE, "base_url": "http://localhost:9/v1", "model": "grader"}
EMBEDDED = {
    **HERE,
    "base_url": "embedded",
    "model": "oracle-1",
    "send_seed": True,
    "request": {"temperature": 1.0, "max_tokens": 512},
}
EXAM = [tiny.instruction(f"Name beast {number}") for number in range(4)]


class Recording(Scripted):
    """Scripted clients that also keep the model of each role."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__(words)
        self.models: dict[str, str] = {}

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator[Speaker]:
        self.models[role] = endpoint.model
        yield Speaker(self, role)


def examined(workplace: Workplace, server: ChatServer, **changes: Any) -> tuple[Recording, Any]:
    """Let a served student sit a small exam; return what was asked, and the result."""
    server.answer = says("a lion")
    student = {"base_url": server.url, "api_key_env": None, "send_seed": False, "request": {}}
    settings = workplace.params({"student.endpoint": student, "evaluate.quality": 2, **changes})
    clients = Recording(
        {
            "student": "a lion",
            "teacher": "a tiger",
        }
    )
    clients.words["referee"] = "Score of Assistant 1: 8\nScore of Assistant 2: 4"
    folder = tiny.folder(Path("student"))
    templates = {
        role: prompts.load(project.PROMPTS / role, role) for role in ("teacher", "referee")
    }
    respondent = Respondent(folder, "0", settings, clients)
    return clients, evaluate(EXAM, respondent, settings, clients, templates)  # type: ignore[arg-type]


def test_by_default_the_loops_referee_grades_the_exam(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    clients, result = examined(workplace, chat_server)
    assert clients.models["referee"] == "oracle-1"
    assert len(clients.asked["referee"]) == 2 * 2
    assert result.quality.quality_rows == 2


def test_evaluation_asks_its_own_referee_as_often_as_it_says(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    """Samples of an order are averaged first, so that a row counts once."""
    changes = {"evaluate.referee": OWN, "evaluate.samples": 3}
    clients, result = examined(workplace, chat_server, **changes)
    assert clients.models["referee"] == "grader"
    assert len(clients.asked["referee"]) == 2 * 2 * 3
    assert {request.sample for request in clients.asked["referee"]} == {0, 1, 2}
    assert result.quality.quality_rows == 2
    assert result.quality.quality_percent == pytest.approx(100 * (4 + 8) / (8 + 4))


OPEN = {
    "exam.certify": 0.5,
    "exam.scorer": {"kind": "referee", "option": None},
    "certify.students": ["1"],
    "certify.ask": ["teacher", "referee"],
    "evaluate.referee": OWN,
}


def test_open_answers_are_certified_by_the_exams_referee(workplace: Workplace) -> None:
    settings = workplace.params(OPEN)
    clients = Recording({"referee": "Score of Assistant 1: 8\nScore of Assistant 2: 4"})
    templates = {"referee": prompts.load(project.PROMPTS / "referee", "referee")}
    labeller = Labeller(settings, clients, templates)
    student = ExamAnswer(EXAM[0].id, "a lion", "stop", "student")
    assert labeller.agreeing([AnsweredRow(EXAM[0], student, "a tiger")]) == {EXAM[0].id: True}
    assert clients.models == {"referee": "grader"}


def test_the_plan_prices_certificates_by_the_exams_referee(workplace: Workplace) -> None:
    settings = workplace.params({"exam.size": 40, **OPEN})
    needs = plan.plan(settings, {"certify@1"}, {}, plan.Prices({}))
    assert {need.role: need.nanodollars for need in needs} == {"referee": None, "teacher": 0}


def test_the_plan_counts_the_exams_samples(workplace: Workplace) -> None:
    small = {"seed.size": 100, "exam.size": 40, "evaluate.quality": 10}
    settings = workplace.params({**small, "evaluate.referee": OWN, "evaluate.samples": 3})
    needs = plan.plan(settings, {"evaluate@0", "review@1"}, {}, plan.Prices({}))
    calls = {(need.stage, need.role): (need.calls, need.nanodollars) for need in needs}
    assert calls["evaluate@0", "referee"] == (2 * 3 * 10, None)  # its price is not known
    assert calls["review@1", "referee"][1] == 0  # the embedded one of the loop


def test_an_embedded_grader_of_own_files_is_refused(workplace: Workplace) -> None:
    path = workplace.path / "inputs" / "rows.jsonl"
    path.write_text('{"instruction": "Name a beast"}\n')
    settings = workplace.params(
        {"seed.source": ["inputs/rows.jsonl"], "evaluate.referee": {**OWN, "base_url": "embedded"}}
    )
    problems = list(endpoints.role_problems(settings))
    assert any(problem.startswith("evaluate.referee.base_url: ") for problem in problems)


def test_a_changed_grader_makes_only_evaluations_stale(finished: Finished, tmp_path: Path) -> None:
    project = finished.project.copy(tmp_path / "project")
    project.edit({"evaluate.referee": {**OWN, "base_url": "embedded"}})
    with Repo(str(project.root)) as repo:
        changed = repo.status()
    stale = {name for name, reasons in changed.items() if "changed deps" in str(reasons)}
    assert {name.rpartition(":")[2] for name in stale} == {"base-evaluate", "evaluate@1"}


OPTIONS = {
    "curve": [20],
    "baselines": {"given-1": {"previous": "0", "like": "1", "rows": "given"}},
    "exam.certify": 0.5,
    "certify.students": ["1"],
    "calibrate.iterations": ["1"],
}
"""Every option whose students take an exam, or whose figures have intervals."""
GRADERS = {"evaluate.referee": OWN, "evaluate.samples": 3, "evaluate.quality": 7}


def values(stage: PipelineStage) -> list[Any]:
    """Return the values that a stage's declared params have now."""
    return [params.read_params(flatten=False) for params in stage.params]


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # pygtrie's, in DVC
def test_grading_is_a_param_of_evaluations_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a curve, a baseline and certificates too: no student is tuned again for a grader."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    before = override(yaml.safe_load((ROOT / "profiles/ci.yaml").read_text()), OPTIONS)
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(before))
    Repo.init(str(tmp_path), no_scm=True).close()
    with Repo(str(tmp_path)) as repo:
        stages = {stage.addressing: stage for stage in repo.index.stages}
        declared = {name: values(stage) for name, stage in stages.items()}
        params.write_text(yaml.safe_dump(override(before, GRADERS)))
        changed = {name for name, stage in stages.items() if values(stage) != declared[name]}
    assert {"curve@20", "baseline-evaluate@given-1", "certify@1", "calibrate@1"} <= set(stages)
    assert changed == {"base-evaluate", "evaluate@1"}


@pytest.mark.parametrize("kind", ["exact", "referee"])
def test_certificates_and_baselines_know_the_grader_where_it_is_the_scorer(
    workplace: Workplace, kind: str
) -> None:
    """They depend on exam_basis.json: with another scorer, no grader changes a byte of it."""
    scorer = {"exam.scorer": {"kind": kind, "option": None}}
    usage = RoleUsage(40, 0, 500, 60, 0)
    own, loops = (
        basis(workplace.params({**scorer, **changes}), usage) for changes in (GRADERS, {})
    )
    assert own["teacher"] == {"requests": 40, "prompt_tokens": 500, "completion_tokens": 60}
    assert (own == loops) == (kind == "exact")
    assert (own["grader"] is None) == (kind == "exact")


@pytest.fixture(scope="module")
def optional(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of a finished project in which all of `OPTIONS` but calibration ran."""
    project = finished.project.copy(tmp_path_factory.mktemp("optional") / "project")
    project.edit({**OPTIONS, "calibrate.iterations": []})
    run = project.repro()
    assert run.code == 0, run.output
    assert {"curve@20", "baseline-evaluate@given-1", "certify@1"} <= set(run.stages)
    return project


@pytest.mark.slow
def test_a_changed_grader_reruns_no_curve_baseline_or_certificate(
    optional: Project, tmp_path: Path
) -> None:
    project = optional.copy(tmp_path / "project")
    project.edit({"evaluate.referee": EMBEDDED, "evaluate.samples": 2, "evaluate.quality": 8})
    run = project.repro()
    assert run.code == 0, run.output
    assert run.stages == ["base-evaluate", "evaluate@1", "report"]


@pytest.mark.slow
def test_a_changed_grader_that_scores_reruns_all_that_it_grades(
    optional: Project, tmp_path: Path
) -> None:
    project = optional.copy(tmp_path / "project")
    scorer = {"kind": "referee", "option": None}
    asked = {"certify.ask": ["teacher", "referee"], "evaluate.max_dropped": 0.5}
    project.edit({**asked, "exam.scorer": scorer, "curve": [], "evaluate.referee": EMBEDDED})
    assert project.repro().code == 0
    project.edit({"evaluate.referee.request": {"temperature": 1.0, "max_tokens": 500}})
    run = project.repro()
    assert run.code == 0, run.output
    graded = {"base-evaluate", "evaluate@1", "baseline-evaluate@given-1", "certify@1"}
    assert set(run.stages) == graded, "the embedded referee replies the same: no new report"


@pytest.mark.slow
def test_a_changed_grader_reruns_evaluations_and_the_report(grading: "Future[Changed]") -> None:
    assert grading.result().run.stages == ["base-evaluate", "evaluate@1", "report"]
