"""Several processes learn what one learns; the ready configurations are accelerate's own."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType
from pydantic import ValidationError
from test_tuning import SETTINGS, examples, run

from lion.config import launcher
from lion.config.settings import Hardware, Launcher
from lion.errors import ModelError, SettingsError
from lion.student import checkpoint
from lion.training import finetune_job
from lion.training.report import TuneReport
from lion.training.trainer import LionTrainer

ROOT = Path(__file__).parents[1]
READY = sorted((ROOT / "launchers").glob("*.yaml"))
TOLERANCE = 1e-4  # relative: sums of float32 in another order, six steps long


def launched(folder: Path, at: Path, hardware: Hardware, **changes: Any) -> TuneReport:
    """Tune as a stage does where `hardware.launcher` asks for processes."""
    finetune_job.write_job(
        at / "states" / "job",
        examples(folder),
        student=folder,
        out=at / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(**changes),
        hardware=hardware,
        random_seed=7,
        states_in=at / "states",
        label="tune@1",
    )
    job = at / "states" / "job"
    launcher.launch(hardware.launcher, "lion.training.finetune_job", str(job), cpu=True)
    return finetune_job.read_report(job)


def assert_alike(ours: TuneReport, alone: TuneReport) -> None:
    assert [point.step for point in ours.curve] == [point.step for point in alone.curve]
    assert ours.tokens == alone.tokens
    for one, other in zip(ours.curve, alone.curve, strict=True):
        assert math.isclose(one.loss, other.loss, rel_tol=TOLERANCE)


def test_two_processes_give_the_curve_and_the_student_of_one(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    hardware = tiny.hardware(processes=2, micro_batch=1, main_address="127.0.0.1:0", save_every=2)
    ours = launched(folder, tmp_path, hardware)
    assert_alike(ours, run(folder, tmp_path / "alone"))
    assert_same_weights(tmp_path / "out", tmp_path / "alone")


def assert_same_weights(ours: Path, alone: Path) -> None:
    one, other = (checkpoint.load_student(path, SETTINGS)[0].state_dict() for path in (ours, alone))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert weight.sub(other[name]).abs().max() < 1e-3, name


@pytest.mark.slow
def test_sharded_processes_give_the_curve_and_the_student_of_one(tmp_path: Path) -> None:
    """And go on from a state of theirs: the second launch finds the last one."""
    folder = tiny.folder(tmp_path / "base")
    config = str(ROOT / "tests/two-cpus-fsdp.yaml")
    hardware = tiny.hardware(processes=2, config=config, main_address="127.0.0.1:0", save_every=2)
    ours = launched(folder, tmp_path, hardware)
    assert_alike(ours, run(folder, tmp_path / "alone"))
    assert_same_weights(tmp_path / "out", tmp_path / "alone")
    states = sorted((tmp_path / "states").glob("*/checkpoint-*"))
    assert [state.name for state in states] == ["checkpoint-4", "checkpoint-6"]
    shutil.rmtree(states[-1])
    assert launched(folder, tmp_path, hardware) == ours


def test_muon_is_refused_where_matrices_are_sharded() -> None:
    trainer = object.__new__(LionTrainer)
    trainer._tune = tiny.tune_settings(optimizer="muon", matrix_learning_rate=0.01)
    with pytest.raises(SettingsError, match="wants whole matrices"):
        trainer._refuse_sharded_muon()


def test_there_are_ready_configurations() -> None:
    assert {path.stem for path in READY} == {
        "one-gpu",
        "eight-gpus-fsdp",
        "zero3-offload",
        "two-nodes",
    }


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_configuration_is_accelerates_own(path: Path) -> None:
    """It parses without unknown keys, and says that nobody here ran it on such hardware."""
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert "Never run on such hardware" in path.read_text(encoding="utf-8")
    if config.distributed_type == DistributedType.FSDP:
        assert config.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_the_launcher_that_a_configuration_names_fits_it(path: Path) -> None:
    """The parameters in its head are valid, and ask for its processes and machines."""
    text = " ".join(line.strip("# ") for line in path.read_text(encoding="utf-8").splitlines())
    found = re.search(r"hardware\.launcher: (\{.*?\]\})", text)
    config = load_config_from_file(str(path))
    if found is None:
        assert config.num_processes == 1
        return
    named = Launcher.model_validate(yaml.safe_load(found[1]))
    assert (named.processes, named.machines) == (config.num_processes, config.num_machines)
    assert Path(named.config or "").name == path.name


def test_the_launcher_becomes_accelerates_own_words(tmp_path: Path) -> None:
    config = tmp_path / "fsdp.yaml"
    config.write_text("num_processes: 2\n")
    several = tiny.hardware(
        processes=16,
        machines=2,
        main_address="node-0:29500",
        config=str(config),
        start=["srun", "--nodes=2"],
    ).launcher
    words = launcher.launch_command(several, "lion.training.finetune_job", "job", cpu=False)
    assert words[:2] == ["srun", "--nodes=2"]
    parsed = launch_command_parser().parse_args(
        words[words.index("accelerate.commands.launch") + 1 :]
    )
    assert (parsed.num_processes, parsed.num_machines, parsed.rdzv_backend) == (16, 2, "c10d")
    assert (parsed.main_process_ip, parsed.main_process_port) == ("node-0", 29500)
    assert parsed.config_file == str(config)
    assert parsed.module and parsed.training_script == "lion.training.finetune_job"
    assert parsed.training_script_args == ["job"]


def test_a_missing_configuration_is_named() -> None:
    absent = tiny.hardware(processes=2, config="launchers/none.yaml").launcher
    with pytest.raises(SettingsError, match=r"no file launchers/none\.yaml"):
        launcher.launch_command(absent, "lion.training.finetune_job", cpu=True)


def test_a_failing_process_ends_the_launch_with_an_error() -> None:
    alone = tiny.hardware(processes=1).launcher
    with pytest.raises(ModelError, match="exit code 1"):
        launcher.launch(alone, "lion.no_such_module", cpu=True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"processes": 2, "machines": 2}, "main_address"),
        ({"processes": 3, "machines": 2, "main_address": "a:1"}, "multiple of `machines`"),
        ({"main_address": "node"}, "pattern"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        tiny.hardware(**changes)


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    with pytest.raises(SettingsError, match=r"4 sequences cannot be shared out.*parts of 3"):
        run(folder, tmp_path / "out", tiny.hardware(micro_batch=3))
