"""What a student's folder means, and what is refused."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from huggingface_hub import constants

from lion.errors import ModelError
from lion.student import checkpoint
from lion.student.checkpoint import Pointer, Source

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
    assert checkpoint.resolve(tmp_path / "3" / "student") == Source(str(weights))
    Pointer("hub", "gpt2", "abc").write(tmp_path / "base")
    assert checkpoint.resolve(tmp_path / "base") == Source("gpt2", "abc")


def test_an_adapter_leads_to_its_base(tmp_path: Path) -> None:
    base, adapter, second = tmp_path / "base", tmp_path / "adapter", tmp_path / "second"
    Pointer("hub", "gpt2", "abc").write(base)
    for folder, on in ((adapter, base), (second, adapter)):
        folder.mkdir()
        (folder / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": str(on)})
        )
    assert checkpoint.resolve(adapter) == Source("gpt2", "abc", adapter)
    with pytest.raises(ModelError, match="is an adapter too"):
        checkpoint.resolve(second)


def test_pointers_in_a_circle_are_refused(tmp_path: Path) -> None:
    Pointer("student", "2").write(tmp_path / "1" / "student")
    Pointer("student", "1").write(tmp_path / "2" / "student")
    with pytest.raises(ModelError, match=r"in a circle: .*1/student -> .*2/student -> .*1/student"):
        checkpoint.resolve(tmp_path / "1" / "student")


def test_a_missing_or_empty_folder_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such student.*dvc checkout"):
        checkpoint.resolve(tmp_path / "none")
    with pytest.raises(ModelError, match=r"neither config\.json"):
        checkpoint.resolve(tmp_path)


def test_a_stopped_loop_says_why(tmp_path: Path) -> None:
    Pointer("student", "1", reason="nothing was hard").write(tmp_path / "2" / "student")
    assert checkpoint.stopped(tmp_path / "2" / "student") == "nothing was hard"
    assert checkpoint.stopped(tmp_path) is None


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_student_is_loaded_as_it_was_saved(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "student", architecture)
    model, tokenizer = checkpoint.load_student(folder, SETTINGS)
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
        checkpoint.save(Broken(), tiny.tokenizer(), folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_hub_id_that_cannot_be_had_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    Pointer("hub", "nobody/nothing").write(tmp_path)
    with pytest.raises(ModelError, match="nobody/nothing: not in the cache"):
        checkpoint.load_student(tmp_path, SETTINGS)


def test_remote_code_is_refused_by_default(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Mine"}}
    config["auto_map"]["AutoConfig"] = "mine.Config"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        checkpoint.load_student(folder, SETTINGS)
