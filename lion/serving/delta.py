"""A student's weights as a difference to its base model: to share what was learnt alone.

The difference is between the bits of the numbers, as integers that wrap around, so that what is
recovered is the student to the last bit; sums of floats would not be. `delta.json` holds the
SHA-256 of every tensor before and after: another base, or a damaged file, is refused. Tensors that
the base lacks, or has in another shape, are kept whole. One file of weights is in memory at a time.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lion.errors import DataError, ModelError
from lion.records import jsonl
from lion.records.rows import Row
from lion.serving import export
from lion.student import checkpoint as students

MANIFEST = "delta.json"
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def make(student: Path, base: Path, out: Path) -> tuple[int, int]:
    """Write the difference of checkpoint `student` to checkpoint `base` to `out`.

    Returns how many tensors are differences and how many are kept whole. Raises ModelError.
    """
    export.refuse_taken(out)
    weights = Weights(base)
    tensors: dict[str, Row] = {}

    def difference(name: str, tensor: Tensor) -> Tensor:
        base_tensor = weights.alike(name, tensor.shape, tensor.dtype)
        tensors[name] = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "sha256": digest(tensor),
            "base_sha256": None if base_tensor is None else digest(base_tensor),
        }
        return tensor if base_tensor is None else _bits(tensor) - _bits(base_tensor)

    with students.replacing_folder(out) as folder:
        _rewrite(student, folder, difference)
        jsonl.write_document(folder / MANIFEST, {"tensors": tensors})
    differences = sum(row["base_sha256"] is not None for row in tensors.values())
    return differences, len(tensors) - differences


def recover(delta: Path, base: Path, out: Path) -> int:
    """Write the student that `delta` was made of to `out`, and return how many tensors it has.

    Raises ModelError where the base is another one, or where a tensor is missing or not what it
    was: nothing is written then.
    """
    export.refuse_taken(out)
    tensors = _manifest(delta)
    weights = Weights(base)

    def whole(name: str, stored: Tensor) -> Tensor:
        row = tensors.pop(name, None)
        if row is None:
            raise ModelError(f"{delta}: {MANIFEST} does not name {name}. Fetch the delta again.")
        tensor = stored if row["base_sha256"] is None else _sum(weights, name, stored, row)
        if digest(tensor) != row["sha256"]:
            raise ModelError(f"{delta}: {name} is damaged. Fetch the delta again.")
        return tensor

    count = len(tensors)
    with students.replacing_folder(out) as folder:
        _rewrite(delta, folder, whole)
        if tensors:
            raise ModelError(f"{delta}: {len(tensors)} tensors are missing, as {min(tensors)}.")
    return count


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's type, shape and bytes."""
    hasher = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode())
    hasher.update(_bits(tensor).flatten().view(torch.uint8).numpy().data)
    return hasher.hexdigest()


class Weights:
    """A checkpoint's tensors by name, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """List the tensors. Raises ModelError where there are none."""
        self._files: dict[str, Path] = {}
        for path in _files(folder):
            with safe_open(path, "pt") as file:
                self._files |= dict.fromkeys(file.keys(), path)

    def alike(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Return a tensor as `dtype`, or None where there is none of its name and shape."""
        if name not in self._files:
            return None
        with safe_open(self._files[name], "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor.to(dtype) if tensor.shape == shape else None


def _sum(weights: Weights, name: str, stored: Tensor, row: Row) -> Tensor:
    dtype: torch.dtype = getattr(torch, row["dtype"])
    base_tensor = weights.alike(name, stored.shape, dtype)
    if base_tensor is None or digest(base_tensor) != row["base_sha256"]:
        raise ModelError(
            f"{name} of the base is not the one that the delta was made of. Name the same model at "
            "the same revision."
        )
    return (_bits(base_tensor) + stored).view(dtype)


def _rewrite(source: Path, folder: Path, change: Callable[[str, Tensor], Tensor]) -> None:
    """Copy a checkpoint with every tensor changed."""
    weights = set(_files(source))
    for path in sorted(source.iterdir()):
        if path in weights:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: change(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  # no mapping
            save_file(tensors, folder / path.name, metadata)
        elif path.is_file() and path.name != MANIFEST:
            shutil.copyfile(path, folder / path.name)


def _manifest(delta: Path) -> dict[str, Row]:
    try:
        tensors = jsonl.read_document(delta / MANIFEST)["tensors"]
    except (DataError, KeyError) as error:
        raise ModelError(f"{delta} is no delta: {error}") from error
    return dict(tensors)


def _files(folder: Path) -> list[Path]:
    """Return a checkpoint's files of weights. Raises ModelError where there are none."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"{folder} holds no *.safetensors. Name a whole checkpoint.")
    return paths


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])
