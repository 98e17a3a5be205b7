"""docs/evidence/reliability.md from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]

_HEAD = """\
# Reliability

Written by `python bench/faults.py --report` from the results of `python bench/faults.py`.

A small project with every stage, the optional ones included, is run once without disturbance,
against a teacher that counts each request. Then, fault by fault: one stage is made as if it had
never run (its outputs, its entry in dvc.lock, its objects in DVC's cache and the replies that it
paid for are removed), `dvc repro` is disturbed, and **one `dvc repro`, or what its error names**,
follows. A fault is survived if every output, every file beside them and every reply in the ledger
then equals that of the undisturbed run, byte for byte, and no request was paid for twice beyond
those in flight.

Eight requests are in flight at most, and the teacher takes 30 ms for each. The kills and the
signals disturb `dvc repro --single-item` of the one stage, for speed. Disks are full on a tmpfs.
"""
_FOUND = """\
## Faults that it showed, now fixed

What failed because of one of these was done again after the fix and counts above as it ended then.

* DVC empties dvc.lock before it writes it again. After a kill in between, every `dvc` command
  refuses to work; `lion run` restores the last complete one.
* Half-written files of a killed stage stayed beside its outputs, and in `metrics/` became an input
  of `report`. The next writer removes them.
* A `dvc checkout` during a stage could replace new outputs by older ones, which DVC then recorded
  as this run's: DVC releases its lock while a stage works. A stage now ends holding that lock,
  after a last look at what it has written, and stops if somebody changed it.
* A reply of any size was read and kept. Now none above 8 MiB is.
* A full disk and a folder without write permission ended in a traceback.
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
    parts.append(_disks(rows))
    parts += [_missed(rows), _FOUND]
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
                sum(row["lost"] for row in done),
                f"{sum(row['twice'] for row in done)} of {sum(row['bound'] for row in done)}",
                left or "-",
            ]
        )
    head = ["fault", "tried", "survived", "replies lost", "paid twice, of the bound", "not run yet"]
    steps = Counter(str(step) for row in rows for step in row["recovery"] if isinstance(step, str))
    after = (
        f"\nWhat it took: `dvc repro` {steps['repro']} times, before it waiting for an orphan, as "
        f"the error says, {steps['busy: waited']} times; `lion run` {steps['lion run']} times, "
        "where dvc had been killed while it wrote dvc.lock, which it empties first.\n"
    )
    return "## Family by family\n\n" + _table(head, lines) + after


def _kills(rows: Sequence[Row]) -> str:
    killed = [row for row in rows if row["family"] == "kills"]
    if not killed:
        return ""
    found = hits(killed)
    lines = []
    for stage in dict.fromkeys(row["stage"] for row in killed):
        mine = [hit for hit in found if hit["stage"] == stage]
        who = Counter(hit["who"] for hit in mine)
        of_stage = [row for row in killed if row["stage"] == stage]
        needed = max(row["needed"] for row in of_stage)
        lines.append(
            [
                stage,
                len(mine),
                *(who[name] for name in ("stage", "dvc", "both")),
                needed or "-",
                sum(row["twice"] for row in of_stage) if needed else "-",
                sum(row["bound"] for row in of_stage) if needed else "-",
                f"{median(row['seconds'] for row in of_stage):.0f}",
            ]
        )
    head = ["stage", "kills", "the stage", "dvc", "both", "requests", "paid twice", "bound", "s"]
    return (
        "## Kills, by stage\n\nSeveral kills in a row, each of another start of `dvc repro`, then "
        "one `dvc repro`. *s*: median seconds of such a row.\n\n" + _table(head, lines)
    )


def _lies(rows: Sequence[Row]) -> str:
    told = [row for row in rows if row["family"] == "lies"]
    if not told:
        return ""
    lines = []
    for name in dict.fromkeys(row["fault"].rpartition(", ")[0] for row in told):
        cells: list[object] = [name]
        for often in ("now and then", "always"):
            one = next((row for row in told if row["fault"] == f"{name}, {often}"), None)
            cells.append("not run" if one is None else "survived" if one["survived"] else "MISSED")
        said = [row for row in told if row["fault"].startswith(f"{name},")]
        cells.append(sum(row.get("lies", 0) for row in said))
        cells.append(max(row.get("megabytes", 0) for row in said))
        lines.append(cells)
    head = [
        "the teacher sends",
        "to some calls",
        "to every call",
        "lies",
        "MB of the stage, at most",
    ]
    return (
        "## A teacher that lies\n\nTo some calls: the same run ends as if undisturbed. To every "
        "call: the stage stops within its deadlines and keeps nothing of it, and the next "
        "`dvc repro` ends well.\n\n" + _table(head, lines)
    )


def _disks(rows: Sequence[Row]) -> str:
    lines = []
    for family in ("disks", "outputs"):
        done = [row for row in rows if row["family"] == family]
        stopped = [row for row in done if row["exit"]]
        told = sum(not row["traceback"] for row in stopped)
        lines.append([_NAMED[family], len(done), len(stopped), told])
    head = ["", "tried", "runs that it stopped", "with a message in place of a traceback"]
    return "## Disks and rights\n\n" + _table(head, lines)


def _missed(rows: Sequence[Row]) -> str:
    lines = [
        [row["fault"], row["stage"], row["problem"] or ", ".join(row["differences"][:2])]
        for row in rows
        if not row["survived"]
    ]
    if not lines:
        return ""
    return "## Not survived\n\n" + _table(["fault", "stage", "what was left"], lines)
