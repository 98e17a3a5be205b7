"""Where things lie, and params.yaml read from disk.

Artifacts are relative to the working folder, which is the root of the project or of a copy that
DVC made of it (`dvc exp run --temp`). What must outlive stages (ledger, locks, records of runs)
lies in `.lion/` of the main repository.
"""

import os
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from lion.config import yaml_file
from lion.errors import SettingsError

if TYPE_CHECKING:
    from lion.config.settings import Settings

PARAMS = Path("params.yaml")
PROMPTS = Path("prompts")
PRICES = Path("prices.yaml")
EXAM = Path("data/exam.jsonl")
FURTHER_EXAMS = Path("data/further_exams.json")  # of decontaminate.against
BASE = "0"
SEEDS = Path("seeds")
BOOTSTRAPPED = Path("data/0/bootstrapped.jsonl")
TABLE_FOLLOWS = "LION_TABLE_FOLLOWS"  # set by `lion run`, which prints the closing table itself
CURVE_PREFIX = "rows-"  # of the names of the curve's points, as data/rows-50
BASE_STUDENT = Path("data/base")

_MOST_VALUES = 100_000  # of a params.yaml; the whole of the shipped one has some hundreds


def load_settings(path: Path = PARAMS) -> "Settings":
    """Read and validate params.yaml. Raises SettingsError."""
    from lion.config.validation import read_settings  # imported lazily: pydantic is slow to import

    try:
        document = yaml_file.read_yaml(path)
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: no such file. Run in the project's folder; `lion profile default` writes one."
        ) from error
    if _spelt_out(document, {}) > _MOST_VALUES:
        raise SettingsError(f"{path}: its aliases stand for more than {_MOST_VALUES:,} values")
    return read_settings(document)


def _spelt_out(value: object, counts: dict[int, float]) -> float:
    """Return how many values a document has where each alias is written out; inf in a circle.

    A few lines of aliases of aliases may stand for billions: they are counted, never built.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counts:
        counts[id(value)] = inf  # until it is counted: a circle comes back to it
        inside = value.values() if isinstance(value, dict) else value
        counts[id(value)] = 1 + sum(_spelt_out(part, counts) for part in inside)
    return counts[id(value)]


def data(iteration: str, name: str) -> Path:
    """Return the path of an iteration's artifact."""
    return Path("data") / iteration / name


def metrics(iteration: str, stage: str, suffix: str = "json") -> Path:
    """Return the path of an iteration's metrics of one stage."""
    return Path("metrics") / iteration / f"{stage}.{suffix}"


def home() -> Path:
    """Return `.lion/` of the main repository: outside DVC's outputs and git."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".lion"


def ledger() -> Path:
    """Return the path of the ledger."""
    return home() / "ledger.sqlite"


def lock(name: str) -> Path:
    """Return the path of a stage's lock."""
    return home() / "locks" / f"{name}.lock"


def unfinished(name: str) -> Path:
    """Return the folder of what a stage goes on from that was killed; gone once it ends well."""
    return home() / "unfinished" / name


def run_record(name: str) -> Path:
    """Return the path of what really happened in a stage's last run."""
    return home() / "runs" / f"{name}.json"
