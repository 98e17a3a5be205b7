"""Files of a revision without checkout: the workspace, a commit, branch, tag or experiment.

DVC resolves the revision and fetches the bytes from the cache or the remote. Old revisions are read
with the workspace's remotes, since their own may be gone. Rows are read in `snapshot`.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lion.config import project, yaml_file
from lion.conversations import TaskTemplate
from lion.errors import DataError, RevisionError
from lion.metrics import files
from lion.metrics.files import M
from lion.pipeline.stale_outputs import StaleOutputs
from lion.records import jsonl

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

WORKSPACE = "workspace"  # as `dvc exp show` names what is not committed


class Tree(Protocol):
    """The files of one revision."""

    @property
    def name(self) -> str:
        """The name that users know it by."""
        ...

    def has(self, path: Path) -> bool:
        """Return whether the revision has such a file, wherever its bytes are."""
        ...

    def local(self, path: Path) -> Path | None:
        """Return a local file with the content of `path`, or None if there is no such file."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """The working folder."""

    name: str = WORKSPACE

    def has(self, path: Path) -> bool:
        """Return whether the file exists."""
        return path.is_file()

    def local(self, path: Path) -> Path | None:
        """Return `path` itself, or None if there is no such file."""
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class CurrentWorkspace:
    """The working folder without what was made with other params than those at hand."""

    stale: StaleOutputs
    name: str = WORKSPACE

    def has(self, path: Path) -> bool:
        """Return whether the file exists and is current."""
        return self.stale.has_current(path)

    def local(self, path: Path) -> Path | None:
        """Return `path` itself, or None if there is no such file, or a stale one."""
        return path if path.is_file() and self.stale.is_current(path) else None


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision read through DVC; requested files are copied to `folder`."""

    name: str
    files: DVCFileSystem
    folder: Path

    def has(self, path: Path) -> bool:
        """Return whether git has the file, or dvc.lock of the revision names it."""
        if not self.files.exists(path.as_posix()):
            return False
        tracked = self.files.info(path.as_posix()).get("dvc_info")
        return tracked is None or tracked.get("md5") is not None

    def local(self, path: Path) -> Path | None:
        """Return a copy of `path`. Raises DataError if its bytes are in no cache or remote."""
        copy = self.folder / path
        if copy.exists():
            return copy
        if not self.has(path):
            return None
        self.copy(path, copy)
        return copy

    def copy(self, path: Path, to: Path) -> None:
        """Write the revision's `path` to `to`. Raises DataError if its bytes are nowhere."""
        with jsonl.replacing(to) as temporary:
            try:
                self.files.get_file(path.as_posix(), str(temporary))
            except OSError as error:  # DVC raises FileNotFoundError for lost bytes
                raise DataError(
                    f"{path} of {self.name}: neither the cache nor the remote has it ({error}). "
                    "`dvc fetch --all-commits`, or `dvc push` where it was made, may help."
                ) from error


@dataclass(frozen=True, slots=True)
class Place:
    """What a user named: a file, or an iteration of a tree (None: the last iteration)."""

    tree: Tree
    iteration: str | None
    file: Path | None = None


class Trees:
    """Resolves places; each revision is opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workspace = Workspace()

    def place(self, text: str) -> Place:
        """Return the place that `text` names. Raises RevisionError.

        A file's path; an iteration (`2`); a revision (`HEAD~1`, `v1`, an experiment); or both
        (`v1:2`, `workspace:2`), with the last iteration if nothing follows the colon. A name that
        is an iteration of the workspace means that iteration.
        """
        if Path(text).is_file():
            return Place(self._workspace, None, Path(text))
        if ":" not in text:
            if text in iterations(self._workspace):
                return Place(self._workspace, text)
            return Place(self.tree(text), None)
        revision, _, iteration = text.rpartition(":")
        return Place(self.tree(revision), iteration or None)

    @functools.cache  # noqa: B019 - a command is one process
    def tree(self, revision: str) -> Tree:
        """Return the files of `revision`. Raises RevisionError if there is no such revision."""
        if revision in ("", WORKSPACE):
            return self._workspace
        return Revision(revision, _open(revision), Path(tempfile.mkdtemp(dir=self._folder)))


@contextmanager
def open_trees() -> Iterator[Trees]:
    """Yield a resolver of places; copied files are removed at the end."""
    with ExitStack() as stack:
        yield Trees(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lion-"))))


def current_place(place: Place) -> Place:
    """Return a place without stale outputs; other places than the workspace's as they are.

    Raises RevisionError where nothing is left of what was named.
    """
    if not isinstance(place.tree, Workspace) or place.file is not None:
        return place
    stale = StaleOutputs.of_workspace()
    current = replace(place, tree=CurrentWorkspace(stale))
    pool = project.data(iteration_of(current), "cache_pool.jsonl")
    if pool.is_file() and not stale.is_current(pool):
        raise RevisionError(f"{pool}: {stale.sentence()}")
    return current


def stale_notice(place: Place, *names: str) -> str | None:
    """Return which of an iteration's files of these names are stale; None where none is."""
    if not isinstance(place.tree, Workspace) or place.file is not None:
        return None
    iteration = iteration_of(place)
    paths = (project.data(iteration, name) for name in names)
    return StaleOutputs.of_workspace().notice(*paths)


def _open(revision: str) -> DVCFileSystem:
    from dvc.api import DVCFileSystem
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.fs import GitFileSystem
    from dvc.repo import Repo
    from dvc.scm import SCM
    from scmrepo.exceptions import SCMError

    try:
        here = Config.from_cwd()
        ours = {section: here[section] for section in ("core", "remote", "cache")}
        scm = SCM(os.curdir)
        # the project may be a folder of a larger repository: DVCFileSystem(rev=...) opens its root
        folder = "/" + Path.cwd().relative_to(Path(scm.root_dir).resolve()).as_posix()
        tree = GitFileSystem(scm=scm, rev=revision)
        files = DVCFileSystem(Repo(folder.rstrip(".") or "/", fs=tree, scm=scm, config=ours))
        files.info("/")  # opens it, so that an unknown revision raises here
    except (DvcException, SCMError) as error:
        raise RevisionError(
            f"{revision}: no file, no iteration of params.yaml, and no revision with this project "
            f"({error}). `git log --oneline` and `dvc exp list` name revisions."
        ) from error
    return files


def bring(paths: Sequence[Path]) -> None:
    """Write outputs that dvc.lock names into the workspace, from the cache or the remote.

    A stage may do so where `dvc pull` may not: `dvc repro` holds DVC's locks. Raises DataError.
    """
    from dvc.api import DVCFileSystem

    here = Revision(WORKSPACE, DVCFileSystem(), Path())
    for path in paths:
        here.copy(path, path)


def iterations(tree: Tree) -> Mapping[str, str | None]:
    """Return the iterations of a revision, the base first: name to predecessor.

    Reads only that part of params.yaml: other parameters may be unknown to this version. Raises
    DataError.
    """
    path = tree.local(project.PARAMS)
    document = {} if path is None else yaml_file.read_yaml(path)
    entries = document.get("iterations") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise DataError(f"{tree.name}: no params.yaml with `iterations`; run in a project's folder")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or "previous" not in entry:
            raise DataError(f"{tree.name}: params.yaml: iterations.{name} has no `previous`")
    return {project.BASE: None, **{str(name): entry["previous"] for name, entry in entries.items()}}


def task_of(tree: Tree) -> TaskTemplate | None:
    """Return the task that a revision declares; None where it declares none.

    Reads only that part of params.yaml, as `iterations` does.
    """
    path = tree.local(project.PARAMS)
    document = None if path is None else yaml_file.read_yaml(path)
    task = document.get("task") if isinstance(document, dict) else None
    if not isinstance(task, dict) or not task.get("fields"):
        return None
    return TaskTemplate(tuple(task["fields"]), tuple(task.get("messages") or ()))


def lineage(predecessors: Mapping[str, str | None], iteration: str) -> Sequence[str]:
    """Return the iterations that lead to `iteration`, the base first, itself last."""
    current: str | None = iteration
    chain = []
    while current is not None:
        chain.append(current)
        current = predecessors[current]
    return chain[::-1]


def iteration_of(place: Place) -> str:
    """Return the iteration of a place, or else the last with a Cache Pool.

    Raises RevisionError.
    """
    predecessors = iterations(place.tree)
    if place.iteration is None:
        last_first = list(predecessors)[::-1]
        pools = (
            name for name in last_first if place.tree.has(project.data(name, "cache_pool.jsonl"))
        )
        return next(pools, last_first[0])
    if place.iteration not in predecessors:
        names = ", ".join(predecessors)
        raise RevisionError(
            f"{place.tree.name} has no iteration {place.iteration!r}; it has {names}"
        )
    return place.iteration


def document(tree: Tree, path: Path, kind: type[M]) -> M | None:
    """Return a metrics file of a revision, or None if it has none. Raises DataError."""
    local = tree.local(path)
    return None if local is None else files.read_metrics(local, kind)
