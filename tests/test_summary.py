"""The iterations side by side: figures gathered from files, and the closing table."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fixtures import Workplace
from rich.console import Console

from lion import jsonl, project
from lion.views import summary, tables
from lion.views.summary import Line

ITERATIONS = {"1": "0", "2": "1"}


def used(requests: int, prompt: int = 0, completion: int = 0) -> dict[str, int]:
    return {"requests": requests, "prompt_tokens": prompt, "completion_tokens": completion}


def measure(iteration: str, stage: str, **document: Any) -> None:
    jsonl.write_document(project.metrics(iteration, stage), document)


def happened(iteration: str, stage: str, seconds: float, **calls: int) -> None:
    asked = {role: {"calls": number} for role, number in calls.items()}
    path = project.run_record(f"{stage}@{iteration}")
    jsonl.write_document(path, {"seconds": seconds, "asked": asked})


@pytest.fixture
def finished(workplace: Workplace) -> Workplace:
    """Write what the base and iteration 1 leave behind; iteration 2 has not run."""
    interval = {"low": 0.4, "high": 0.6}
    measure("0", "seed", rows=100, exam=10, dropped={"duplicate": 2})
    measure("0", "teach", taught=98, cache_pool=98, dropped={"timeout": 2}, teacher=used(100, 7, 3))
    measure("0", "tune", final_loss=1.0)
    measure("0", "evaluate", accuracy=0.5, accuracy_interval=interval, teacher_accuracy=1.0,
            quality=60.0, dropped={}, referee=used(20, 40, 10))  # fmt: skip
    measure("1", "review", reviews=196, dropped={"no_scores": 1}, referee=used(196, 400, 100))
    measure("1", "split", hard_share=0.25, mean_gap=1.5, stopped=None)
    measure("1", "generate", new=30, hard={"asked": 25, "kept": 20, "duplicate": 5},
            easy={"asked": 15, "kept": 10, "not_novel": 5}, generator=used(40, 50, 50))  # fmt: skip
    measure("1", "teach", taught=30, cache_pool=128, dropped={}, teacher=used(30, 1, 1))
    measure("1", "evaluate", accuracy=0.75, teacher_accuracy=1.0, quality=58.0, dropped={},
            referee=used(20, 40, 10))  # fmt: skip
    happened("0", "teach", 2.0, teacher=100)
    happened("0", "evaluate", 3.0, teacher=10, referee=20)
    return workplace


def found() -> dict[str, Line]:
    return {line.iteration: line for line in summary.lines(ITERATIONS)}


def test_the_figures_are_those_of_the_stages(finished: Workplace) -> None:
    base, first = found()["0"], found()["1"]
    assert finished.path.exists()
    assert (base.train_pool, base.cache_pool, base.previous) == (100, 98, None)
    assert (first.train_pool, first.cache_pool, first.previous) == (30, 128, "0")
    assert (first.hard_share, first.mean_gap) == (0.25, 1.5)
    assert (first.asked, first.kept) == (40, 30)
    assert (base.accuracy, base.accuracy_interval, base.quality) == (0.5, (0.4, 0.6), 60.0)
    assert (first.accuracy, first.accuracy_interval) == (0.75, None)


def test_dropped_rows_are_counted_by_reason(finished: Workplace) -> None:
    assert finished.path.exists()
    assert found()["0"].dropped == {"duplicate": 2, "timeout": 2}
    assert found()["1"].dropped == {"duplicate": 5, "no_scores": 1, "not_novel": 5}


def test_an_iteration_that_has_not_run_has_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = summary.lines({"1": "0"})[1]
    assert (line.requests, line.tokens, line.calls, line.seconds) == (None, None, None, None)


def test_requests_and_tokens_are_of_all_roles(finished: Workplace) -> None:
    assert finished.path.exists()
    assert (found()["0"].requests, found()["0"].tokens) == (120, 60)
    assert (found()["1"].requests, found()["1"].tokens) == (286, 652)


def test_what_happened_is_of_this_machine_or_unknown(finished: Workplace) -> None:
    """In a fresh clone, or after `dvc pull`, nobody knows how many calls were made."""
    assert finished.path.exists()
    assert (found()["0"].calls, found()["0"].seconds) == (130, 5.0)
    assert (found()["1"].calls, found()["1"].seconds) == (None, None)


def test_an_iteration_that_has_not_run_is_there(finished: Workplace) -> None:
    assert finished.path.exists()
    assert list(found()) == ["0", "1", "2"]
    line = found()["2"]
    assert (line.train_pool, line.cache_pool, line.asked, line.accuracy) == (None,) * 4
    assert line.dropped == {}


def test_only_the_iterations_of_params_are_shown(finished: Workplace) -> None:
    measure("9", "evaluate", accuracy=1.0)
    assert finished.path.exists()
    assert "9" not in found()


def test_json_has_every_figure(finished: Workplace) -> None:
    assert finished.path.exists()
    rows = json.loads(summary.as_json(summary.lines(ITERATIONS)))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert set(rows[0]) == set(Line.__slots__)
    assert rows[0]["accuracy_interval"] == [0.4, 0.6]
    assert rows[2]["quality"] is None


def shown(lines: list[Line], width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(tables.closing(lines))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def cells(text: str) -> dict[str, list[str]]:
    rows = [line.replace(" %", "%").split() for line in text.splitlines() if line.startswith(" ")]
    return {row[0]: row for row in rows if row}


def test_the_table_shows_the_figures(finished: Workplace) -> None:
    assert finished.path.exists()
    rows = cells(shown(summary.lines(ITERATIONS)))
    assert rows["0"] == ["0", "100", "98", "-", "-", "50.0%", "60.0%", "130", "60", "free", "5"]
    assert rows["1"] == [
        "1",
        "30",
        "128",
        "25.0%",
        "75.0%",
        "75.0%",
        "58.0%",
        "-",
        "652",
        "-",
        "-",
    ]


def test_a_total_of_which_a_part_is_unknown_is_unknown(finished: Workplace) -> None:
    assert finished.path.exists()
    lines = summary.lines(ITERATIONS)
    assert cells(shown(lines))["all"][1] == "-"
    assert cells(shown(lines[:1]))["all"][1] == "130"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_column_is_cut(finished: Workplace, width: int) -> None:
    assert finished.path.exists()
    text = shown(summary.lines(ITERATIONS), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_large_figures_fit_a_terminal_of_80() -> None:
    """The paper's own run: 70,000 rows, 418,000 calls, hundreds of millions of tokens."""
    big = Line("3", "2", 6000, 70000, 0.123, 1.0, 7000, 6000, {}, 0.8765, (0.8, 0.9), 0.99, 98.38,
               None, 418000, 456_789_012, 418_000, 2 * 10**12, 0, 23_456.0, None)  # fmt: skip
    text = shown([big])
    assert "…" not in text
    assert "457 M" in text


def test_the_headline_names_student_and_teacher(finished: Workplace) -> None:
    assert finished.path.exists()
    told = tables.headline(summary.lines(ITERATIONS)).plain
    assert told.startswith(
        "Student 1 on the exam: 75.0 %, its teacher 100.0 %.\nIts quality: 58.0 %"
    )
    base = tables.headline(summary.lines({})[:1]).plain
    assert "50.0 % (40.0 to 60.0)" in base


def test_the_referees_part_of_an_accepted_hard_instruction_is_told(finished: Workplace) -> None:
    """196 reviews of 500 tokens in all brought 20; money that this machine did not pay: a dash."""
    assert finished.path.exists()
    audit = {"decided": 98, "unchecked": 49, "audited": 10, "agreeing": 10}
    measure("1", "agreement", audit=audit)
    text = " ".join(shown(summary.lines(ITERATIONS), 200).split())
    assert "for each of 20 hard instructions accepted 9.80 reviews, 25 tokens, -;" in text
    assert "agreement with judging all in both orders 100.0 % (86.1 to 100.0)" in text
    happened("1", "review", 2.0, referee=196)
    measure("1", "agreement", audit={**audit, "audited": 0})
    text = " ".join(shown(summary.lines(ITERATIONS), 200).split())
    assert "25 tokens, free; agreement with judging all in both orders is not known" in text


def test_where_quality_did_not_rise_it_is_said(finished: Workplace) -> None:
    assert finished.path.exists()
    text = shown(summary.lines(ITERATIONS), 200)
    assert "Quality did not rise in iteration 1: 60.0 to 58.0." in text


def test_where_the_loop_stopped_it_is_said(finished: Workplace) -> None:
    measure("2", "split", hard_share=0.0, stopped="nothing is hard")
    assert finished.path.exists()
    text = shown(summary.lines(ITERATIONS), 200)
    assert "Iteration 2 stopped: nothing is hard." in text


@pytest.mark.parametrize(
    ("nanodollars", "unpriced", "told"),
    [
        (0, 0, "free"),
        (None, 0, "unknown"),
        (0, 3, "unknown"),
        (1_234_500, 0, "$0.0012"),
        (12 * 10**9, 0, "$12.00"),
        (12 * 10**9, 1, "$12.00 +?"),
    ],
)
def test_money_that_is_not_known_is_not_called_zero(
    nanodollars: int | None, unpriced: int, told: str
) -> None:
    assert tables.dollars(nanodollars, unpriced) == told


def test_wasted_calls_are_told_where_there_are_any() -> None:
    line = Line("1", "0", 1, 1, None, None, None, None, {}, None, None, None, None, None, None,
                None, 200, 0, 0, 1.0, None)  # fmt: skip
    assert "wasted" not in shown([line])
    lossy = replace(line, wasted=5, throttled=3, billed=2)
    assert "wasted calls: 5 of 200 (2.5 %), 3 of them refused (429), 2" in shown([lossy])
