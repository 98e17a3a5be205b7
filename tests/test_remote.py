"""A team shares a remote: what is damaged there is found, named and repaired."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pipeline import Project
from running import Finished

DAMAGES = 10  # of each kind


@pytest.fixture
def shared(finished: Finished, tmp_path: Path) -> Project:
    """Return a project whose objects are in a remote, a folder."""
    mine = finished.project.copy(tmp_path / "mine")
    for arguments in (("remote", "add", "--default", "team", str(tmp_path / "remote")), ("push",)):
        done = mine.dvc(*arguments)
        assert done.code == 0, done.output
    return mine


def objects(remote: Path) -> list[Path]:
    return sorted(path for path in (remote / "files").rglob("*") if path.is_file())


def verified(mine: Project, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = mine.run("lion.cli", "verify-remote", "--json", *arguments)
    text = done.output
    return done.code, json.loads(text[text.index("{") : text.rindex("}") + 1])


def oid(path: Path) -> str:
    return path.parent.name + path.name


def spoil(remote: Path, rng: random.Random) -> dict[str, str]:
    """Truncate, flip and delete objects; return what became of which."""
    # an empty object cannot be shorter, and a listing that is gone hides what it lists
    chosen = rng.sample([one for one in objects(remote) if one.stat().st_size > 1], 3 * DAMAGES)
    done = {}
    for number, path in enumerate(chosen):
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        match number % 3:
            case 0:
                path.write_bytes(content[: rng.randrange(1, len(content))])
                done[oid(path)] = "truncated"
            case 1:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
                done[oid(path)] = "corrupted"
            case _:
                path.unlink()
                done[oid(path)] = "absent"
    return done


def test_a_damaged_remote_is_found_named_and_mended(shared: Project, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    before = {path: path.read_bytes() for path in objects(remote)}
    code, healthy = verified(shared)
    assert (code, healthy["damaged"]) == (0, [])
    assert healthy["objects"] == len(before)

    done = spoil(remote, random.Random(5))
    code, found = verified(shared)
    assert code == 1
    assert {one["oid"]: one["state"] for one in found["damaged"]} == done
    lock = (shared.root / "dvc.lock").read_text(encoding="utf-8")
    for one in found["damaged"]:
        assert one["where"] == "remote"
        for use in one["uses"]:
            assert (shared.root / use["path"]).exists()
            assert f"  {use['stage']}:\n" in lock
            assert f"/{use['iteration']}/" in use["path"] or use["iteration"] is None

    code, repaired = verified(shared, "--repair")
    assert code == 0
    assert all(one["repaired"] for one in repaired["damaged"])
    assert {path: path.read_bytes() for path in objects(remote)} == before
    assert verified(shared) == (0, healthy)


def test_a_damaged_cache_is_mended_from_the_remote(shared: Project) -> None:
    path = max(objects(shared.root / ".dvc" / "cache"), key=lambda one: one.stat().st_size)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1])
    code, found = verified(shared, "--repair")
    assert code == 0
    (one,) = found["damaged"]
    assert (one["where"], one["state"], one["repaired"]) == ("cache", "truncated", True)
    assert path.read_bytes() == whole


def test_what_is_whole_nowhere_is_said_to_be(shared: Project, tmp_path: Path) -> None:
    for root in (tmp_path / "remote", shared.root / ".dvc" / "cache"):
        path = next(one for one in objects(root) if one.suffix != ".dir")
        path.unlink()
    code, found = verified(shared, "--repair")
    assert (code, [one["repaired"] for one in found["damaged"]]) == (1, [False])


def test_without_a_remote_the_way_on_is_told(finished: Finished) -> None:
    told = finished.project.run("lion.cli", "verify-remote")
    assert told.code == 1
    assert "dvc remote add --default" in told.output
    assert "Traceback" not in told.output


def test_a_remote_that_is_not_mounted_is_not_mended(shared: Project, tmp_path: Path) -> None:
    (tmp_path / "remote").rename(tmp_path / "elsewhere")
    told = shared.run("lion.cli", "verify-remote", "--repair")
    assert told.code == 1
    assert "nothing is there. Mount it" in told.output
    assert not (tmp_path / "remote").exists()
