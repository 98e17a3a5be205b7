"""`lion run --until K` and `--stop-on-validation`: what DVC is called for, and when that ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from fixtures import Workplace
from running import Finished

from lion.cli import main, run
from lion.config import project
from lion.config.settings import Settings
from lion.metrics import files
from lion.metrics.pools import TuneMetrics

ITERATIONS = {
    "1": {"previous": "0", "generate": {}, "tune": {}},
    "2": {"previous": "1", "generate": {}, "tune": {}},
}


def tuned(name: str, loss: float | None) -> None:
    figures = TuneMetrics(
        new_rows=1,
        old_rows=0,
        dropped={},
        truncated=0,
        steps=1,
        supervised_tokens=1,
        final_loss_nats=1.0,
        validation_loss_nats=loss,
    )
    files.write_metrics(project.metrics(name, TuneMetrics.FILE), figures)


class Dvc:
    """Takes the place of `dvc repro`: notes its targets, and writes the losses of an iteration."""

    def __init__(self, losses: Mapping[str, float | None], code: int = 0) -> None:
        self.losses, self.code, self.targets = losses, code, list[list[str]]()

    def __call__(self, command: Sequence[str], _: Mapping[str, str]) -> tuple[int, bool]:
        targets = list(command[command.index("repro") + 1 :])
        self.targets.append(targets)
        for target in targets:
            name = target.partition("@")[2] or "0"
            tuned(name, self.losses.get(name))
        return self.code, False


def called(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, dvc: Dvc, *arguments: str
) -> tuple[int, str]:
    def checked(**_: Any) -> Settings:
        return settings

    monkeypatch.setattr(run, "checked_settings", checked)
    monkeypatch.setattr(run, "run_child", dvc)
    result = CliRunner().invoke(main, ["run", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def settings(workplace: Workplace) -> Settings:
    return workplace.params({"iterations": ITERATIONS, "tune.validation_share": 0.1})


def test_until_names_one_exam(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in (("0", "base-evaluate"), ("1", "evaluate@1")):
        dvc = Dvc({})
        code, output = called(monkeypatch, settings, dvc, "--until", name)
        assert (code, dvc.targets) == (0, [[target]])
        assert f"ended after the exam of iteration {name}" in output
        assert "`lion run` goes on" in output


def test_until_an_unknown_iteration_runs_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc = Dvc({})
    code, output = called(monkeypatch, settings, dvc, "--until", "7")
    assert (code, dvc.targets) == (2, [])
    assert "there is no iteration 7; params.yaml has 0, 1, 2" in output


@pytest.mark.parametrize(
    ("losses", "targets"),
    [
        ({"0": 1.0, "1": 0.9, "2": 0.8}, [["base-evaluate"], ["evaluate@1"], ["evaluate@2"], []]),
        ({"0": 1.0, "1": 1.0}, [["base-evaluate"], ["evaluate@1"]]),
        ({"0": 1.0, "1": 0.9, "2": 0.95}, [["base-evaluate"], ["evaluate@1"], ["evaluate@2"]]),
        ({"0": 1.0, "1": None}, [["base-evaluate"], ["evaluate@1"], ["evaluate@2"], []]),
    ],
)
def test_the_loop_halts_where_validation_is_no_better(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    losses: Mapping[str, float | None],
    targets: list[list[str]],
) -> None:
    """By the loss of validation rows alone: there is no exam in this folder."""
    dvc = Dvc(losses)
    code, output = called(monkeypatch, settings, dvc, "--stop-on-validation")
    assert (code, dvc.targets) == (0, targets)
    assert ("halted after iteration" in output) == (targets[-1] != [])


def test_both_end_at_the_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = Dvc({"0": 1.0, "1": 0.9, "2": 0.8})
    _, output = called(monkeypatch, settings, dvc, "--stop-on-validation", "--until", "1")
    assert dvc.targets == [["base-evaluate"], ["evaluate@1"]]
    assert "ended after the exam of iteration 1" in output


@pytest.fixture
def branched(workplace: Workplace) -> Settings:
    lines = {**ITERATIONS, "1b": {"previous": "0", "generate": {}, "tune": {}}}
    return workplace.params({"iterations": lines, "tune.validation_share": 0.1})


def test_a_branch_that_until_does_not_descend_from_is_not_run(
    branched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc = Dvc({"0": 1.0, "1": 0.9, "2": 0.8})
    code, output = called(monkeypatch, branched, dvc, "--stop-on-validation", "--until", "2")
    assert (code, dvc.targets) == (0, [["base-evaluate"], ["evaluate@1"], ["evaluate@2"]])
    assert "ended after the exam of iteration 2" in output


@pytest.mark.parametrize(
    ("losses", "ran"),
    [
        ({"0": 1.0, "1b": 1.1, "1": 0.9, "2": 0.8}, ["0", "1", "1b", "2"]),
        ({"0": 1.0, "1b": 0.9, "1": 1.1, "2": 0.8}, ["0", "1", "1b"]),
    ],
)
def test_a_branch_halts_its_descendants_alone(
    branched: Settings,
    monkeypatch: pytest.MonkeyPatch,
    losses: Mapping[str, float | None],
    ran: list[str],
) -> None:
    dvc = Dvc(losses)
    code, output = called(monkeypatch, branched, dvc, "--stop-on-validation")
    targets = [["base-evaluate" if name == "0" else f"evaluate@{name}"] for name in ran]
    assert (code, sorted(dvc.targets)) == (0, sorted(targets))
    assert output.count("halted after iteration") == 1


@pytest.mark.parametrize("option", [["--stop-on-validation"], ["--until", "1"]])
def test_targets_beside_the_options_are_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    """DVC would run them before anything is read."""
    dvc = Dvc({})
    code, output = called(monkeypatch, settings, dvc, *option, "--pull", "evaluate@2")
    assert (code, dvc.targets) == (2, [])
    assert "evaluate@2: --until and --stop-on-validation choose the stages" in output


def test_without_validation_rows_the_rule_is_refused(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = workplace.params({"iterations": ITERATIONS, "tune.validation_share": 0.0})
    dvc = Dvc({})
    code, output = called(monkeypatch, settings, dvc, "--stop-on-validation")
    assert (code, dvc.targets) == (2, [])
    assert "tune.validation_share: it is 0 in 0, 1, 2" in output


def test_a_stage_that_fails_ends_the_steps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc = Dvc({}, code=1)
    code, _ = called(monkeypatch, settings, dvc, "--stop-on-validation")
    assert (code, dvc.targets) == (1, [["base-evaluate"]])


@pytest.mark.slow
def test_until_leaves_the_iterations_behind_it_alone(finished: Finished, tmp_path: Any) -> None:
    """By a real `dvc repro` of a finished project to which an iteration was added."""
    project = finished.project.copy(tmp_path / "project")
    project.append_iteration("2", "1")
    done = project.run("lion.cli", "run", "--until", "1")
    assert done.code == 0, done.output
    assert done.stages == []
    assert not (project.root / "data" / "2").exists()
    assert "ended after the exam of iteration 1" in done.output
