"""DVC's own views of two revisions: few columns, the figures that matter, a student by its name."""

import csv
import io
import json
import shutil
from concurrent.futures import Future
from pathlib import Path

import pytest
from pipeline import Project
from running import Changed, Finished


@pytest.fixture
def compared(finished: Finished, changing: "dict[str, Future[Changed]]", tmp_path: Path) -> Project:
    """Return a project of two commits: as first run, and with another learning rate."""
    slower = changing["slower"].result().project
    project = slower.copy(tmp_path / "project")
    for source in (finished.project, slower):
        for name in ("params.yaml", "dvc.lock"):
            shutil.copy2(source.root / name, project.root / name)
        project.git("add", "params.yaml", "dvc.lock")
        project.git("commit", "--quiet", "--message", "as it ran")
    return project


def test_dvc_compares_two_revisions(compared: Project) -> None:
    between = ("--json", "HEAD~1", "HEAD")
    metrics = json.loads(compared.dvc("metrics", "diff", *between).output)
    assert set(metrics) == {"metrics/1/exam.json"}  # what came before is as it was

    params = json.loads(compared.dvc("params", "diff", *between).output)
    ((changed, values),) = params["params.yaml"].items()
    assert (changed, values["new"]) == ("iterations.1.tune.learning_rate", 0.001)

    plots = compared.dvc("plots", "diff", "HEAD~1", "HEAD", "--out", "page")
    assert plots.code == 0, plots.output
    page = (compared.root / "page" / "index.html").read_text(encoding="utf-8")
    assert "HEAD~1" in page


@pytest.mark.parametrize("turned", [False, True])
def test_lion_diff_reads_each_revision_as_dvc_does(compared: Project, turned: bool) -> None:
    """The same iteration of two revisions: the same paths, other contents. DVC is the oracle."""
    between = ("HEAD", "HEAD~1") if turned else ("HEAD~1", "HEAD")
    metrics = json.loads(compared.dvc("metrics", "diff", "--json", *between).output)
    accuracy = metrics["metrics/1/exam.json"]["accuracy_share"]
    told = compared.run("lion.cli", "diff", "--json", *between).output
    before, after = json.loads(told[told.index("{") : told.rindex("}") + 1])["exam"]
    assert before["accuracy_share"] == pytest.approx(accuracy["old"])
    assert after["accuracy_share"] == pytest.approx(accuracy["new"])
    assert before["accuracy_share"] != after["accuracy_share"]


def test_experiments_are_shown_by_what_changed(compared: Project) -> None:
    shown = compared.dvc("exp", "show", "--only-changed", "--num", "2", "--csv")
    assert shown.code == 0, shown.output
    rows = list(csv.DictReader(io.StringIO(shown.output)))
    assert "iterations.1.tune.learning_rate" in rows[0]
    assert len(rows[0]) < 25, list(rows[0])


def test_a_student_is_fetched_by_its_name(compared: Project, tmp_path: Path) -> None:
    compared.git("tag", "-a", "student-1@v1.0.0", "-m", "the first that we use", "HEAD")
    out = tmp_path / "student"
    got = compared.dvc("artifacts", "get", ".", "student-1", "--out", str(out))
    assert got.code == 0, got.output
    weights = "model.safetensors"
    mine = compared.root / "data" / "1" / "student" / weights
    assert (out / weights).read_bytes() == mine.read_bytes()
