"""A killed training goes on from its last complete state and ends as if nothing had happened."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from polling import wait_until
from test_tuning import SETTINGS, digests, examples, run

from lion.student import checkpoint, fingerprint
from lion.student.chat_format import Example
from lion.training import finetune_job, states

HARDWARE = tiny.hardware(save_every=2)
CASES: dict[str, dict[str, Any]] = {
    "adamw": {},
    "muon": {"optimizer": "muon", "matrix_learning_rate": 0.01},
    "lora": {"method": "lora"},
}


class _Killed(BaseException):
    """Stands for kill -9: nothing in the training may catch it or clean up after it."""


def run_to(
    step: int, folder: Path, states_in: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> None:
    """Train, and die once `step` steps are made."""
    from lion.training import trainer

    def die(self: Any, model: Any, inputs: Any, count: Any = None) -> Any:
        if self.state.global_step >= step:
            raise _Killed
        return plain(self, model, inputs, count)

    with monkeypatch.context() as patch:
        plain = trainer.LionTrainer.training_step
        patch.setattr(trainer.LionTrainer, "training_step", die)
        with pytest.raises(_Killed):
            run(folder, states_in / "never", HARDWARE, states_in, **changes)


def saved(states_in: Path) -> list[Path]:
    return sorted(states_in.glob("*/checkpoint-*"))


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_a_killed_training_ends_with_the_same_weights_and_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    folder = tiny.folder(tmp_path / "base")
    whole = run(folder, tmp_path / "whole", **changes)
    run_to(5, folder, tmp_path / "states", monkeypatch, **changes)
    assert [state.name for state in saved(tmp_path / "states")] == ["checkpoint-2", "checkpoint-4"]
    torch.rand(5)  # a new process has drawn something else
    again = run(folder, tmp_path / "again", HARDWARE, tmp_path / "states", **changes)
    assert again == whole
    assert digests(tmp_path / "again") == digests(tmp_path / "whole")


def test_it_goes_on_and_does_not_start_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "base")
    run_to(5, folder, tmp_path / "states", monkeypatch)
    seen = steps_made(folder, tmp_path, monkeypatch)
    assert seen == [4, 5]


def steps_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> list[int]:
    """Train with the states of `tmp_path` and return the steps from which steps were made."""
    from lion.training import trainer

    seen: list[int] = []

    def note(self: Any, model: Any, inputs: Any, count: Any = None) -> Any:
        seen.append(self.state.global_step)
        return plain(self, model, inputs, count)

    with monkeypatch.context() as patch:
        plain = trainer.LionTrainer.training_step
        patch.setattr(trainer.LionTrainer, "training_step", note)
        run(folder, tmp_path / "out", HARDWARE, tmp_path / "states", **changes)
    return seen


@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 0.002}, {"steps": 7}],
    ids=["learning rate", "steps"],
)
def test_a_state_of_other_parameters_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    folder = tiny.folder(tmp_path / "base")
    run_to(3, folder, tmp_path / "states", monkeypatch)
    assert steps_made(folder, tmp_path, monkeypatch, **changes)[0] == 0


def test_what_another_training_left_goes_and_the_job_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, job = tiny.folder(tmp_path / "base"), tmp_path / "states" / "job"
    job.mkdir(parents=True)
    run_to(3, folder, tmp_path / "states", monkeypatch)
    [before] = {state.parent for state in saved(tmp_path / "states")}
    run(folder, tmp_path / "out", HARDWARE, tmp_path / "states", learning_rate=0.002)
    [after] = {state.parent for state in saved(tmp_path / "states")}
    assert after != before
    assert set((tmp_path / "states").iterdir()) == {after, job}


def test_the_key_follows_everything_that_decides_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Example("a", (1, 2, 3), 1), Example("b", (4, 5), 1)]
    source = checkpoint.resolve(tiny.folder(tmp_path / "base"))
    other = checkpoint.resolve(tiny.folder(tmp_path / "other", "qwen2"))
    plain = states.training_key(rows, source, [{"steps": 3}])
    assert plain == states.training_key(list(rows), source, [{"steps": 3}])
    relabelled = [Example("a", (1, 2, 3), 2), rows[1]]
    code = tmp_path / "edited.py"
    code.write_text("x = 1\n")
    keys = {
        plain,
        states.training_key(rows[::-1], source, [{"steps": 3}]),
        states.training_key(relabelled, source, [{"steps": 3}]),
        states.training_key(rows, other, [{"steps": 3}]),
        states.training_key(rows, source, [{"steps": 4}]),
    }
    monkeypatch.setattr(states, "_CODE", (str(code),))
    keys.add(states.training_key(rows, source, [{"steps": 3}]))
    code.write_text("x = 2\n")
    keys.add(states.training_key(rows, source, [{"steps": 3}]))
    monkeypatch.setattr(fingerprint, "_versions", lambda: {"torch": "0"})
    keys.add(states.training_key(rows, source, [{"steps": 3}]))
    assert len(keys) == 8


def test_a_state_cut_off_in_writing_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "base")
    run_to(5, folder, tmp_path / "states", monkeypatch)
    newest = saved(tmp_path / "states")[-1]
    (newest / "complete.json").unlink()
    (newest / "model.safetensors").write_bytes(b"half of it")
    assert steps_made(folder, tmp_path, monkeypatch)[0] == 2


@pytest.mark.slow
def test_killed_twenty_times_at_random_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Each life of the process ends by SIGKILL a random moment after it could be training."""
    draw = random.Random(5)
    folder = tiny.folder(tmp_path / "base")
    undisturbed, job = (write_job(folder, tmp_path / name, steps=600) for name in ("whole", "cut"))
    subprocess.run(command(undisturbed), check=True)
    last = -1
    for _ in range(20):
        with subprocess.Popen(command(job)) as process:
            wait_for_a_state_after(last, tmp_path / "cut/states", process)
            time.sleep(draw.uniform(0, 0.4))  # a random moment, no state
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
        last = newest(tmp_path / "cut/states")
    assert 0 < last < 600
    subprocess.run(command(job), check=True)
    assert finetune_job.read_report(job) == finetune_job.read_report(undisturbed)
    assert digests(tmp_path / "cut/out") == digests(tmp_path / "whole/out")


def command(job: Path) -> list[str]:
    """Return what does a job in one process, with as many threads as that process likes."""
    return [sys.executable, "-m", "lion.training.finetune_job", str(job)]


def write_job(folder: Path, at: Path, **changes: Any) -> Path:
    job = at / "states" / "job"
    finetune_job.write_job(
        job,
        examples(folder),
        student=folder,
        out=at / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(**changes),
        hardware=tiny.hardware(save_every=1),
        random_seed=7,
        states_in=at / "states",
        label="tune@1",
    )
    return job


def newest(states_in: Path) -> int:
    """Return the last step of which a complete state is kept."""
    marks = states_in.glob("*/checkpoint-*/complete.json")
    return max((int(mark.parent.name.partition("-")[2]) for mark in marks), default=-1)


def wait_for_a_state_after(step: int, states_in: Path, process: "subprocess.Popen[bytes]") -> None:
    def saved_one() -> bool:
        assert process.poll() is None, "it ended before it saved a state"
        return newest(states_in) > step

    wait_until(saved_one, f"a state after step {step} is saved")
