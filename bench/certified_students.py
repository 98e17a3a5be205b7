"""Certifies real students of a finished project, and checks the promise on rows held out.

    python bench/certified_students.py PROJECT            # the last iteration's student
    python bench/certified_students.py PROJECT --iteration 1 --rows 3000 --splits 5

PROJECT is a folder whose `lion run` has ended, with simulated tasks or tickets (profiles `default`,
`narrow`, `pocket`, made by `lion new`). New exam rows are drawn by another seed than the project's,
without those of its pools; the simulated teacher and the student answer them. Each split gives a
sixth of the rows to the limits' grid, five twelfths to the certificate, and holds out the rest,
where the agreement of what the student answers itself is counted. The last line is one JSON object:
the agreement on held-out rows over the promised one, at the highest agreement that every split
certifies; `ours` is null where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NoReturn

from lion.certify import confidence
from lion.certify.thresholds import LabelledRow, Promise, is_accepted, walk
from lion.config import project
from lion.config.settings import Settings
from lion.conversations import TaskTemplate
from lion.generation import seed_pool
from lion.inference.respondent import Respondent
from lion.prompting import teacher
from lion.prompting.templates import load
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.simulator import simulated_llm

AGREEMENTS = (0.9, 0.95, 0.97, 0.99)
CONFIDENCE = 0.95
OTHER_SEED = 1_000_003  # added to the project's: an exam that no stage has drawn


class NoClients:
    """A student of its own checkpoint asks nobody."""

    def open(self, role: object, endpoint: object) -> NoReturn:
        """Refuse."""
        del role, endpoint
        raise SystemExit("student.endpoint: this bench loads the student itself")


@dataclass(frozen=True)
class Split:
    """A certificate on some rows, and what happened on the others."""

    coverage_share: float | None
    held_out_share: float | None
    held_out_rows: int

    @classmethod
    def drawn(cls, rows: Sequence[LabelledRow], agreement: float, seed: int) -> Split:
        """Return the split of one seed."""
        shuffled = list(rows)
        Random(seed).shuffle(shuffled)
        others, tests = len(rows) // 6, len(rows) * 5 // 12
        passed = walk(
            shuffled[others : others + tests],
            shuffled[:others],
            Promise(agreement, 1 - CONFIDENCE),
        ).passed
        if passed is None:
            return cls(None, None, 0)
        held = shuffled[others + tests :]
        own = [row for row in held if is_accepted(row.uncertainty, passed.limit)]
        agrees = sum(row.agrees for row in own) / len(own) if own else None
        return cls(len(own) / len(held), agrees, len(own))


def labelled(settings: Settings, iteration: str, count: int) -> list[LabelledRow]:
    """Return new rows with the student's uncertainty, and whether it agrees with the teacher."""
    rows = fresh_rows(settings, count)
    prompts = load(Path("prompts/teacher"), "teacher")
    folder = project.data(iteration, "student")
    respondent = Respondent(folder, iteration, settings, NoClients())
    answers = respondent.respond(rows, settings.random_seed, scored=True)
    scorer, seed = settings.exam.scorer, settings.random_seed
    labels = []
    for row, answer in zip(rows, answers, strict=True):
        request = teacher.answer_request(row, prompts)
        taught = simulated_llm.reply(request.messages, seed)
        agrees = confidence.agrees(answer.text, taught, scorer, row.id)
        labels.append(LabelledRow(confidence.uncertainty(answer, scorer), agrees))
    return labels


def fresh_rows(settings: Settings, count: int) -> list[Instruction]:
    """Return exam rows of another seed, none of which is in the project's pools or exam."""
    exam = settings.exam.model_copy(update={"size": count})
    seed = settings.random_seed + OTHER_SEED
    _, rows = seed_pool.base_exam(
        exam, settings.seed, seed, [], TaskTemplate.declared(settings.task)
    )
    files = [*Path("data").glob("*/cache_pool.jsonl"), project.EXAM]
    seen = {row.id for file in files for row in jsonl.read(file, Instruction)}
    return [row for row in rows if row.id not in seen]


def per_cent(values: Sequence[float]) -> str:
    """Return the smallest and the largest, in per cent."""
    return f"{100 * min(values):.1f} to {100 * max(values):.1f} %"


def main() -> None:
    """Print what each agreement certifies over the splits, and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--iteration")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    os.chdir(options.project)
    settings = project.load_settings(Path("params.yaml"))
    iteration = options.iteration or list(settings.iterations)[-1]
    rows = labelled(settings, iteration, options.rows)
    agreed = sum(row.agrees for row in rows) / len(rows)
    print(
        f"student {iteration}: {len(rows):,} new rows, it agrees with its teacher on {agreed:.1%}"
    )
    best = None
    for agreement in AGREEMENTS:
        splits = [Split.drawn(rows, agreement, seed) for seed in range(options.splits)]
        certified = [split for split in splits if split.coverage_share is not None]
        held = [split.held_out_share for split in certified if split.held_out_share is not None]
        coverage = [split.coverage_share or 0.0 for split in certified]
        line = f"  at {agreement:.0%}: {len(certified)} of {len(splits)} splits have a threshold"
        if held:
            line += f"; it answers {per_cent(coverage)}, and agrees there on {per_cent(held)}"
            kept = sum(share >= agreement for share in held)
            line += f" (held out; the promise kept in {kept} of {len(held)})"
        print(line)
        if len(held) == len(splits):
            best = (agreement, statistics.fmean(held))
    ours = None if best is None else round(best[1], 4)
    promised = None if best is None else best[0]
    ratio = None if best is None else round(best[1] / best[0], 4)
    figures = {"ours": ours, "others": promised, "ratio": ratio, "unit": "share that agrees"}
    print(json.dumps({"name": "certified students", **figures}))


if __name__ == "__main__":
    main()
