"""Problems of git, DVC and the folder: what `dvc repro` would refuse, part of it after paying.

Opens DVC's view of the pipeline (0.5 s), so `lion check` and `lion run` look here, and stages do
not: DVC has done so before it starts one, and holds its locks.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lion.config import project
from lion.errors import LionError
from lion.pipeline import dvc_project

if TYPE_CHECKING:
    from dvc.repo import Repo


def repository_problems() -> list[str]:
    """Return what is wrong with git, DVC and the folder's rights, one line each."""
    problems = list(_folder_problems())
    if dvc_project.git_folder() is None:
        return [
            *problems,
            "this folder is in no git repository, which DVC needs: `git init`, and `dvc init` "
            "where there is no folder .dvc",
        ]
    if problems or not dvc_project.lock_is_whole():
        return problems  # `offline.lock_problems` says what is wrong with dvc.lock
    try:
        with dvc_project.open_repository() as repo:
            with repo.lock:
                pass  # held by another dvc: `dvc repro` would stop at it
            return [*_missing_inputs(repo), *_outputs_in_git(repo)]
    except LionError as error:
        return [str(error)]


def _folder_problems() -> Iterator[str]:
    """Yield the folders that this user cannot write to."""
    folders = (Path(), project.home(), Path(".dvc"), Path(".dvc/tmp"), Path("data"))
    for folder in folders:
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            yield f"{folder.resolve()}: this user cannot write there. Change its owner or rights."


def _missing_inputs(repo: "Repo") -> Iterator[str]:
    """Yield dependencies that no stage makes and that do not exist.

    DVC looks at a stage's own when its turn comes, after earlier stages were paid for.
    """
    made = {out.fs_path for out in repo.index.outs}
    graph = repo.index.graph  # raises where outputs overlap, or stages wait for each other
    missing = {
        dep.def_path: stage.addressing
        for stage in graph
        for dep in stage.deps
        if not hasattr(dep, "params") and dep.fs_path not in made and not dep.exists
    }
    for path, stage in sorted(missing.items()):
        if not _inside(Path(path), made):
            yield f"{path}: {stage} reads it, and it does not exist. `git status` may know why."


def _inside(path: Path, made: set[str]) -> bool:
    """Return whether a path lies in an output, or will hold one."""
    whole = path.resolve()
    return any(whole.is_relative_to(out) or Path(out).is_relative_to(whole) for out in made)


def _outputs_in_git(repo: "Repo") -> Iterator[str]:
    """Yield outputs that git tracks: DVC refuses to keep them once their stage has run."""
    names = {out.def_path for out in repo.index.outs}
    command = ["git", "ls-files", "-z", "--", *sorted({Path(name).parts[0] for name in names})]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - the user's git
    listed = done.stdout.decode(errors="replace")
    tracked = {name for name in listed.split("\0") if name}
    both = sorted(
        name
        for name in tracked
        if not names.isdisjoint([name, *(str(parent) for parent in Path(name).parents)])
    )
    if both:
        more = f" and {len(both) - 3} more" if len(both) > 3 else ""
        yield (
            f"{', '.join(both[:3])}{more}: git tracks what stages write, which DVC refuses after "
            "the stage has run. `git rm -r --cached` it, and commit."
        )
