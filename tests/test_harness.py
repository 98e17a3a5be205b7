"""The task files of lm-eval say what our own exam does."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fixtures import ROOT

from lion.evaluation import multiple_choice
from lion.readers.official_exams import Item
from lion.student.paper_format import paper_prompt

ITEMS = [
    Item("bbh", "snarks", 1, "q", ("a", "b"), "B", "(B)"),
    Item("bbh", "snarks", 2, "q", ("a", "b", "c"), None, "Monsters"),
    Item("bbh", "navigate", 1, "q", ("Yes", "No"), "A", "Yes"),
]


def rows(folder: Path, task: str) -> list[dict[str, object]]:
    text = (folder / f"bbh_{task}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_task_has_two_files_and_every_exam_two_groups(tmp_path: Path) -> None:
    assert multiple_choice.write_tasks(ITEMS, tmp_path, max_tokens=8, chat=True) == 4
    group = yaml.safe_load((tmp_path / "lion_bbh.yaml").read_text())
    assert group["task"] == ["lion_bbh_snarks", "lion_bbh_navigate"]
    assert {path.stem for path in tmp_path.glob("*_likelihood.yaml")} == {
        "lion_bbh_likelihood",
        "lion_bbh_snarks_likelihood",
        "lion_bbh_navigate_likelihood",
    }


def test_rows_hold_our_prompts(tmp_path: Path) -> None:
    for chat in (True, False):
        multiple_choice.write_tasks(ITEMS, tmp_path, max_tokens=8, chat=chat)
        first, second = rows(tmp_path, "snarks")
        plain = ITEMS[0].prompt
        assert first["prompt"] == (plain if chat else paper_prompt(ITEMS[0].instruction().messages))
        assert (first["answer"], first["letters"]) == ("B", ["A", "B"])
        assert second["answer"] not in list("ABC")


@pytest.mark.parametrize("text", ["B", "Because A", "C?", "x", ""])
def test_their_filter_extracts_what_ours_does(tmp_path: Path, text: str) -> None:
    multiple_choice.write_tasks(ITEMS, tmp_path, max_tokens=8, chat=True)
    document = yaml.safe_load((tmp_path / "lion_bbh_snarks.yaml").read_text())
    pattern = document["filter_list"][0]["filter"][0]["regex_pattern"]
    found = re.search(pattern, text)
    (ours,) = multiple_choice.choose(ITEMS[1:2], [text], "first_letter")
    theirs = found and found[1]
    assert theirs == multiple_choice.extract(
        text, multiple_choice.letters_by_task(ITEMS)["bbh", "snarks"], "first_letter"
    )
    assert ours.letter in (theirs, None)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="wants lm-eval")
@pytest.mark.parametrize("scoring", ["first_letter", "likelihood"])
def test_lm_eval_finds_the_same_accuracy(tmp_path: Path, scoring: str) -> None:
    """The same random student on one local task, in both harnesses."""
    examples = [
        {"input": f"Find {n}:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big", "target": f"({'ABC'[n % 3]})"}
        for n in range(30)
    ]
    document = json.dumps({"examples": examples})
    (tmp_path / "movie_recommendation.json").write_text(document)
    command = [sys.executable, "bench/exam.py", "--items", "0", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "--scoring", scoring], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "; 1 tasks with equal figures" in done.stdout, done.stdout
