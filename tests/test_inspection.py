"""What is found missing before a student is loaded, and what the hub's refusals mean."""

import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import tiny
import torch
from fixtures import Workplace
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from lion.errors import ModelError, SettingsError
from lion.pipeline import stage
from lion.pipeline.checks import student as inspection
from lion.student import checkpoint
from lion.student.checkpoint import Pointer

SETTINGS = tiny.student_settings()


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    (folder / "model.safetensors").unlink()
    torch.save(tiny.model().state_dict(), folder / "pytorch_model.bin")
    problems = inspection.checkpoint_problems(
        tiny.student_settings(model=str(folder)), ask_hub=True
    )
    assert len(problems) == 1
    assert "has no *.safetensors. Pickled weights are refused" in problems[0]
    with pytest.raises(ModelError, match="Pickled weights are refused"):
        checkpoint.load_student(folder, SETTINGS)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["config.json"], "has no config.json"),
        (["model.safetensors"], "has no *.safetensors. Name a complete"),
        (["tokenizer.json", "tokenizer_config.json"], "has no tokenizer"),
    ],
)
def test_the_check_names_what_a_folder_lacks(tmp_path: Path, missing: list[str], said: str) -> None:
    folder = tiny.folder(tmp_path / "student")
    for name in missing:
        (folder / name).unlink()
    [problem] = inspection.checkpoint_problems(
        tiny.student_settings(model=str(folder)), ask_hub=True
    )
    assert said in problem


def test_the_check_finds_nothing_wrong_with_a_whole_student(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    assert (
        inspection.checkpoint_problems(tiny.student_settings(model=str(folder)), ask_hub=True) == []
    )
    assert (
        inspection.checkpoint_problems(tiny.student_settings(model="embedded"), ask_hub=True) == []
    )
    Pointer("folder", str(folder)).write(tmp_path / "pointing")
    assert (
        inspection.checkpoint_problems(
            tiny.student_settings(model=str(tmp_path / "pointing")), ask_hub=True
        )
        == []
    )


def test_the_check_wants_an_end_of_sequence(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        document = json.loads((folder / name).read_text())
        document.pop("eos_token", None)
        document.pop("eos_token_id", None)
        (folder / name).write_text(json.dumps(document))
    [problem] = inspection.checkpoint_problems(
        tiny.student_settings(model=str(folder)), ask_hub=True
    )
    assert "no end-of-sequence token" in problem


def test_the_check_of_a_path_that_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert (
        "is no folder"
        in inspection.checkpoint_problems(tiny.student_settings(model=str(file)), ask_hub=True)[0]
    )
    [problem] = inspection.checkpoint_problems(
        tiny.student_settings(model=str(tmp_path / "none")), ask_hub=True
    )
    assert "there is no folder" in problem


def test_offline_an_uncached_id_is_refused(tmp_path: Path) -> None:
    """In a process of its own: the hub's library reads HF_HUB_OFFLINE when it is imported."""
    code = (
        "import sys\n"
        "from lion.pipeline.checks import student as inspection\n"
        "from lion.config.settings import Student\n"
        "settings = Student(model='nobody/nothing', revision=None, trust_remote_code=False,\n"
        "                   prompt_format='auto', dtype='float32', threads=None, endpoint=None)\n"
        "print(*inspection.checkpoint_problems(settings, ask_hub=True))\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    problem, torch_loaded = done.stdout.splitlines()
    assert "nobody/nothing: not in the cache" in problem
    assert torch_loaded == "False"


def _refuse(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "refused")
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_refuse(GatedRepoError), "gated on the hub. Accept its terms"),
        (_refuse(RepositoryNotFoundError), "not on the hub, or private"),
        (OSError("no route"), "no route"),
    ],
)
def test_what_the_hub_refuses_is_told_with_the_next_action(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "model_info", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    [problem] = inspection.checkpoint_problems(
        tiny.student_settings(model="some/model"), ask_hub=True
    )
    assert said in problem


def test_a_hub_models_listing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class File:
        def __init__(self, rfilename: str) -> None:
            self.rfilename = rfilename

    class Info:
        siblings = (File("config.json"), File("pytorch_model.bin"), File("tokenizer.json"))

    monkeypatch.setattr(huggingface_hub, "model_info", lambda *_, **__: Info())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    [problem] = inspection.checkpoint_problems(
        tiny.student_settings(model="some/model"), ask_hub=True
    )
    assert "Pickled weights are refused" in problem


def test_stages_that_ask_do_not_look_the_hub_up_again(
    monkeypatch: pytest.MonkeyPatch, workplace: Workplace
) -> None:
    """The base student is looked up where it is taken in; every other stage only asks its role."""
    asked: list[object] = []

    def told(*name: object, **_: object) -> None:
        asked.append(name)
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "model_info", told)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    settings = workplace.params({"student.model": "some/model"})
    stage.refuse_problems(stage.Work("teach", "1", settings))
    assert asked == []
    with pytest.raises(SettingsError, match="no route"):
        stage.refuse_problems(stage.Work("seed", "0", settings))
    assert asked
