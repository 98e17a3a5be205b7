"""`lion diff` of two pools of 60,000 rows: seconds, memory, and counts that sets confirm.

    python bench/diff.py [--rows 60000] [--git]

Two iterations of a made-up project: texts of a Zipf vocabulary, 50,000 rows in common, a tenth of
them answered anew, each row judged on its side. The other side of the comparison reads the same
files with `json` and `set`, in a process of its own. With --git the pools are DVC's outputs of two
commits, and `lion diff HEAD~1 HEAD` is timed as well.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[1]
SECONDS, MEGABYTES = 1.5, 500
ROUNDS = 3
PLAIN = """
import json, sys
def rows(name):
    return {row["id"]: row for row in map(json.loads, open(name, "rb"))}
a, b = rows("data/1/cache_pool.jsonl"), rows("data/2/cache_pool.jsonl")
u, v = rows("data/1/verdicts.jsonl"), rows("data/2/verdicts.jsonl")
kept, judged = a.keys() & b.keys(), u.keys() & v.keys()
def moved(one, other):
    return sum(u[i]["difficulty"] == one and v[i]["difficulty"] == other for i in judged)
origins = {}
for name, side in (("before", a), ("after", b)):
    for row in side.values():
        at = origins.setdefault(row["origin"], {"before": 0, "after": 0})
        at[name] += 1
print(json.dumps({"rows": [len(a), len(b)], "added": len(b.keys() - a.keys()),
    "removed": len(a.keys() - b.keys()), "kept": len(kept),
    "answers_changed": sum(a[i]["answer"]["text"] != b[i]["answer"]["text"] for i in kept),
    "judged_by_both": len(judged), "hard_to_easy": moved("hard", "easy"),
    "easy_to_hard": moved("easy", "hard"), "origins": origins}))
"""


def main() -> None:
    """Make the pools, time both sides, compare the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--git", action="store_true", help="time two commits as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as folder:
        project = Path(folder)
        make(project, arguments.rows)
        size = (project / "data/1/cache_pool.jsonl").stat().st_size / 1e6
        print(f"two pools of {arguments.rows:,} rows, {size:.0f} MB each, all judged")
        command = ["-m", "lion.cli", "diff", "1", "2", "--json"]
        ours, work, memory, told = best(project, command)
        theirs, plain_work, plain_memory, plain = best(project, ["-c", PLAIN])
        limits = f"(at most {SECONDS} s, {MEGABYTES} MB)"
        print(f"lion diff     {ours:.2f} s, {work:.2f} s of CPU, {memory:.0f} MB {limits}")
        told_plain = f"{theirs:.2f} s, {plain_work:.2f} s of CPU, {plain_memory:.0f} MB"
        print(f"json and sets {told_plain}, which show nothing")
        wrong = differences(json.loads(told), json.loads(plain))
        print("every count is that of the sets" if not wrong else f"counts differ: {wrong}")
        if arguments.git:
            commit(project)
            seconds, busy, most, _ = best(
                project, ["-m", "lion.cli", "diff", "HEAD~1", "HEAD", "--json"]
            )
            print(f"lion diff HEAD~1 HEAD {seconds:.2f} s, {busy:.2f} s of CPU, {most:.0f} MB")
    print(
        json.dumps(
            {
                "name": "diff",
                "ours": {
                    "seconds": round(ours, 3),
                    "cpu": round(work, 3),
                    "megabytes": round(memory),
                },
                "others": {
                    "seconds": round(theirs, 3),
                    "cpu": round(plain_work, 3),
                    "megabytes": round(plain_memory),
                },
                "ratio": round(theirs / ours, 2),
                "unit": "s",
                "counts_equal": not wrong,
                "held": ours < SECONDS and memory < MEGABYTES and not wrong,
            }
        )
    )


def make(project: Path, rows: int) -> None:
    """Write a project of two iterations: pools, verdicts and answers."""
    rng = random.Random(0)
    pool = list(instructions(rng, rows + rows // 6))
    sides = {"1": pool[:rows], "2": pool[rows // 6 :]}
    for key, side in sides.items():
        at = project / "data" / key
        at.mkdir(parents=True)
        changed = rng.sample(side, rows // 10) if key == "2" else []
        again = {row["id"]: words(rng, 60) for row in changed}
        write(at / "cache_pool.jsonl", (renewed(row, again) for row in side))
        write(at / "verdicts.jsonl", (verdict(rng, row["id"]) for row in side))
        write(at / "responses.jsonl", (answer(row["id"], words(rng, 40)) for row in side))
    lines = '  "1": {previous: "0", generate: {}, tune: {}}\n'
    lines += '  "2": {previous: "1", generate: {}, tune: {}}\n'
    (project / "params.yaml").write_text(f"iterations:\n{lines}", encoding="utf-8")


VOCABULARY = [f"{head}{tail}" for head in "bcdfghjklm" for tail in ("a", "en", "oro", "istic")]
WEIGHTS = [1 / (rank + 1) for rank in range(len(VOCABULARY))]


def words(rng: random.Random, most: int) -> str:
    """Return from 5 to `most` words of a Zipf vocabulary, with a number for variety."""
    drawn = rng.choices(VOCABULARY, WEIGHTS, k=rng.randint(5, most))
    return f"{' '.join(drawn)} {rng.random()}"


def instructions(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of a Cache Pool."""
    for number in range(count):
        origin = rng.choice(["seed", "hard", "easy"])
        yield {
            "format": 1,
            "id": f"{rng.getrandbits(64):016x}",
            "messages": [{"role": "user", "content": words(rng, 40)}],
            "origin": origin,
            "parent": None if origin == "seed" else f"{rng.randrange(2000):016x}",
            "iteration": str(number % 3),
            "answer": {"text": words(rng, 90), "finish_reason": "stop", "model": "m"},
        }


def renewed(row: dict[str, Any], again: dict[str, str]) -> dict[str, Any]:
    """Return the row, with its new answer where it has one."""
    text = again.get(row["id"])
    return row if text is None else {**row, "answer": {**row["answer"], "text": text}}


def verdict(rng: random.Random, identity: str) -> dict[str, Any]:
    """Return a verdict of a row."""
    gap = rng.choice([0.0, 0.0, 0.5, 1.0, 4.0])
    return {
        "format": 1,
        "id": identity,
        "teacher_mean": 9.0,
        "student_mean": 9.0 - gap,
        "gap": gap,
        "difficulty": "hard" if gap >= 1 else "easy",
        "reason": None,
    }


def answer(identity: str, text: str) -> dict[str, Any]:
    """Return a student's answer."""
    return {"format": 1, "id": identity, "text": text, "finish_reason": "stop", "model": "s"}


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    with path.open("wb") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)


def best(project: Path, arguments: list[str]) -> tuple[float, float, float, bytes]:
    """Run Python in the project, ROUNDS times; return the least seconds by the clock and of CPU.

    Then the most MB, and what was printed.
    """
    seconds, work, memory, told = [], [], [], b""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments], cwd=project, stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            told = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds.append(time.perf_counter() - began)
        work.append(usage.ru_utime + usage.ru_stime)
        memory.append(usage.ru_maxrss / 1024)
        assert process.returncode == 0, f"exit code {process.returncode}"
    return min(seconds), min(work), max(memory), told


def differences(ours: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    """Return the names of counts that are not those of the sets."""
    groups = [one for one in ours["groups"] if one["by"] == "origin"]
    told = {
        **{name: ours[name] for name in ("rows", "added", "removed", "kept", "answers_changed")},
        **{
            name: ours["moves"][name] for name in ("judged_by_both", "hard_to_easy", "easy_to_hard")
        },
        "origins": {one["name"]: {at: one[at] for at in ("before", "after")} for one in groups},
    }
    assert told.keys() == plain.keys()
    return [name for name, value in plain.items() if told[name] != value]


def commit(project: Path) -> None:
    """Make two commits of the last iteration's pool: one without a sixth of it, and all of it."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=project, check=True, capture_output=True)

    run("git", "init", "--quiet")
    run(sys.executable, "-m", "dvc", "init", "--quiet")
    pool = project / "data/2/cache_pool.jsonl"
    rows = pool.read_bytes().splitlines(keepends=True)
    for part in (rows[len(rows) // 6 :], rows):
        pool.write_bytes(b"".join(part))
        run(sys.executable, "-m", "dvc", "add", "--quiet", "data")
        run("git", "add", "--all")
        identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.invalid")
        run("git", *identity, "commit", "--quiet", "--message", "a pool")


if __name__ == "__main__":
    main()
