"""A project whose teacher, referee and generator are a model on llama.cpp's server.

The test and `bench/real_teacher.py` start here. Claims nothing itself.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import Project
from pretrained import student_folder

ROLES = ("teacher", "referee", "generator")
TINY: Mapping[str, Any] = {
    "seed.size": 1,
    "seed.on_bad_row": "drop",
    "seed.on_contaminated": "drop",
    "exam.file": None,
    "exam.scorer": {"kind": "referee", "option": None},
    "respond.limit": None,
    "review.max_dropped": 1.0,
    "teach.max_dropped": 0.5,
    "evaluate.max_dropped": 1.0,
    "evaluate.resamples": 50,
    "generate.novelty": 0.7,
    "generate.max_dropped": 0.5,
    "generate.min_acceptance": 0.0,
    "generate.requests_per_round": 8,
    "tune.method": "lora",
    "tune.optimizer": "adamw",
    "tune.matrix_learning_rate": None,
    "tune.learning_rate": 0.001,
    "tune.batch_size": 4,
    "tune.max_length": 512,
    "tune.too_long": "truncate",
    "answering.max_tokens": 48,
    "answering.batch_size": 8,
    "hardware.save_every": None,
    "api.concurrency": 2,
    "api.timeout": 600.0,
    "api.max_request_seconds": 1800.0,
}
"""What a real model of a few hundred million parameters gets through, in minutes."""


def served(url: str, form: str, penalty: float = 0.5) -> dict[str, Any]:
    """Return the changes of params that name the server, and the referee's form.

    `penalty` is the referee's frequency_penalty, 0 for none: a model of this size repeats itself
    to the cap, inside the schema's text as well.
    """
    caps = {"teacher": 320, "referee": 512, "generator": 128}
    temperature = {"teacher": 0.7, "referee": 0.2, "generator": 1.0}
    changes: dict[str, Any] = {"referee.form": form}
    for role in ROLES:
        changes |= {
            f"{role}.base_url": url,
            f"{role}.model": "small",
            f"{role}.api_key_env": None,
            f"{role}.request": {"temperature": temperature[role], "max_tokens": caps[role]},
        }
    if penalty:
        changes["referee.request"]["frequency_penalty"] = penalty
    return changes


def real_project(root: Path, rows: Sequence[Mapping[str, Any]], url: str, form: str) -> Project:
    """Return a committed project on self-instruct's rows, a sixth of them the exam."""
    project = Project.of_working_tree(root, "ci")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (root / "inputs" / "tasks.jsonl").write_text(lines, encoding="utf-8")
    new = max(2, len(rows) // 4)
    project.edit(
        {
            **TINY,
            **served(url, form),
            "seed.source": ["inputs/tasks.jsonl"],
            "seed.holdout": max(2, len(rows) // 6),
            "student.model": str(student_folder()),
            "student.dtype": "float32",
            "generate.hard": new,
            "generate.easy": new // 2,
            "generate.per_parent": new,
            "evaluate.quality": max(2, len(rows) // 6),
            "tune.steps": max(2, len(rows) // 4),
            "base.tune": {},
        }
    )
    project.commit()
    return project
