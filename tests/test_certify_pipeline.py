"""certify@k by a real `dvc repro`: the tiny student's honest end, and what it costs the teacher."""

import re
from pathlib import Path

import pytest
from pipeline import Project
from running import Finished

from lion.metrics.certificates import CertificateMetrics, CertifiedMetrics
from lion.metrics.exams import EvaluateMetrics
from lion.pools import set_apart
from lion.records import jsonl
from lion.records.rows import Instruction

CERTIFIED = {"exam.certify": 0.5, "certify.students": ["1"]}
AGAIN = {"seed", "base-evaluate", "evaluate@1", "certify@1", "report"}


@pytest.fixture(scope="module")
def certified(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of a finished project whose student 1 is certified now."""
    project = finished.project.copy(tmp_path_factory.mktemp("certified") / "project")
    project.edit(CERTIFIED)
    run = project.repro()
    assert run.code == 0, run.output
    assert set(run.stages) == AGAIN, "rows are set apart by a hash: no pool changes"
    return project


@pytest.mark.slow
def test_the_tiny_student_ends_without_a_threshold_in_plain_words(certified: Project) -> None:
    exam = jsonl.read(certified.root / "data/exam.jsonl", Instruction)
    headline, apart = set_apart(exam, 0.5)
    metrics = certified.metrics("1", CertificateMetrics)
    assert (metrics.rows, metrics.other_rows) == (len(apart), len(headline))
    assert metrics.headline.uncertainty_limit is None
    assert metrics.headline.reason is not None
    assert re.fullmatch(
        "97 % at 95 % confidence needs at least 99 accepted rows without a disagreement; "
        rf"you have \d+( of {len(apart)} set apart)?",
        metrics.headline.reason,
    )
    assert certified.metrics("1", CertifiedMetrics).coverage_share is None
    evaluate = certified.metrics("1", EvaluateMetrics)
    assert evaluate.accuracy_rows == len(headline), "rows set apart have no part in the headline"


@pytest.mark.slow
def test_nobody_is_asked_and_nothing_runs_again(certified: Project) -> None:
    assert certified.calls("certify@1") == 0
    assert certified.record("evaluate@1").asked["teacher"].calls == 0, "the ledger has them"
    assert certified.repro().stages == []


@pytest.mark.slow
def test_it_is_seen_where_people_look(certified: Project, tmp_path: Path) -> None:
    table = certified.run("lion.cli", "table").output
    assert "everything goes to the teacher" in table
    assert "certified.json" in certified.dvc("metrics", "show").output
    assert "certificate: none, then no threshold at 97.0 % agreement" in (
        certified.run("lion.cli", "diff", "1").output
    )
    page = tmp_path / "index.html"
    assert certified.run("lion.cli", "report", "--out", str(page)).code == 0
    assert "What it may answer alone" in page.read_text(encoding="utf-8")
    card = tmp_path / "student"
    assert certified.run("lion.cli", "export", str(card)).code == 0
    assert "## What it may answer alone" in (card / "README.md").read_text(encoding="utf-8")
    asked = certified.run("lion.cli", "ask", "Is 17 odd or even?")
    assert (asked.code, "needs at least 99 accepted rows" in asked.output) == (1, True)


@pytest.mark.slow
def test_open_answers_are_certified_by_the_exams_referee(
    finished: Finished, tmp_path: Path
) -> None:
    """Teacher and referee are asked about the rows set apart alone, and once."""
    project = finished.project.copy(tmp_path / "project")
    asked = {"certify.ask": ["teacher", "referee"], "evaluate.max_dropped": 0.5}
    project.edit({**CERTIFIED, **asked, "exam.scorer": {"kind": "referee", "option": None}})
    run = project.repro()
    assert run.code == 0, run.output
    apart = set_apart(jsonl.read(project.root / "data/exam.jsonl", Instruction), 0.5)[1]
    metrics = project.metrics("1", CertificateMetrics)
    assert (metrics.teacher and metrics.teacher.requests) == len(apart)
    judged = metrics.rows + metrics.other_rows
    assert metrics.referee is not None
    assert not metrics.dropped
    # where both answers are the same text, both orders are one request
    assert judged <= metrics.referee.requests <= 2 * judged
    assert metrics.headline.uncertainty_limit is not None or metrics.headline.reason
    assert metrics.open_weights is not None
    project.edit({"certify.agreement": 0.9})
    assert project.repro().stages == ["certify@1", "report"]
    assert project.record("certify@1").asked["referee"].calls == 0, "the ledger has the reviews"
