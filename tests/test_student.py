"""What a student's folder means, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import tiny
import torch
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from lion import student
from lion.errors import ModelError
from lion.student import Pointer, Source

SETTINGS = tiny.student_settings()


@pytest.mark.parametrize(
    "pointer",
    [
        Pointer("hub", "Qwen/Qwen3-0.6B", "c1899de"),
        Pointer("hub", "gpt2"),
        Pointer("folder", "/models/mine"),
        Pointer("student", "2", reason="nothing was hard"),
    ],
)
def test_a_pointer_is_read_as_it_was_written(tmp_path: Path, pointer: Pointer) -> None:
    pointer.write(tmp_path)
    assert Pointer.read(tmp_path) == pointer


@pytest.mark.parametrize(
    "document",
    [
        '{"format": 1, "kind": "planet", "model": "x"}',
        '{"format": 1, "kind": "hub"}',
        '{"format": 1, "kind": ["hub"], "model": "x"}',
        '{"format": 9, "kind": "hub", "model": "x"}',
        "[]",
        "not json",
    ],
)
def test_a_bad_pointer_is_refused_with_its_path(tmp_path: Path, document: str) -> None:
    (tmp_path / "pointer.json").write_text(document)
    with pytest.raises(ModelError, match=r"pointer\.json"):
        Pointer.read(tmp_path)


def test_pointers_lead_to_where_the_weights_lie(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    Pointer("folder", str(weights)).write(tmp_path / "1" / "student")
    Pointer("student", "1").write(tmp_path / "2" / "student")
    Pointer("student", "2").write(tmp_path / "3" / "student")
    assert student.resolve(tmp_path / "3" / "student") == Source(str(weights))
    Pointer("hub", "gpt2", "abc").write(tmp_path / "base")
    assert student.resolve(tmp_path / "base") == Source("gpt2", "abc")


def test_an_adapter_leads_to_its_base(tmp_path: Path) -> None:
    base, adapter, second = tmp_path / "base", tmp_path / "adapter", tmp_path / "second"
    Pointer("hub", "gpt2", "abc").write(base)
    for folder, on in ((adapter, base), (second, adapter)):
        folder.mkdir()
        (folder / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": str(on)})
        )
    assert student.resolve(adapter) == Source("gpt2", "abc", adapter)
    with pytest.raises(ModelError, match="is an adapter too"):
        student.resolve(second)


def test_pointers_in_a_circle_are_refused(tmp_path: Path) -> None:
    Pointer("student", "2").write(tmp_path / "1" / "student")
    Pointer("student", "1").write(tmp_path / "2" / "student")
    with pytest.raises(ModelError, match=r"in a circle: .*1/student -> .*2/student -> .*1/student"):
        student.resolve(tmp_path / "1" / "student")


def test_a_missing_or_empty_folder_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such student.*dvc checkout"):
        student.resolve(tmp_path / "none")
    with pytest.raises(ModelError, match=r"neither config\.json"):
        student.resolve(tmp_path)


def test_a_stopped_loop_says_why(tmp_path: Path) -> None:
    Pointer("student", "1", reason="nothing was hard").write(tmp_path / "2" / "student")
    assert student.stopped(tmp_path / "2" / "student") == "nothing was hard"
    assert student.stopped(tmp_path) is None


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_student_is_loaded_as_it_was_saved(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "student", architecture)
    model, tokenizer = student.load(folder, SETTINGS)
    ids = torch.tensor([tokenizer("Reverse the letters").input_ids])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, tiny.model(architecture)(ids).logits)
    assert tokenizer.chat_template == tiny.CHATML
    assert not model.training
    suffixes = {path.suffix for path in folder.iterdir()}
    assert ".safetensors" in suffixes
    assert not suffixes & {".bin", ".pt", ".pth"}


def test_saving_replaces_the_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "stale.txt").write_text("from before")
    tiny.folder(folder)
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    class Broken:
        def save_pretrained(self, folder: Path, **_: object) -> None:
            (folder / "half").write_text("half")
            raise OSError("disk full")

    folder = tiny.folder(tmp_path / "student")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(OSError, match="disk full"):
        student.save(Broken(), tiny.tokenizer(), folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    (folder / "model.safetensors").unlink()
    torch.save(tiny.model().state_dict(), folder / "pytorch_model.bin")
    problems = student.check(tiny.student_settings(model=str(folder)))
    assert len(problems) == 1
    assert "has no *.safetensors. Pickled weights are refused" in problems[0]
    with pytest.raises(ModelError, match="Pickled weights are refused"):
        student.load(folder, SETTINGS)


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
    [problem] = student.check(tiny.student_settings(model=str(folder)))
    assert said in problem


def test_the_check_finds_nothing_wrong_with_a_whole_student(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    assert student.check(tiny.student_settings(model=str(folder))) == []
    assert student.check(tiny.student_settings(model="embedded")) == []
    Pointer("folder", str(folder)).write(tmp_path / "pointing")
    assert student.check(tiny.student_settings(model=str(tmp_path / "pointing"))) == []


def test_the_check_wants_an_end_of_sequence(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        document = json.loads((folder / name).read_text())
        document.pop("eos_token", None)
        document.pop("eos_token_id", None)
        (folder / name).write_text(json.dumps(document))
    [problem] = student.check(tiny.student_settings(model=str(folder)))
    assert "no end-of-sequence token" in problem


def test_the_check_of_a_path_that_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is no folder" in student.check(tiny.student_settings(model=str(file)))[0]
    [problem] = student.check(tiny.student_settings(model=str(tmp_path / "none")))
    assert "there is no folder" in problem


def test_offline_an_uncached_id_is_refused(tmp_path: Path) -> None:
    """In a process of its own: the hub's library reads HF_HUB_OFFLINE when it is imported."""
    code = (
        "import sys\n"
        "from lion import student\n"
        "from lion.settings import Student\n"
        "settings = Student(model='nobody/nothing', revision=None, trust_remote_code=False,\n"
        "                   prompt_format='auto', dtype='float32', threads=None)\n"
        "print(*student.check(settings))\n"
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
    [problem] = student.check(tiny.student_settings(model="some/model"))
    assert said in problem


def test_a_hub_models_listing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class File:
        def __init__(self, rfilename: str) -> None:
            self.rfilename = rfilename

    class Info:
        siblings = (File("config.json"), File("pytorch_model.bin"), File("tokenizer.json"))

    monkeypatch.setattr(huggingface_hub, "model_info", lambda *_, **__: Info())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    [problem] = student.check(tiny.student_settings(model="some/model"))
    assert "Pickled weights are refused" in problem


def test_a_hub_id_that_cannot_be_had_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    Pointer("hub", "nobody/nothing").write(tmp_path)
    with pytest.raises(ModelError, match="nobody/nothing: not in the cache"):
        student.load(tmp_path, SETTINGS)


def test_remote_code_is_refused_by_default(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Mine"}}
    config["auto_map"]["AutoConfig"] = "mine.Config"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        student.load(folder, SETTINGS)
