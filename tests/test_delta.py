"""A delta and its base give back the student to the last bit, or nothing."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from lion.errors import ModelError
from lion.serving import delta
from lion.student import checkpoint


def saved(path: Path, seed: int, dtype: torch.dtype = torch.float32) -> Path:
    checkpoint.save(tiny.model(seed=seed).to(dtype), tiny.tokenizer(), path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
def test_what_is_recovered_is_the_student(
    tmp_path: Path, dtype: torch.dtype, base_dtype: torch.dtype
) -> None:
    base = saved(tmp_path / "base", 0, base_dtype)
    original = saved(tmp_path / "student", 1, dtype)
    differences, whole = delta.make(original, base, tmp_path / "delta")
    assert differences > 10
    assert whole == 0
    assert delta.recover(tmp_path / "delta", base, tmp_path / "back") == differences
    names = {path.name for path in original.iterdir()}
    assert {path.name for path in (tmp_path / "back").iterdir()} == names
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (original / name).read_bytes(), name
    sent = load_file(tmp_path / "delta" / "model.safetensors")
    kept = load_file(original / "model.safetensors")
    assert not any(
        torch.equal(sent[name].view(kept[name].dtype), kept[name])
        for name in kept
        if kept[name].numel() > 100 and kept[name].std() > 0
    )


def test_edges_of_floats_survive(tmp_path: Path) -> None:
    """Infinities, NaNs with a payload, signed zeros, subnormals: sums of floats would lose them."""
    odd = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-45, 3e38])
    for name, weights in (("base", odd.flip(0)), ("student", odd)):
        (tmp_path / name).mkdir()
        save_file({"w": weights}, tmp_path / name / "model.safetensors", {"format": "pt"})
    delta.make(tmp_path / "student", tmp_path / "base", tmp_path / "delta")
    delta.recover(tmp_path / "delta", tmp_path / "base", tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")["w"]
    assert torch.equal(back.view(torch.int32), odd.view(torch.int32))


def test_a_tensor_that_the_base_has_not_is_kept_whole(tmp_path: Path) -> None:
    for name, tensors in (
        ("base", {"a": torch.zeros(3), "b": torch.ones(2, 2)}),
        ("student", {"a": torch.ones(3), "b": torch.ones(3, 2), "c": torch.ones(1)}),
    ):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
    assert delta.make(tmp_path / "student", tmp_path / "base", tmp_path / "delta") == (1, 2)
    assert delta.recover(tmp_path / "delta", tmp_path / "base", tmp_path / "back") == 3
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back["b"].shape == (3, 2)
    assert back["a"].tolist() == [1, 1, 1]


def test_another_base_is_refused(tmp_path: Path) -> None:
    base, original = saved(tmp_path / "base", 0), saved(tmp_path / "student", 1)
    delta.make(original, base, tmp_path / "delta")
    with pytest.raises(ModelError, match="Name the same model at the same revision"):
        delta.recover(tmp_path / "delta", saved(tmp_path / "other", 2), tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("damage", ["bits", "lost", "unnamed", "manifest"])
def test_damage_is_found_and_nothing_is_written(tmp_path: Path, damage: str) -> None:
    base, original = saved(tmp_path / "base", 0), saved(tmp_path / "student", 1)
    delta.make(original, base, tmp_path / "delta")
    weights, manifest = tmp_path / "delta" / "model.safetensors", tmp_path / "delta" / "delta.json"
    tensors = load_file(weights)
    name = sorted(tensors)[0]
    if damage == "bits":
        tensors[name].flatten()[0] += 1
    elif damage == "lost":
        del tensors[name]
    elif damage == "unnamed":
        document = json.loads(manifest.read_text())
        del document["tensors"][name]
        manifest.write_text(json.dumps(document))
    else:
        manifest.write_text("{")
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=r"damaged|missing|does not name|no delta"):
        delta.recover(tmp_path / "delta", base, tmp_path / "back")
    assert not (tmp_path / "back").exists()
