"""Validation rows: never tuned on, and the weights of their smallest loss are the student's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from test_tuning import digests, examples, loss_by_hand

from lion import pools
from lion.student import checkpoint
from lion.student.chat_format import Example
from lion.training import finetune_job, trainer
from lion.training.finetune import finetune
from lion.training.report import TuneReport
from lion.training.validation import VALIDATIONS

SETTINGS = tiny.student_settings()


def run(
    folder: Path,
    out: Path,
    validation: list[Example],
    states_in: Path | None = None,
    save_every: int | None = None,
    **changes: Any,
) -> TuneReport:
    """Tune on few rows so hard that they are learnt by heart."""
    return finetune(
        examples(folder)[:3],
        validation=validation,
        student=folder,
        out=out,
        settings=SETTINGS,
        tune=tiny.tune_settings(**{"steps": 60, "learning_rate": 0.01, **changes}),
        hardware=tiny.hardware(save_every=save_every),
        random_seed=7,
        states_in=states_in,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.folder(tmp_path / "base")


def test_the_student_has_the_weights_of_the_smallest_validation_loss(
    folder: Path, tmp_path: Path
) -> None:
    """Three rows overfit: the loss on others falls, then rises."""
    apart = examples(folder)[3:]
    report = run(folder, tmp_path / "out", apart)
    validated = {
        point.step: point.validation_loss
        for point in report.curve
        if point.validation_loss is not None
    }
    assert len(validated) == VALIDATIONS
    assert report.best is not None
    assert report.best.step < 60
    assert validated[report.best.step] == report.best.loss == min(validated.values())
    assert validated[60] > 1.2 * report.best.loss
    student, _ = checkpoint.load_student(tmp_path / "out", SETTINGS)
    assert loss_by_hand(student, apart) == pytest.approx(report.best.loss, rel=1e-4)


def test_validation_changes_nothing_else(folder: Path, tmp_path: Path) -> None:
    """The same steps on the same rows: where the last point is best, the same bytes."""
    with_rows = run(folder, tmp_path / "with", examples(folder)[:3], steps=8)
    without = run(folder, tmp_path / "without", [], steps=8)
    assert with_rows.best is not None
    assert with_rows.best.step == 8
    assert digests(tmp_path / "with") == digests(tmp_path / "without")
    assert without.best is None
    assert [replace(point, validation_loss=None) for point in with_rows.curve] == [*without.curve]


def test_training_stops_after_so_many_validations_without_a_smaller_loss(
    folder: Path, tmp_path: Path
) -> None:
    stopping = {"stop_after": 3, "validation_share": 0.1}
    report = run(folder, tmp_path / "out", examples(folder)[3:], **stopping)
    assert report.best is not None
    assert report.steps == report.best.step + 3 * (60 // VALIDATIONS)
    assert report.curve[-1].step == report.steps < 60


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_training_resumes_with_its_validations(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    apart, changes = examples(folder)[3:], {"method": method, "steps": 40}
    unbroken = run(folder, tmp_path / "unbroken", apart, **changes)
    died = RuntimeError("killed")

    def progress(step: int, *_: object) -> None:
        if step >= 33:
            raise died

    on_log = trainer.Watch.on_log

    def watched(self: Any, args: Any, state: Any, control: Any, **options: Any) -> None:
        on_log(self, args, state, control, **options)
        progress(state.global_step)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Watch, "on_log", watched)
        with pytest.raises(RuntimeError, match="killed"):
            run(folder, tmp_path / "broken", apart, tmp_path / "states", 10, **changes)
    resumed = run(folder, tmp_path / "resumed", apart, tmp_path / "states", 10, **changes)
    assert resumed.best == unbroken.best
    assert resumed.curve == unbroken.curve
    assert digests(tmp_path / "resumed") == digests(tmp_path / "unbroken")


def test_a_share_of_the_base_pool_is_apart_in_every_iteration() -> None:
    base = [tiny.instruction(f"Reverse: {number}") for number in range(40)]
    new = [replace_iteration(tiny.instruction(f"Sort: {number}"), "1") for number in range(10)]
    apart, rest = pools.validation_rows(base, 0.1)
    assert len(apart) == 4
    assert sorted(row.id for row in [*apart, *rest]) == sorted(row.id for row in base)
    assert pools.validation_rows([*base, *new], 0.1)[0] == apart
    assert pools.validation_rows(base, 0.0) == ([], base)
    assert len(pools.validation_rows(base, 0.001)[0]) == 1
    _, held = pools.holdout(base, 4)
    assert {row.id for row in held} != {row.id for row in apart}


def replace_iteration(row: Any, iteration: str) -> Any:
    return type(row)(row.id, row.messages, "hard", None, iteration)


def test_a_job_of_several_processes_brings_its_report_back(folder: Path, tmp_path: Path) -> None:
    job, rows = tmp_path / "job", examples(folder)
    finetune_job.write_job(
        job,
        rows[:3],
        validation=rows[3:],
        student=folder,
        out=tmp_path / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=4),
        hardware=tiny.hardware(),
        random_seed=7,
        states_in=tmp_path / "states",
        label="tune@1",
    )
    finetune_job.run_job(job)
    report = finetune_job.read_report(job)
    assert report.best is not None
    assert json.loads((job / "report.json").read_text())["best"]["step"] == report.best.step
    assert report == run(folder, tmp_path / "here", rows[3:], steps=4, learning_rate=0.003)
