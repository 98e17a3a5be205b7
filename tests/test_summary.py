"""The iterations side by side: what a real run wrote, gathered, and the closing table."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest
from pipeline import Project
from rich.console import Console
from running import Finished

from lion import iterations
from lion.config.validation import read_settings
from lion.discrimination import scorers
from lion.iterations import IterationMetrics
from lion.metrics.judging import Audited
from lion.reporting import table

ITERATIONS = {"1": "0", "2": "1"}  # 2 has not run


@pytest.fixture
def run(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return the finished project, which is the working folder."""
    monkeypatch.chdir(finished.project.root)
    return finished.project


@pytest.fixture
def lines(run: Project) -> list[IterationMetrics]:
    assert run.root.exists()
    return iterations.lines(ITERATIONS)


def raw(run: Project, path: str) -> Any:
    """Return a document as it lies there, whatever Lion makes of it."""
    return json.loads((run.root / path).read_bytes())


def weighted(rows: list[dict[str, Any]], values: list[float]) -> float:
    return fmean(values, [row["weight"] for row in rows])


def test_the_figures_are_those_of_the_rows(run: Project, lines: list[IterationMetrics]) -> None:
    """Counted and averaged anew from the pools, verdicts and answers."""
    base, first, _ = lines
    for line in (base, first):
        assert line.train_pool == len(run.rows(f"{line.iteration}/train_pool.jsonl"))
        assert line.cache_pool == len(run.rows(f"{line.iteration}/cache_pool.jsonl"))
    decided = [row for row in run.rows("1/verdicts.jsonl") if row["gap"] is not None]
    hard = weighted(decided, [row["difficulty"] == "hard" for row in decided])
    assert first.hard_share == pytest.approx(hard)
    assert first.mean_gap_points == pytest.approx(
        weighted(decided, [one["gap"] for one in decided])
    )
    assert (base.hard_share, base.mean_gap_points) == (None, None)
    assert first.kept == len(run.rows("1/train_pool.jsonl"))
    assert first.asked == first.kept + len(run.rows("1/dropped.generate.jsonl")[:-1])
    assert (base.previous, first.previous) == (None, "0")


@pytest.mark.parametrize("place", [0, 1])
def test_accuracies_are_the_mean_over_categories(
    run: Project, lines: list[IterationMetrics], place: int
) -> None:
    line = lines[place]
    scorer = read_settings(run.settings()).exam.scorer
    texts = {row["id"]: row["text"] for row in run.rows(f"{place}/exam_responses.jsonl")}
    marks: dict[str, list[bool]] = {}
    for row in run.rows("exam.jsonl"):
        right = scorers.score(texts[row["id"]], row["expected"], scorer, row["id"]).correct
        marks.setdefault(row["category"], []).append(bool(right))
    assert line.accuracy_share == pytest.approx(fmean(map(fmean, marks.values())))
    assert line.accuracy_share_interval is not None and line.accuracy_share is not None
    low, high = line.accuracy_share_interval
    assert low <= line.accuracy_share <= high <= 1


def test_dropped_rows_are_counted_by_reason(run: Project, lines: list[IterationMetrics]) -> None:
    for line in lines[:2]:
        found = Counter(
            row["reason"]
            for path in (run.root / "data" / line.iteration).glob("dropped.*.jsonl")
            for row in run.rows(f"{line.iteration}/{path.name}")
            if "reason" in row
        )
        assert line.dropped == dict(sorted(found.items()))
    assert lines[1].dropped


def usages(run: Project, iteration: str) -> Iterator[dict[str, int]]:
    """Yield every part of an iteration's metrics that tells of tokens."""
    for path in (run.root / "metrics" / iteration).glob("*.json"):
        for role, part in json.loads(path.read_bytes()).items():
            tells = isinstance(part, dict) and "prompt_tokens" in part
            known = (path.stem, role) == ("evaluate", "teacher") and iteration != "0"
            if tells and not known:  # the teacher's exam answers are in the ledger by then
                yield part


def test_requests_and_tokens_are_of_all_roles(run: Project, lines: list[IterationMetrics]) -> None:
    for line in lines[:2]:
        found = list(usages(run, line.iteration))
        tokens = sum(one["prompt_tokens"] + one["completion_tokens"] for one in found)
        assert len(found) > 2
        assert (line.requests, line.tokens) == (sum(one["requests"] for one in found), tokens)


def test_what_happened_is_of_this_machine(run: Project, lines: list[IterationMetrics]) -> None:
    records = [raw(run, f".lion/runs/{path.name}") for path in run.root.glob(".lion/runs/*@1.json")]
    asked = [part for record in records for part in record["asked"].values()]
    assert lines[1].calls == sum(part["calls"] for part in asked) > 0
    assert lines[1].seconds == pytest.approx(sum(record["seconds"] for record in records))


def test_what_happened_elsewhere_is_unknown(
    run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh clone, or after `dvc pull`, nobody knows how many calls were made."""
    shutil.copytree(run.root / "metrics", tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    line = iterations.lines(ITERATIONS)[1]
    assert (line.calls, line.seconds, line.nanodollars) == (None, None, None)
    assert line.tokens is not None
    assert "-" in cells(shown([line]))["all"]


def test_an_iteration_that_has_not_run_is_there(lines: list[IterationMetrics]) -> None:
    """It has no figures but its names."""
    assert [line.iteration for line in lines] == ["0", "1", "2"]
    known = {
        name for name in IterationMetrics.__slots__ if getattr(lines[2], name) not in (None, {})
    }
    assert known == {"iteration", "previous"}


def test_only_the_iterations_of_params_are_shown(run: Project) -> None:
    assert (run.root / "metrics" / "1").exists()
    assert [line.iteration for line in iterations.lines({})] == ["0"]


def test_json_has_every_figure(run: Project, lines: list[IterationMetrics]) -> None:
    rows = json.loads(msgspec.json.encode(lines))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert set(rows[0]) == set(IterationMetrics.__slots__)
    interval = raw(run, "metrics/1/evaluate.json")["accuracy_interval"]
    assert rows[1]["accuracy_share_interval"] == [interval["low_share"], interval["high_share"]]
    assert rows[1]["reviews"]["audit"] == raw(run, "metrics/1/agreement.json")["audit"]
    assert rows[2]["quality_percent"] is None


def shown(lines: list[IterationMetrics], width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(table.closing(lines))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def cells(text: str) -> dict[str, list[str]]:
    rows = [line.replace(" %", "%").split() for line in text.splitlines() if line.startswith(" ")]
    return {row[0]: row for row in rows if row}


def test_the_table_shows_the_figures(run: Project, lines: list[IterationMetrics]) -> None:
    evaluate, split = (raw(run, f"metrics/1/{name}.json") for name in ("evaluate", "split"))
    first = lines[1]
    assert first.asked and first.kept
    rows = cells(shown(lines))
    assert rows["1"][1:7] == [
        f"{first.train_pool:,}",
        f"{first.cache_pool:,}",
        f"{100 * split['hard_share']:.1f}%",
        f"{100 * first.kept / first.asked:.1f}%",
        f"{100 * evaluate['accuracy_share']:.1f}%",
        f"{evaluate['quality_percent']:.1f}%",
    ]
    assert rows["1"][7:10] == [f"{first.calls:,}", f"{first.tokens:,}", "free"]
    assert rows["0"][3:5] == ["-", "-"]
    assert rows["2"][1:] == ["-"] * 10


def test_a_total_of_which_a_part_is_unknown_is_unknown(lines: list[IterationMetrics]) -> None:
    assert cells(shown(lines))["all"][1] == "-"
    known = sum(line.calls or 0 for line in lines)
    assert cells(shown(lines[:2]))["all"][1] == f"{known:,}"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_column_is_cut(lines: list[IterationMetrics], width: int) -> None:
    text = shown(lines, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_large_figures_fit_a_terminal_of_80(lines: list[IterationMetrics]) -> None:
    """The paper's own run: 70,000 rows, 418,000 calls, hundreds of millions of tokens."""
    big = replace(lines[1], train_pool=6000, cache_pool=70_000, calls=418_000, tokens=456_789_012,
                  nanodollars=2 * 10**12, seconds=23_456.0)  # fmt: skip
    text = shown([big])
    assert "…" not in text
    assert "457 M" in text


def test_the_headline_names_student_and_teacher(
    run: Project, lines: list[IterationMetrics]
) -> None:
    found = raw(run, "metrics/1/evaluate.json")
    share, interval = found["accuracy_share"], found["accuracy_interval"]
    told = table.headline(lines).plain
    assert told.startswith(
        f"Student 1 on the exam: {100 * share:.1f} % ({100 * interval['low_share']:.1f} to "
        f"{100 * interval['high_share']:.1f}), teacher "
        f"{100 * found['teacher_accuracy_share']:.1f} %, guessing "
        f"{100 * found['guess_accuracy_share']:.1f} %.\nIts quality: "
        f"{found['quality_percent']:.1f} % ("
    )
    assert table.headline(lines[:1]).plain.startswith("Student 0 on the exam: ")


def test_the_referees_part_of_an_accepted_hard_instruction_is_told(
    run: Project, lines: list[IterationMetrics]
) -> None:
    asked = raw(run, "metrics/1/review.json")["referee"]["requests"]
    hard = raw(run, "metrics/1/generate.json")["hard"]["kept"]
    text = " ".join(shown(lines, 200).split())
    assert f"each of the {hard} accepted hard instructions took {asked / hard:.2f} reviews," in text
    assert "free; agreement with judging all in both orders 100.0 %" in text


def test_where_orders_were_left_out_the_agreement_follows_from_the_audit(
    lines: list[IterationMetrics],
) -> None:
    """Half of the verdicts rest on one order; all ten audited agree: Wilson's 72.2 % for them."""
    assert lines[1].reviews is not None
    for audited, told in (
        (10, "100.0 % (86.1 to 100.0)"),
        (0, "is not known (review.audit_rate: 0)"),
    ):
        audit = Audited(decided=98, unchecked=49, audited=audited, agreeing=audited)
        changed = replace(lines[1], reviews=replace(lines[1].reviews, audit=audit))
        (text,) = table.judging([changed])
        assert text.endswith(f"agreement with judging all in both orders {told}")


def test_where_quality_did_not_rise_it_is_said(lines: list[IterationMetrics]) -> None:
    base, first, _ = lines
    assert base.quality_percent is not None
    fell = replace(first, quality_percent=base.quality_percent - 1)
    (note,) = [one for one in table.run_warnings([base, fell]) if "Quality" in one]
    assert note.startswith(f"Quality did not rise in iteration 1: {base.quality_percent:.1f} to ")
    rose = replace(first, quality_percent=base.quality_percent + 1)
    assert not [one for one in table.run_warnings([base, rose]) if "Quality" in one]


def test_where_the_loop_stopped_it_is_said(lines: list[IterationMetrics]) -> None:
    stopped = replace(lines[1], stopped="nothing is hard")
    assert "Iteration 1 stopped: nothing is hard." in shown([lines[0], stopped], 200)


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
    assert table.dollars(nanodollars, unpriced) == told


def test_wasted_calls_are_told_where_there_are_any(lines: list[IterationMetrics]) -> None:
    line = replace(lines[1], calls=200)
    assert "wasted" not in shown([line])
    lossy = replace(line, wasted=5, throttled=3, billed=2)
    assert "wasted calls: 5 of 200 (2.5 %), 3 of them refused (429), 2" in shown([lossy])
