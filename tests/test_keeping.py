"""`hardware.keep_students`: students make room and come back; what others name stays."""

from pathlib import Path

import pytest
from fixtures import Workplace
from pipeline import Project
from running import Finished

from lion.cli import make_room
from lion.cli.make_room import EvaluatedStudent, FreedStudent
from lion.config import project
from lion.config.settings import Settings
from lion.pipeline.checks.removed_students import removed_student_notices

LINE = [
    EvaluatedStudent("0", None, 0.2),
    EvaluatedStudent("1", "0", 0.6),
    EvaluatedStudent("2", "1", 0.6),
    EvaluatedStudent("3", "2", 0.5),
]


@pytest.mark.parametrize(
    ("keep", "going"), [("all", []), ("last", ["0", "1", "2"]), ("best", ["0", "2"])]
)
def test_the_last_student_always_stays(keep: make_room.Keep, going: list[str]) -> None:
    assert make_room.superseded(keep, LINE) == going


def test_each_line_of_work_has_its_last_student() -> None:
    assert make_room.superseded("last", [*LINE, EvaluatedStudent("1b", "0", None)]) == [
        "0",
        "1",
        "2",
    ]


def test_without_scores_there_is_no_best() -> None:
    done = [EvaluatedStudent("0", None, None), EvaluatedStudent("1", "0", None)]
    assert make_room.superseded("best", done) == ["0"]


def baselines(workplace: Workplace) -> Settings:
    lines = {"given-1": {"previous": "0", "like": "1", "rows": "given"}}
    return workplace.params({"baselines": lines, "hardware.keep_students": "last"})


def test_the_student_that_a_baseline_starts_from_stays(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the baseline has a student of its own."""
    settings, freed = baselines(workplace), list[list[str]]()

    def free_disk(names: list[str], **_: bool) -> list[FreedStudent]:
        freed.append(names)
        return []

    monkeypatch.setattr(make_room, "evaluated", lambda _: LINE)
    monkeypatch.setattr(make_room, "free_disk", free_disk)
    make_room.remove_students(dry_run=True)
    project.data("given-1", "student").mkdir(parents=True)
    make_room.remove_students(dry_run=True)
    assert settings.baselines["given-1"].previous == "0"
    assert freed == [["1", "2"], ["0", "1", "2"]]


def test_a_removed_student_that_a_new_line_starts_from_is_named(workplace: Workplace) -> None:
    settings = baselines(workplace)
    assert list(removed_student_notices(settings)) == []
    for name in settings.iterations | {"0": None}:
        path = project.metrics(name, "tune")
        path.parent.mkdir(parents=True)
        path.touch()
    (notice,) = removed_student_notices(settings)
    assert notice == (
        "data/0/student: it was removed, and given-1 starts from it. Before the run: "
        "`dvc pull data/0/student`, or `dvc repro base-tune` where no remote has it."
    )
    project.data("0", "student").mkdir(parents=True)
    assert list(removed_student_notices(settings)) == []


def cached(run: Project) -> int:
    files = (run.root / ".dvc" / "cache").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


@pytest.mark.slow
def test_a_student_makes_room_and_the_run_goes_on_without_it(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "project")
    student, last = (project.root / "data" / name / "student" for name in ("0", "1"))
    weights = (student / "model.safetensors").read_bytes()
    project.edit({"hardware.keep_students": "last"})
    before = cached(project)

    told = project.run("lion.cli", "make-room", "--dry-run")
    assert (told.code, "student 0: would free" in told.output) == (0, True), told.output
    assert (cached(project), student.is_dir()) == (before, True)

    run = project.run("lion.cli", "run")
    assert (run.code, run.stages) == (0, []), run.output
    assert "student 0: freed" in run.output
    assert last.is_dir()
    assert not student.exists()
    assert before - cached(project) >= len(weights)

    again = project.run("lion.cli", "run")
    assert (again.code, again.stages) == (0, []), again.output
    project.edit({"baselines": {"given-1": {"previous": "0", "like": "1", "rows": "given"}}})
    assert "`dvc repro base-tune`" in project.run("lion.cli", "check", "--offline").output
    back = project.repro("base-tune")
    assert (back.code, len(back.stages)) == (0, 1), back.output
    assert (student / "model.safetensors").read_bytes() == weights
    assert project.replies() == finished.replies


def test_a_student_that_nothing_could_bring_back_is_left_alone(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "project")
    project.edit({"hardware.keep_students": "last"})
    mine = project.root / "data" / "0" / "student" / "notes.txt"
    mine.write_text("by hand", encoding="utf-8")
    told = project.run("lion.cli", "make-room")
    assert (told.code, told.output) == (0, "")
    assert mine.is_file()
