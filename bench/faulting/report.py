"""docs/evidence/reliability.md from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_HEAD = """\
# Reliability

Written by `python bench/faults.py --report` from the results of `python bench/faults.py`.

A small project with every stage is run once without disturbance, against a teacher that counts
each request. Then, fault by fault: one stage is made as if it had never run, `dvc repro` is
disturbed, and **one `dvc repro`, or what its error names**, follows. A fault is survived if every
output, every file beside them and every reply in the ledger then equals that of the undisturbed
run, byte for byte, and no request was paid for twice beyond those in flight (eight at most).
"""
_NAMED = {
    "kills": "kill -9, at random moments of every stage",
    "signals": "signals that ask to end",
    "locks": "dvc.lock cut off, as a dvc that is killed while it writes leaves it",
    "orphans": "orphans: dvc killed, its stage alive, a second `dvc repro` beside it",
    "disks": "full disks",
    "outputs": "read-only outputs",
    "two": "two `dvc repro` at once",
    "checkouts": "`dvc checkout` during a stage",
    "lies": "a teacher that lies",
    "remotes": "a remote that dies",
}


def write(rows: Sequence[Row], planned: dict[str, int], path: Path) -> None:
    """Write the report; `planned` tells how many faults each family has."""
    parts = [_HEAD, _totals(rows), _families(rows, planned), _kills(rows), _lies(rows)]
    parts.append(_missed(rows))
    path.write_text("\n".join(filter(None, parts)), encoding="utf-8")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def hits(rows: Sequence[Row]) -> list[Row]:
    """Return the signals that hit a process, each with its stage."""
    return [
        {**hit, "stage": row["stage"]} for row in rows for hit in row.get("hits", []) if hit["hit"]
    ]


def _totals(rows: Sequence[Row]) -> str:
    killed = [row for row in rows if row["family"] == "kills"]
    asked = [row for row in rows if row["family"] != "lies"]
    return "## In short\n\n" + _table(
        ["", ""],
        [
            ["faults tried", len(rows)],
            ["faults survived", sum(row["survived"] for row in rows)],
            ["kills -9 that hit a running process", len(hits(killed))],
            ["replies lost", sum(row["lost"] for row in rows)],
            ["requests paid for twice", f"{sum(row['twice'] for row in asked)}, of"
             f" {sum(row['bound'] for row in asked)} that may have been in flight"],
            ["bad inputs tried (replies that were lies)", sum(row.get("lies", 0) for row in rows)],
        ],
    )  # fmt: skip


def _families(rows: Sequence[Row], planned: dict[str, int]) -> str:
    lines = []
    for family, named in _NAMED.items():
        done = [row for row in rows if row["family"] == family]
        left = max(0, planned.get(family, 0) - len(done))
        lines.append(
            [
                named,
                len(done),
                sum(row["survived"] for row in done),
                f"{sum(row['twice'] for row in done)} of {sum(row['bound'] for row in done)}",
                left or "-",
            ]
        )
    head = ["fault", "tried", "survived", "paid twice, of the bound", "not run yet"]
    return "## Family by family\n\n" + _table(head, lines) + f"\n{_stopped(rows)}\n"


def _stopped(rows: Sequence[Row]) -> str:
    """Return how runs ended on full disks and read-only outputs."""
    stopped = [row for row in rows if row["family"] in ("disks", "outputs") and row["exit"]]
    clear = sum(not row["traceback"] for row in stopped)
    return (
        f"Full disks and read-only outputs stopped {len(stopped)} runs, {clear} of these with a "
        "message in place of a traceback."
    )


def _kills(rows: Sequence[Row]) -> str:
    killed = [row for row in rows if row["family"] == "kills"]
    if not killed:
        return ""
    found = hits(killed)
    who = Counter(hit["who"] for hit in found)
    fewest = min(Counter(hit["stage"] for hit in found).values(), default=0)
    return (
        "## Kills\n\nSeveral kills in a row, each of another start of `dvc repro`, then "
        f"one `dvc repro`. They hit the stage alone {who['stage']} times, dvc alone {who['dvc']}, "
        f"both {who['both']}; each stage at least {fewest} times.\n"
    )


def _lies(rows: Sequence[Row]) -> str:
    lies = [row for row in rows if row["family"] == "lies"]
    if not lies:
        return ""
    names = dict.fromkeys(row["fault"].rpartition(", ")[0] for row in lies)
    most = max(row.get("megabytes", 0) for row in lies)
    return (
        "## A teacher that lies\n\nSent to some calls, the same run has to end as if "
        "undisturbed. Sent to every call, the stage has to stop within its deadlines and keep "
        f"nothing of it, and the next `dvc repro` has to end well. No stage took more "
        f"than {most} MB. What was sent: {'; '.join(names)}.\n"
    )


def _missed(rows: Sequence[Row]) -> str:
    lines = [
        [row["fault"], row["stage"], row["problem"] or ", ".join(row["differences"][:2])]
        for row in rows
        if not row["survived"]
    ]
    if not lines:
        return ""
    return "## Not survived\n\n" + _table(["fault", "stage", "what was left"], lines)
