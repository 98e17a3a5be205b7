"""Whether every object that dvc.lock names is whole, in DVC's cache and in a remote.

DVC trusts the name of an object: one that was truncated or flipped is pulled with exit code 0, and
a push calls it in sync. Here each is hashed where it lies, through DVC's own file systems.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lion.errors import DataError
from lion.pipeline import repository

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc_data.hashfile.db import HashFileDB

State = Literal["whole", "absent", "truncated", "corrupted"]
Where = Literal["cache", "remote"]
_AT_ONCE = 8  # objects read at the same time, as DVC transfers by default on few cores
_LISTING = ".dir"


@dataclass(frozen=True, slots=True)
class Use:
    """A file that an object is: its path, the stage that wrote it, the iteration of that stage."""

    path: str
    stage: str
    iteration: str | None


@dataclass(slots=True)
class Thing:
    """An object by its hash, its bytes where that is known, and all that it is."""

    oid: str
    size: int | None
    uses: set[Use] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that is not whole in one place; `mended` says whether the other place had it."""

    oid: str
    where: Where
    state: State
    uses: tuple[Use, ...]
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """How many objects and bytes were read, and what is damaged, by file."""

    objects: int
    read: int
    damaged: tuple[Damage, ...]


def verify_objects(remote: str | None, revisions: Sequence[str], *, repair: bool) -> Verified:
    """Hash what the workspace and `revisions` name; with `repair`, mend each from the other place.

    Absence is damage in the remote; in the cache it is not (nobody has pulled it yet). Raises
    DataError where there is no such remote or revision, or where DVC cannot read the project.
    """
    from dvc.exceptions import DvcException

    try:
        with repository.opened() as repo, repo.lock:
            there = repo.cloud.get_remote_odb(remote, "lion verify-remote")
            if not there.fs.exists(there.path):
                raise DataError(
                    f"{there.path}: nothing is there. Mount it, or `dvc push` first: an absent "
                    "remote is not a damaged one."
                )
            places: Mapping[Where, HashFileDB] = {"cache": repo.cache.local, "remote": there}
            outs = [
                out
                for _ in repo.brancher(revs=list(revisions))
                for out in repo.index.outs
                if out.use_cache and out.can_push and out.hash_info
            ]
            return _verified(places, outs, repair=repair)
    except DvcException as error:
        raise DataError(
            f"{error} Name a remote of `dvc remote list` with --remote, or add one: "
            "`dvc remote add --default NAME URL`."
        ) from error
    except OSError as error:
        raise DataError(f"the remote cannot be read: {error}. Is its server up?") from error


def _verified(
    places: Mapping[Where, "HashFileDB"], outs: Iterable["Output"], *, repair: bool
) -> Verified:
    things: dict[str, Thing] = {}
    listings = [out for out in outs if _note(things, out).endswith(_LISTING)]
    states = _examined(places, things.values())
    inside: dict[str, Thing] = {}
    for out in listings:
        whole = [
            odb for name, odb in places.items() if states[name, out.hash_info.value] == "whole"
        ]
        for path, oid in _listed(whole, out):
            if oid not in things:
                inside.setdefault(oid, Thing(oid, None)).uses.add(_use(out, path))
    states |= _examined(places, inside.values())
    things |= inside
    damaged = list(_damaged(places, things, states, repair=repair))
    return Verified(
        objects=len(things),
        read=sum(state != "absent" for state in states.values()),
        damaged=tuple(sorted(damaged, key=lambda damage: (damage.uses[0].path, damage.where))),
    )


def _note(things: dict[str, Thing], out: "Output") -> str:
    """Remember an output's own object; return its hash."""
    oid = str(out.hash_info.value)
    size = None if oid.endswith(_LISTING) else out.meta.size
    things.setdefault(oid, Thing(oid, size)).uses.add(_use(out, str(out)))
    return oid


def _use(out: "Output", path: str) -> Use:
    stage = out.stage.addressing
    _, separator, key = stage.partition("@")
    return Use(path, stage, key if separator else "0" if stage.startswith("base-") else None)


def _listed(whole: Sequence["HashFileDB"], out: "Output") -> Iterator[tuple[str, str]]:
    """Yield path and hash of each file of a folder, from a place where its listing is whole."""
    from dvc_data.hashfile.tree import Tree

    if not whole:
        return
    for key, _, info in Tree.load(whole[0], out.hash_info):
        if info and info.value:
            yield "/".join([str(out), *key]), info.value


def _examined(
    places: Mapping[Where, "HashFileDB"], things: Iterable[Thing]
) -> dict[tuple[Where, str], State]:
    wanted = [(name, odb, thing) for thing in things for name, odb in places.items()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = pool.map(lambda entry: state(entry[1], entry[2].oid, entry[2].size), wanted)
        return {
            (name, thing.oid): seen for (name, _, thing), seen in zip(wanted, states, strict=True)
        }


def state(odb: "HashFileDB", oid: str, size: int | None = None) -> State:
    """Return what became of an object, by the MD5 of its bytes as they are streamed.

    One that is shorter than `size` was truncated; without `size`, an empty one alone is said to be.
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
    things: Mapping[str, Thing],
    states: Mapping[tuple[Where, str], State],
    *,
    repair: bool,
) -> Iterator[Damage]:
    """Yield what is not whole. A shorter copy than the whole one elsewhere was truncated."""
    other: Mapping[Where, Where] = {"cache": "remote", "remote": "cache"}
    for (where, oid), seen in states.items():
        if seen == "whole" or (where == "cache" and seen == "absent"):
            continue
        there = states[other[where], oid] == "whole"
        bad, good = places[where], places[other[where]]
        cut = seen == "corrupted" and there and _size(bad, oid) < _size(good, oid)
        mended = repair and there and _mend(bad, good, oid)
        uses = tuple(sorted(things[oid].uses, key=lambda use: use.path))
        yield Damage(oid, where, "truncated" if cut else seen, uses, mended)


def _size(odb: "HashFileDB", oid: str) -> int:
    return int(odb.fs.size(odb.oid_to_path(oid)) or 0)


def _mend(bad: "HashFileDB", good: "HashFileDB", oid: str) -> bool:
    """Put a whole object in place of a damaged one; say whether it arrived whole."""
    if bad.exists(oid):
        bad.delete(oid)
    bad.add(good.oid_to_path(oid), good.fs, oid, check_exists=False)
    return state(bad, oid) == "whole"
