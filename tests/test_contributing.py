"""The examples of CONTRIBUTING.md work: applied to a copy of this tree, checked and run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import ROOT, Project
from running import Finished

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_LINES = 40
FENCE = re.compile(r"^```(diff|python) ?(?:title=\"(.*?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(
    re.findall(r"^## Example: a (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
)


def carry_out(example: str, root: Path) -> None:
    """Write the files of an example and apply its diffs, in the order of the page."""
    for kind, name, text in FENCE.findall(example):
        if kind == "python":
            (root / name).write_text(text, encoding="utf-8")
        else:
            patch = ["git", "apply", "--recount", "--unidiff-zero", "-"]
            for part in re.split(r"^(?=--- a/)", text, flags=re.MULTILINE)[1:]:  # a file each
                subprocess.run(patch, cwd=root, input=part, text=True, check=True)


def code_lines(example: str) -> int:
    """Count what a reader writes: added lines and lines of new files, tests apart."""
    return sum(
        sum(line.startswith("+") and not line.startswith("+++") for line in text.splitlines())
        if kind == "diff"
        else len([line for line in text.splitlines() if line.strip()])
        for kind, name, text in FENCE.findall(example)
        if not name.startswith("tests/")
    )


def test_there_are_three_examples_of_a_few_lines() -> None:
    assert set(EXAMPLES) == {"scorer", "reader", "stage"}
    assert {
        name: code_lines(text) < MOST_LINES for name, text in EXAMPLES.items()
    } == dict.fromkeys(EXAMPLES, True)


def test_the_examples_pass_their_tests_the_contract_and_ruff(tmp_path: Path) -> None:
    """All three in one copy; five seconds of a core, for all that such a change may break."""
    copy = Project.of_working_tree(tmp_path / "project", "default")
    for example in EXAMPLES.values():
        carry_out(example, copy.root)
    new = [name for _, name, _ in FENCE.findall(PAGE) if name.startswith("tests/")]
    contract = ["tests/test_contract.py", "-k", "not weights"]  # that one imports torch
    tests = [sys.executable, "-m", "pytest", "-q", *new, *contract]
    for command in (tests, [sys.executable, "-m", "ruff", "check", "lion", "stages"]):
        done = subprocess.run(
            command, cwd=copy.root, env=copy.environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_stage_of_the_example_runs_alone(finished: Finished, tmp_path: Path) -> None:
    """In a finished project DVC runs the new stage, then the report that reads its file."""
    project = finished.project.copy(tmp_path / "project")
    carry_out(EXAMPLES["stage"], project.root)
    assert project.repro().stages == ["lengths@1", "report"]
    assert b'"answers": ' in (project.root / "metrics/1/lengths.json").read_bytes()
