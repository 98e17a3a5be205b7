"""What the page, `lion show` and `lion diff` leave out: stale outputs, too many rows, no ledger."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from examined import HARM, lion, write_run
from fixtures import Workplace

from lion.cli import main
from lion.config.project import ledger
from lion.reporting import exam_page


def test_of_too_many_rows_the_failed_ones_are_there(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(workplace)
    monkeypatch.setattr(exam_page, "ROWS", 5)
    lion("report", "--out", "page.html")
    text = Path("page.html").read_text()
    assert "6 rows as the students answered them; 5 of them are here, failed ones first" in text


def stale_lock(**params: Any) -> None:
    """Write a dvc.lock in which evaluate@2 and teach@2 ran with these params."""
    outs = {
        "evaluate@2": ["data/2/exam_responses.jsonl", "metrics/2/evaluate.json"],
        "teach@2": ["data/2/cache_pool.jsonl"],
    }
    stages = {
        name: {
            "cmd": "true",
            "params": {"params.yaml": params.get(name.partition("@")[0], {})},
            "outs": [{"path": path, "md5": "0"} for path in paths],
        }
        for name, paths in outs.items()
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def test_the_page_leaves_out_what_is_stale_and_says_so(workplace: Workplace) -> None:
    write_run(workplace)
    lion("report", "--out", "page.html")
    assert "student 2" in Path("page.html").read_text()
    assert '"stale": null' in Path("page.html").read_text()
    stale_lock(evaluate={"random_seed": 7})
    lion("report", "--out", "page.html")
    text = Path("page.html").read_text()
    assert "1 stages ran with other params (random_seed): what they wrote is stale" in text
    assert "Confusion of label, student 1b" in text
    assert "Confusion of label, student 2" not in text
    stale_lock(teach={"random_seed": 7})
    result = CliRunner().invoke(main, ["report", "2", "--out", "page.html"])
    assert result.exit_code == 2
    assert "data/2/cache_pool.jsonl: 1 stages ran with other params" in result.stderr
    lion("report", "--out", "page.html")
    assert f"{Path.cwd().name}: student 1b" in Path("page.html").read_text()


def test_diff_and_show_call_stale_pools_stale(workplace: Workplace) -> None:
    write_run(workplace)
    assert "stale" not in lion("diff", "1b", "2").output
    stale_lock(teach={"random_seed": 7}, evaluate={"random_seed": 7})
    compared = lion("diff", "1b", "2")
    assert "2 (stale)" in compared.stdout
    notice = "stale, made with other params (random_seed): data/2/cache_pool.jsonl"
    assert notice in " ".join(compared.stderr.split())
    assert json.loads(lion("diff", "1b", "2", "--json").stdout)["after"] == "2 (stale)"
    assert notice in " ".join(lion("show", "2").stderr.split())
    assert "stale" not in lion("show", "1b").stderr
    assert "data/2/exam_responses.jsonl" in lion("show", "2", "--exam").stderr


def test_without_a_ledger_or_an_exam_the_others_are_shown(workplace: Workplace) -> None:
    write_run(workplace)
    ledger().unlink()
    rows = [json.loads(line) for line in lion("show", "--exam", "--json").stdout.splitlines()]
    assert {row["teacher"] for row in rows} == {None}
    assert {row["student_points"] for row in rows} == {None}
    assert rows[1]["input"] == f"Ticket 1\n\nBody 1 {HARM}"
    assert rows[1]["question"].startswith("System: ")
    Path("data/exam.jsonl").unlink()
    lion("report", "--out", "page.html")
    assert '"sentence": "", "has_rows": false' in Path("page.html").read_text()
