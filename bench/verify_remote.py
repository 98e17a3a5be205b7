"""Damages a remote and counts who notices: dvc, and `lion verify-remote`.

    python bench/verify_remote.py [--each 10] [--seed 0]

Needs the extra `test`.

Runs the smallest loop, pushes it to a folder, truncates, flips and deletes --each objects of it.
Then asks `lion verify-remote`, `dvc status --cloud`, `dvc pull` into a fresh clone, and `lion
verify-remote --repair`. About two minutes. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pipeline
from pipeline import Project


def main() -> None:
    """Run the loop, damage its remote, print who noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=10, help="objects damaged in each way")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as folder:
        root = Path(folder)
        mine = pipeline.tiny(root / "project")
        ran(mine, "repro")
        ran(mine, "remote", "add", "--default", "team", str(root / "remote"))
        ran(mine, "push")
        mine.commit()
        alarms = len(verified(mine)["damaged"])
        whole = {path: path.read_bytes() for path in objects(root / "remote")}
        done = spoil(sorted(whole), options.each, random.Random(options.seed))

        began = time.perf_counter()
        found = {one["oid"]: one for one in verified(mine)["damaged"]}
        seconds = time.perf_counter() - began
        noticed = len(re.findall(r"^\t(?:new|deleted|missing):", status(mine), re.MULTILINE))
        pulled = mine.clone(root / "clone").dvc("pull")
        right = sum(one in found and found[one]["state"] == state for one, state in done.items())
        named = sum(bool(one["uses"]) for one in found.values())
        mended = verified(mine, "--repair")
        same = {path: path.read_bytes() for path in objects(root / "remote")} == whole
    print(f"{len(whole):,} objects, {len(done)} damaged: a third each truncated, flipped, deleted")
    print(f"healthy: {alarms} alarms")
    print(f"dvc status --cloud: {noticed} outputs named; dvc pull ended with {pulled.code}")
    print(f"lion verify-remote: {right} found with the right state, {named} named, {seconds:.1f} s")
    print(f"repaired: {sum(one['mended'] for one in mended['damaged'])}, as before: {same}")
    held = alarms == 0 and right == named == len(done) and same
    print(f"verify_remote: {'held' if held else 'MISSED'}")
    ratio = round(right / max(noticed, 1), 2)
    told = {"name": "verify_remote", "ours": right, "others": noticed, "ratio": ratio}
    print(json.dumps({**told, "unit": "damaged objects found"}))


def ran(mine: Project, *arguments: str) -> None:
    """Run a command of dvc that has to succeed."""
    done = mine.dvc(*arguments)
    if done.code:
        sys.exit(done.output)


def objects(remote: Path) -> list[Path]:
    """Return the files of a remote."""
    return sorted(path for path in (remote / "files").rglob("*") if path.is_file())


def status(mine: Project) -> str:
    """Return what dvc says of the remote."""
    return mine.dvc("status", "--cloud").output


def verified(mine: Project, *arguments: str) -> dict[str, list[dict[str, object]]]:
    """Return what `lion verify-remote` found."""
    text = mine.run("lion.cli", "verify-remote", "--json", *arguments).output
    found: dict[str, list[dict[str, object]]] = json.loads(
        text[text.index("{") : text.rindex("}") + 1]
    )
    return found


def spoil(whole: list[Path], each: int, rng: random.Random) -> dict[str, str]:
    """Damage objects in three ways; return the state that each is in then."""
    done = {}
    chosen = rng.sample([path for path in whole if path.stat().st_size > 1], 3 * each)
    for number, path in enumerate(chosen):
        content, mode = bytearray(path.read_bytes()), path.stat().st_mode
        path.chmod(0o644)
        states = ("truncated", "corrupted", "absent")
        if states[number % 3] == "truncated":
            path.write_bytes(content[: rng.randrange(1, len(content))])
        elif states[number % 3] == "corrupted":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        if states[number % 3] == "absent":
            path.unlink()
        else:
            path.chmod(mode)  # a bit that rots leaves it; DVC trusts what is read-only
        done[path.parent.name + path.name] = states[number % 3]
    return done


if __name__ == "__main__":
    main()
