"""A narrow task of one's own: 40 tickets, 20 held out, a long prompt; fields or chat rows."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from narrow import NARROW, TINY, narrow_folder, run_stages

from lion.config import project
from lion.config.settings import TaskSettings
from lion.config.validation import read_settings
from lion.conversations import TaskTemplate
from lion.metrics import files
from lion.metrics.pools import GenerateMetrics, SeedMetrics
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.simulator.tickets import Ticket, ticket_exam, ticket_pool

OWN = {
    **TINY,
    "seed.source": ["inputs/tickets.jsonl"],
    "exam.file": "inputs/exam.jsonl",
    "seed.on_contaminated": "error",
    "decontaminate.ngram": 13,  # the field's custom; the shared prompt has 40 words
    "generate.novelty": 0.7,  # the paper's
    "generate.hard": 8,
    "generate.easy": 0,
    "split.hard_share": 1.0,  # every row is hard, whatever the student says
    "split.uniform_share": 0.0,
}
TASK = read_settings(NARROW).task
BASE_STAGES = ("seed@0", "teach@0", "tune@0", "evaluate@0")


def template() -> TaskTemplate:
    declared = TaskTemplate.declared(TASK)
    assert declared is not None
    return declared


def write_own_files(root: Path, *, as_chat: bool) -> None:
    """Write the user's two files: fields, or conversations with the prompt in each."""

    def row(ticket: Ticket) -> dict[str, Any]:
        return {"messages": template().render(ticket.fields)} if as_chat else {**ticket.fields}

    pool = [row(ticket) for ticket in ticket_pool(40, random_seed=5, skew=0.5)]
    exam = [
        {**row(ticket), "expected": ticket.facts.answer}
        for ticket in ticket_exam(20, random_seed=5)
    ]
    for name, rows in (("tickets", pool), ("exam", exam)):
        text = "".join(f"{json.dumps(one)}\n" for one in rows)
        (root / "inputs" / f"{name}.jsonl").write_text(text)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the declared task ran through the base."""
    root = tmp_path_factory.mktemp("declared")
    narrow_folder(root)
    write_own_files(root, as_chat=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stages(OWN, *BASE_STAGES)
    return root


def test_every_row_enters_and_the_prompt_is_no_leak(
    declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(declared)
    assert len(TASK.messages[0].content) == 266
    metrics = files.read_metrics(project.metrics("0", "seed"), SeedMetrics)
    assert (metrics.rows, metrics.exam, metrics.dropped) == (40, 20, {})


def test_new_rows_keep_roles_and_fields(
    declared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "loop"
    shutil.copytree(declared, root)
    monkeypatch.chdir(root)
    run_stages(OWN, "respond@1", "review@1", "split@1", "generate@1")
    funnel = files.read_metrics(project.metrics("1", "generate"), GenerateMetrics).hard
    assert funnel.kept == 8
    assert funnel.kept >= 0.8 * funnel.asked
    for row in jsonl.read(project.data("1", "train_pool.jsonl"), Instruction):
        assert [turn["role"] for turn in row.messages] == ["system", "user"]
        assert template().read(row.messages) is not None


def test_declared_and_as_chat_rows_are_the_same_bytes(
    declared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ids, requests and students follow from the rendered conversation."""
    root = tmp_path / "chat"
    narrow_folder(root)
    write_own_files(root, as_chat=True)
    monkeypatch.chdir(root)
    undeclared = TaskSettings(fields=[], messages=[], good=TASK.good).model_dump()
    changes = {"task": undeclared, "decontaminate.ngram": None}
    run_stages({**OWN, **changes}, *BASE_STAGES)
    assert ledger_keys(root) == ledger_keys(declared)
    assert contents(root / "data") == contents(declared / "data")
    assert contents(root / "metrics") == contents(declared / "metrics")


def ledger_keys(root: Path) -> set[bytes]:
    with closing(sqlite3.connect(root / ".lion/ledger.sqlite")) as ledger:
        return {key for (key,) in ledger.execute("SELECT key FROM calls")}


def contents(folder: Path) -> dict[str, bytes]:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    assert found
    return found
