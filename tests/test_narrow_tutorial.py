"""The tutorial of a narrow task, walked from top to bottom."""

import json
from pathlib import Path
from typing import Any

import pytest
from documents import commands
from narrow import TINY
from pipeline import ROOT, Project
from test_docs import follow

from lion.simulator import server
from lion.simulator.tickets import ticket_exam, ticket_pool

PAGE = ROOT / "docs" / "tutorials" / "narrow-task.md"
SIZES = {
    **{name: value for name, value in TINY.items() if name != "hardware.save_every"},
    "base.tune.steps": 4,
    "tune.steps": 2,
}
ROLES = ("teacher", "referee", "generator")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
def test_the_tutorial_of_a_narrow_task_is_walked_from_top_to_bottom(tmp_path: Path) -> None:
    """The demonstration, then a project of one's own; the embedded teacher is its server."""
    lines = commands(PAGE)
    new, inside = (next(n for n, line in enumerate(lines) if line.startswith(word))
                   for word in ("lion new", "cd "))  # fmt: skip
    assert inside == new + 1
    here = Project.of_working_tree(tmp_path / "lion", "default")
    here.commit()
    follow(here, lines[:1])
    here.edit({**SIZES, "iterations": {}})
    demonstration = follow(here, lines[1:new])
    assert "fields in 0: label" in demonstration["lion run"]

    here.commit()
    follow(here, [lines[new]])
    own = Project(tmp_path / "tickets", here.threads)
    assert lines[inside] == f"cd ../{own.root.name}"
    pool, exam = ticket_pool(60, random_seed=5, skew=0.5), ticket_exam(20, random_seed=5)
    write_rows(own.root / "inputs/tickets.jsonl", [{**ticket.fields} for ticket in pool])
    examined = [{**ticket.fields, "expected": json.loads(ticket.facts.answer)} for ticket in exam]
    write_rows(own.root / "inputs/exam.jsonl", examined)
    with server.running() as url:
        own.edit(
            {
                **SIZES,
                **{f"{role}.base_url": url for role in ROLES},
                "seed.source": ["inputs/tickets.jsonl"],
                "exam.file": "inputs/exam.jsonl",
                "student.model": str(here.root / "data/base"),
                "split.hard_share": 1.0,  # each row is hard
                "split.uniform_share": 0.0,
                "generate.easy": 0,
            }
        )
        own.commit()
        walked = follow(own, lines[inside + 1 :], OPENAI_API_KEY="a-key-of-the-test")
    assert "20 rows" in walked["lion check --rows 2"]
    assert "the exam has 20" in walked["lion show --exam --wrong"]
    # so short a training teaches no JSON, and then there are no fields to compare
    assert "student wrong  teacher right" in walked["lion show --exam --wrong"]
    assert "Confusion of label" in (own.root / "report/index.html").read_text(encoding="utf-8")
    card = (own.root / "out/student/README.md").read_text(encoding="utf-8")
    assert "<subject>" in card
    assert [row["id"] for row in own.rows("1/exam_responses.jsonl")]
