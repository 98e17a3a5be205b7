"""DVC's view of the project: the repository opened, and dvc.lock kept safe from `kill -9`.

DVC 3.67 empties and rewrites dvc.lock after every stage. Killed in between, it leaves nothing
or a part, and then refuses every command. So each stage keeps a copy of the last whole file when it
starts, and `lion run` puts it back. `.dvc/tmp/rwlock`, its list of paths in use, breaks likewise.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from lion.config import project
from lion.errors import BusyError, DataError
from lion.records import jsonl

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def open_repository() -> Iterator["Repo"]:
    """Yield the project's DVC repository, unlocked. DVC takes 0.4 s to import.

    Raises DataError if the working folder is in no git repository or no DVC project, or if DVC
    cannot read its files. Raises BusyError if another dvc holds a lock that the block needs.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        repo = Repo()
    except (NotDvcRepoError, SCMError) as error:
        raise DataError(
            f"{error}. DVC keeps this project in a git repository: run this in a clone of it, or "
            "make one of this folder with `git init && dvc init`."
        ) from error
    _refuse_root_above(Path(repo.root_dir))
    try:
        with repo:
            yield repo
    except LockError as error:
        raise BusyError(
            "another `dvc` holds the project's lock, a run or a `dvc push` perhaps: wait for it "
            "to end. Where none is at work, a killed one left `.dvc/tmp/rwlock`: delete that file."
        ) from error
    except DvcException as error:
        raise DataError(f"DVC refuses the project: {' '.join(str(error).split())}") from error


@contextmanager
def open_beside_a_run() -> Iterator["Repo"]:
    """Yield the project's DVC repository for reading, with private locks.

    DVC's own status takes a lock that `dvc repro` holds while a stage runs. Raises as
    `open_repository` does.
    """
    from dvc.lock import LockNoop

    with open_repository() as repo, TemporaryDirectory(prefix="lion-") as folder:
        repo.lock = LockNoop()
        repo.tmp_dir = folder  # where DVC notes which paths are read and written
        with repo.lock:
            yield repo


def git_folder() -> Path | None:
    """Return the root of the git repository around the working folder; None where there is none."""
    folders = (Path.cwd(), *Path.cwd().parents)
    return next((folder for folder in folders if (folder / ".git").exists()), None)


def _refuse_root_above(root: Path) -> None:
    """Raise DataError where the DVC project begins in a folder above: `.lion/` would be apart."""
    if root.resolve() != Path.cwd():
        raise DataError(
            f"the DVC project begins above, in {root}, so its stages would run there. In this "
            "folder run `dvc init --subdir`, and `git add .dvc`."
        )


PATH = Path("dvc.lock")
_IN_USE = Path(".dvc/tmp/rwlock")
_CONFLICT = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)


def keep_lock() -> None:
    """Copy a whole dvc.lock into `.lion/`; skipped in the copy of `dvc exp run --temp`."""
    if Path(os.environ.get("DVC_ROOT", ".")).resolve() != Path.cwd() or not PATH.exists():
        return
    content = PATH.read_bytes()
    if _has_stages(content):
        mine = _kept().with_suffix(f".{os.getpid()}")  # two stages may copy at once
        mine.write_bytes(content)
        mine.replace(_kept())


def lock_is_whole() -> bool:
    """Return whether DVC can read dvc.lock; a missing file counts as whole."""
    if not PATH.exists():
        return True
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import YAMLValidationError, validate

    try:
        validate(_parsed(PATH.read_bytes()), COMPILED_LOCKFILE_SCHEMA, path=str(PATH))
    except YAMLValidationError:
        return False
    return True


def lock_in_conflict() -> bool:
    """Return whether git left conflict marks in dvc.lock."""
    return PATH.exists() and _CONFLICT.search(PATH.read_bytes()) is not None


def mend_lock() -> bool:
    """Replace a dvc.lock that was cut off by the kept copy; return whether it did.

    Without a copy the file is moved to `.lion/`: DVC's run-cache knows what has run.
    """
    if lock_is_whole() or lock_in_conflict():
        return False
    PATH.replace(_kept().with_suffix(".damaged"))
    if _kept().exists():
        with jsonl.replacing(PATH) as temporary:
            temporary.write_bytes(_kept().read_bytes())
    return True


def remove_cut_off_rwlock() -> bool:
    """Delete DVC's list of paths in use where a killed dvc has cut it off; return whether it did.

    What it named is free then: DVC itself passes over processes that are gone.
    """
    if not _IN_USE.exists():
        return False
    from dvc.lock import LockError, make_lock

    try:
        with make_lock(f"{_IN_USE}.lock", tmp_dir=str(_IN_USE.parent)):  # as DVC while it writes
            json.loads(_IN_USE.read_bytes())
    except (LockError, FileNotFoundError):
        return False
    except ValueError:
        _IN_USE.unlink(missing_ok=True)
        return True
    return False


def absent_outputs(folder: Path) -> list[Path]:
    """Return the outputs under `folder` that dvc.lock names and that do not exist."""
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
