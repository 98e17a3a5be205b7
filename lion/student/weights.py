"""The safetensors of a checkpoint's folder, by their headers: whether they are whole, and shapes.

Reads no weights, and imports neither torch nor transformers.
"""

import json
import re
from collections.abc import Sequence
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lion.errors import ModelError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_EMBEDDINGS = (
    "embed_tokens.weight",  # most
    "wte.weight",  # GPT-2, Falcon, MPT
    "embed_in.weight",  # GPT-NeoX
    "word_embeddings.weight",  # BLOOM
    "backbone.embeddings.weight",  # Mamba
)
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.(\d+)\.")
_LFS = b"version https://git-lfs"


class WeightHeaders:
    """The weights of a folder by name. Raises ModelError where a file is missing or damaged.

    `shapes` are those of all weights by name; `embeddings` is the number of rows of the input
    embeddings, None where no name is known for them; `layers` the number of layers, 0 where names
    do not say.
    """

    def __init__(self, folder: Path) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.embeddings: int | None = None
        self.layers = 0
        for path in weight_files(folder):
            self._read(path)

    def _read(self, path: Path) -> None:
        refuse_pointer(path)
        try:
            with safe_open(path, framework="numpy") as file:
                names = list(file.keys())
                self.shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path}: damaged, or not downloaded to its end ({error}). Download it again."
            ) from error
        for name in names:
            if name.endswith(_EMBEDDINGS):
                self.embeddings = self.shapes[name][0]
        numbers = [int(match[1]) for match in map(_LAYER.search, names) if match]
        self.layers = max([self.layers, *(number + 1 for number in numbers)])

    @property
    def parameters(self) -> int:
        """The number of all weights; tied ones are stored once."""
        return sum(map(prod, self.shapes.values()))

    @property
    def layer_matrices(self) -> list[tuple[int, int]]:
        """The shapes of the layers' matrices, which an adapter stands beside."""
        named = self.shapes.items()
        return [(shape[0], shape[1]) for name, shape in named if _is_layer_matrix(name, shape)]


def _is_layer_matrix(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and _LAYER.search(name) is not None


def weight_files(folder: Path) -> Sequence[Path]:
    """Return the safetensors that transformers reads. Raises ModelError where there is none."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if not index.is_file():
        raise ModelError(
            f"{folder}: neither {SINGLE} nor {INDEX} lies there. Rename the file if it is the whole"
            " model, or load it once and call `save_pretrained`."
        )
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{index}: no index of weights ({error}). Download it again.") from error
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of {len(files)} files of weights are missing, the first "
            f"{missing[0]}. Download them."
        )
    return [folder / name for name in files]


def refuse_pointer(path: Path) -> None:
    """Raise ModelError where `path` is a pointer that git-lfs has not replaced by its file."""
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise ModelError(
                f"{path}: a pointer of git-lfs, not the file. Run `git lfs install` and then "
                "`git lfs pull` in that folder."
            )
