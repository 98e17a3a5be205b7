"""dvc.lock after `kill -9`: a copy of the last whole one, put back where DVC can read it no more.

DVC 3.67 empties the file and writes it anew after every stage; killed in between it leaves nothing
or a part, and refuses whatever it is asked from then on. So each stage keeps a copy when it starts.
"""

import os
import re
from pathlib import Path

import yaml

from lion.config import project
from lion.records import jsonl

PATH = Path("dvc.lock")
_CONFLICT = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)


def keep() -> None:
    """Copy dvc.lock into `.lion/` where it is whole; not that of `dvc exp run --temp`'s copy."""
    if Path(os.environ.get("DVC_ROOT", ".")).resolve() != Path.cwd() or not PATH.exists():
        return
    content = PATH.read_bytes()
    if _has_stages(content):
        mine = _kept().with_suffix(f".{os.getpid()}")  # two stages may do so at once
        mine.write_bytes(content)
        mine.replace(_kept())


def is_whole() -> bool:
    """Tell whether DVC can read dvc.lock; one that is not there is whole."""
    if not PATH.exists():
        return True
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import YAMLValidationError, validate

    try:
        validate(_parsed(PATH.read_bytes()), COMPILED_LOCKFILE_SCHEMA, path=str(PATH))
    except YAMLValidationError:
        return False
    return True


def in_conflict() -> bool:
    """Tell whether git left its marks in dvc.lock: which side counts is not ours to say."""
    return PATH.exists() and _CONFLICT.search(PATH.read_bytes()) is not None


def mend() -> bool:
    """Put the copy in the place of a dvc.lock that was cut off; tell whether it was.

    Where no stage has kept one it is set aside in `.lion/`: DVC's run-cache knows what has run.
    """
    if is_whole() or in_conflict():
        return False
    PATH.replace(_kept().with_suffix(".damaged"))
    if _kept().exists():
        with jsonl.replacing(PATH) as temporary:
            temporary.write_bytes(_kept().read_bytes())
    return True


def absent(folder: Path) -> list[Path]:
    """Return the outputs under `folder` that dvc.lock names and that are not there."""
    content = PATH.read_bytes() if PATH.exists() else b""
    stages = yaml.load(content, yaml.CSafeLoader)["stages"] if _has_stages(content) else {}
    outs = [Path(out["path"]) for stage in stages.values() for out in stage.get("outs", [])]
    return [out for out in outs if out.is_relative_to(folder) and not out.exists()]


def _kept() -> Path:
    project.home().mkdir(parents=True, exist_ok=True)
    return project.home() / "dvc.lock"


def _has_stages(content: bytes) -> bool:
    document = _parsed(content)
    return isinstance(document, dict) and bool(document.get("stages"))


def _parsed(content: bytes) -> object:
    try:
        return yaml.load(content, yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
