"""`lion verify-remote`: whether each object of dvc.lock is whole in cache and remote.

DVC trusts the name of an object: one that was truncated or flipped is pulled with exit code 0, and
a push calls it in sync. Here each object is hashed where it is stored, through DVC's file systems.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import click
from rich.table import Table

from lion import console
from lion.errors import DataError, RevisionError
from lion.escape import DASH
from lion.pipeline import dvc_project

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


State = Literal["whole", "absent", "truncated", "corrupted"]
Where = Literal["cache", "remote"]
_AT_ONCE = 8  # objects read at once: DVC's own default on few cores
_LISTING = ".dir"


@dataclass(frozen=True, slots=True)
class Use:
    """A path that an object's bytes are stored for, with its stage and iteration."""

    path: str
    stage: str
    iteration: str | None


@dataclass(slots=True)
class StoredObject:
    """An object: its hash, its size in bytes if known, and its paths."""

    oid: str
    size: int | None
    uses: set[Use] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that is not whole in the cache or the remote; `repaired` if it was restored."""

    oid: str
    where: Where
    state: State
    uses: tuple[Use, ...]
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """The count of objects, of copies that were read, and the damaged ones by path."""

    objects: int
    read: int
    damaged: tuple[Damage, ...]


@click.command("verify-remote")
@click.option("--remote", metavar="NAME", help="Of `dvc remote list`; else the default one.")
@click.option(
    "--rev", "revisions", multiple=True, help="Also what this revision names; repeatable."
)
@click.option("--repair", is_flag=True, help="Repair each from the cache, or the cache from there.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def verify_remote_command(
    remote: str | None, revisions: tuple[str, ...], repair: bool, as_json: bool
) -> None:
    """Hash every object that dvc.lock names, in DVC's cache and in the remote.

    \b
    lion verify-remote
    lion verify-remote --repair
    lion verify-remote --remote team --rev v1 --rev v2 --json

    Reads all of it: what the remote bills for reading is billed. Missing, truncated and corrupted
    objects are named by file and iteration. DVC itself does not notice a damaged one. Exit codes:
    0 all is whole (or was repaired), 1 something is not.
    """
    with console.error_boundary():
        result = verify_objects(remote, revisions, repair=repair)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    elif result.damaged:
        console.stdout.print(_table(result))
    left = [damage for damage in result.damaged if not damage.repaired]
    console.say(_summary(result, left))
    sys.exit(int(bool(left)))


def _table(result: Verified) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("where", "state", "iteration", "stage", "file", "object"):
        table.add_column(name, overflow="fold")
    for damage in result.damaged:
        state = f"{damage.state}, repaired" if damage.repaired else damage.state
        for use in damage.uses:
            key = use.iteration or DASH
            table.add_row(damage.where, state, key, use.stage, use.path, damage.oid[:12])
    return table


def _summary(result: Verified, left: list[Damage]) -> str:
    if not result.damaged:
        return f"{result.objects:,} objects: all is whole"
    repaired = len(result.damaged) - len(left)
    summary = (
        f"{result.objects:,} objects: {len(result.damaged):,} damaged, "
        f"{repaired:,} of them repaired"
    )
    if not left:
        return summary
    return (
        f"{summary}. `dvc push` brings what was never pushed; `lion verify-remote --repair` fixes "
        "what is whole in the cache or in the remote; else rerun the stage."
    )


def verify_objects(remote: str | None, revisions: Sequence[str], *, repair: bool) -> Verified:
    """Hash the objects that the workspace and `revisions` name.

    With `repair`, a damaged copy is replaced by the whole one of the other place. An object missing
    in the remote is damage; missing in the cache it is not (it was never pulled). Raises DataError
    where there is no such remote or revision, or where DVC cannot read the project.
    """
    try:
        with dvc_project.open_repository() as repo, repo.lock:
            there = _remote(repo, remote)
            places: Mapping[Where, HashFileDB] = {"cache": repo.cache.local, "remote": there}
            return _verified(places, _outputs(repo, revisions), repair=repair)
    except OSError as error:
        raise DataError(f"the remote cannot be read: {error}. Is its server up?") from error


def _remote(repo: "Repo", name: str | None) -> "HashFileDB":
    """Return the objects of a remote. Raises DataError where there is no such remote."""
    from dvc.exceptions import DvcException

    try:
        there: HashFileDB = repo.cloud.get_remote_odb(name, "lion verify-remote")
    except DvcException as error:
        raise DataError(
            f"{error} Name a remote of `dvc remote list` with --remote, or add one: "
            "`dvc remote add --default NAME URL`."
        ) from error
    if not there.fs.exists(there.path):
        raise DataError(
            f"{there.path}: nothing is there. Mount it, or `dvc push` first: an absent "
            "remote is not a damaged one."
        )
    return there


def _outputs(repo: "Repo", revisions: Sequence[str]) -> list["Output"]:
    """Return the outputs of workspace and revisions. Raises RevisionError for an unknown one."""
    from dvc.scm import SCMError

    try:
        return [
            out
            for _ in repo.brancher(revs=list(revisions))
            for out in repo.index.outs
            if out.use_cache and out.can_push and out.hash_info
        ]
    except SCMError as error:
        raise RevisionError(f"{error}. `git log --oneline` names revisions.") from error


def _verified(
    places: Mapping[Where, "HashFileDB"], outs: Iterable["Output"], *, repair: bool
) -> Verified:
    objects: dict[str, StoredObject] = {}
    listings = [out for out in outs if _note(objects, out).endswith(_LISTING)]
    states = _examined(places, objects.values())
    inside: dict[str, StoredObject] = {}
    for out in listings:
        whole = [
            odb for name, odb in places.items() if states[name, out.hash_info.value] == "whole"
        ]
        for path, oid in _listed(whole, out):
            if oid not in objects:
                inside.setdefault(oid, StoredObject(oid, None)).uses.add(_use(out, path))
    states |= _examined(places, inside.values())
    objects |= inside
    damaged = list(_damaged(places, objects, states, repair=repair))
    return Verified(
        objects=len(objects),
        read=sum(state != "absent" for state in states.values()),
        damaged=tuple(sorted(damaged, key=lambda damage: (damage.uses[0].path, damage.where))),
    )


def _note(objects: dict[str, StoredObject], out: "Output") -> str:
    """Add an output's own object; return its hash."""
    oid = str(out.hash_info.value)
    size = None if oid.endswith(_LISTING) else out.meta.size
    objects.setdefault(oid, StoredObject(oid, size)).uses.add(_use(out, str(out)))
    return oid


def _use(out: "Output", path: str) -> Use:
    stage = out.stage.addressing
    _, separator, key = stage.partition("@")
    return Use(path, stage, key if separator else "0" if stage.startswith("base-") else None)


def _listed(whole: Sequence["HashFileDB"], out: "Output") -> Iterator[tuple[str, str]]:
    """Yield path and hash of each file of a folder, from a place where the listing is whole."""
    from dvc_data.hashfile.tree import Tree

    if not whole:
        return
    for key, _, info in Tree.load(whole[0], out.hash_info):
        if info and info.value:
            yield "/".join([str(out), *key]), info.value


def _examined(
    places: Mapping[Where, "HashFileDB"], objects: Iterable[StoredObject]
) -> dict[tuple[Where, str], State]:
    wanted = [(name, odb, stored) for stored in objects for name, odb in places.items()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = pool.map(lambda entry: state(entry[1], entry[2].oid, entry[2].size), wanted)
        return {
            (name, stored.oid): seen for (name, _, stored), seen in zip(wanted, states, strict=True)
        }


def state(odb: "HashFileDB", oid: str, size: int | None = None) -> State:
    """Return the state of an object by the MD5 of its bytes, which are streamed.

    An object shorter than `size` was truncated; without `size`, only an empty one counts so.
    """
    from dvc_data.hashfile.hash import file_md5

    path = odb.oid_to_path(oid)
    try:
        if file_md5(path, odb.fs) == oid.removesuffix(_LISTING):
            return "whole"
        short = _size(odb, oid) < (1 if size is None else size)
    except FileNotFoundError:
        return "absent"
    return "truncated" if short else "corrupted"


def _damaged(
    places: Mapping[Where, "HashFileDB"],
    objects: Mapping[str, StoredObject],
    states: Mapping[tuple[Where, str], State],
    *,
    repair: bool,
) -> Iterator[Damage]:
    """Yield the damaged objects; a copy shorter than the whole one was truncated."""
    other: Mapping[Where, Where] = {"cache": "remote", "remote": "cache"}
    for (where, oid), seen in states.items():
        if seen == "whole" or (where == "cache" and seen == "absent"):
            continue
        there = states[other[where], oid] == "whole"
        bad, good = places[where], places[other[where]]
        cut = seen == "corrupted" and there and _size(bad, oid) < _size(good, oid)
        repaired = repair and there and _mend(bad, good, oid)
        uses = tuple(sorted(objects[oid].uses, key=lambda use: use.path))
        yield Damage(oid, where, "truncated" if cut else seen, uses, repaired)


def _size(odb: "HashFileDB", oid: str) -> int:
    return int(odb.fs.size(odb.oid_to_path(oid)) or 0)


def _mend(bad: "HashFileDB", good: "HashFileDB", oid: str) -> bool:
    """Replace a damaged object by a whole one; return whether it arrived whole."""
    if bad.exists(oid):
        bad.delete(oid)
    bad.add(good.oid_to_path(oid), good.fs, oid, check_exists=False)
    return state(bad, oid) == "whole"
