"""`lion show`: filters and orders against plain Python, and calibration against scipy."""

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from pooled import drawn, instruction, project, verdict
from scipy.stats import spearmanr

from lion import calibration, jsonl
from lion.cli import main
from lion.records import Answer


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def shown(*arguments: str) -> list[dict[str, Any]]:
    found = lion("show", "--json", "-n", "0", *arguments)
    assert found.exit_code == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Two judged iterations; returns every row as `lion show` without a filter has it."""
    rng = random.Random(0)
    rows = drawn(rng, 30)
    for key in ("1", "2"):
        judged = rng.sample(rows, 30)
        project(
            tmp_path,
            key,
            rows,
            [verdict(row.id, rng.choice([None, 0.0, 1.0, 3.0, 4.5])) for row in judged],
            [Answer(row.id, f"of {key}", "stop", "s") for row in judged],
        )
    monkeypatch.chdir(tmp_path)
    return shown()


def test_a_row_has_its_latest_verdict_and_the_answer_it_judged(pool: Any) -> None:
    verdicts = {
        key: {
            row["id"]: row
            for row in map(json.loads, Path(f"data/{key}/verdicts.jsonl").read_text().splitlines())
        }
        for key in ("1", "2")
    }
    for row in pool:
        latest = next((key for key in ("2", "1") if row["id"] in verdicts[key]), None)
        assert row["judged"] == latest
        if latest:
            assert row["gap"] == verdicts[latest][row["id"]]["gap"]
            assert row["student"] == f"of {latest}"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--hard"], lambda row: row["difficulty"] == "hard"),
        (["--undecided"], lambda row: row["difficulty"] == "undecided"),
        (["--gap", "3.."], lambda row: row["gap"] is not None and row["gap"] >= 3),
        (["--gap", "..0"], lambda row: row["gap"] is not None and row["gap"] <= 0),
        (["--gap", "1..3", "--hard"], lambda row: row["gap"] in (1.0, 3.0)),
        (["--domain", "writing"], lambda row: row["domain"] == "writing"),
        (["--origin", "hard", "--iteration", "2"], lambda row: (row["origin"], row["iteration"])
         == ("hard", "2")),
        (["--search", "RIVER"], lambda row: "river" in f"{row['instruction']}\n{row['teacher']}"),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_plain_python_keeps(options: list[str], wanted: Any, pool: Any) -> None:
    expected = [row["id"] for row in pool if wanted(row)]
    assert 0 < len(expected) < len(pool)
    assert [row["id"] for row in shown(*options)] == expected


def test_a_sort_is_stable_and_ends_with_what_has_no_gap(pool: Any) -> None:
    known = [row for row in pool if row["gap"] is not None]
    unknown = [row for row in pool if row["gap"] is None]
    expected = sorted(known, key=lambda row: -row["gap"]) + unknown
    assert shown("--sort=-gap") == expected


def test_the_beginning_of_an_id_will_do(pool: Any) -> None:
    child = next(row for row in pool if row["parent"])
    assert [row["id"] for row in shown("--id", child["id"][:12])] == [child["id"]]
    assert child in shown("--parent", child["parent"][:12])


@pytest.mark.usefixtures("pool")
def test_a_range_that_is_none_is_refused() -> None:
    found = lion("show", "--gap", "three")
    assert found.exit_code != 0
    assert "3.." in found.stderr


def test_the_terminal_gets_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    jsonl.write(path, [instruction("red \x1b[31m \u202e [bold]text[/bold]", answer="\x07bell")])
    told = lion("show", str(path)).stdout
    assert "\\x1b[31m" in told and "\\u202e" in told and "\\x07bell" in told
    assert "[bold]text[/bold]" in told
    assert not set(told) & {"\x1b", "\u202e", "\x07"}


def test_calibration_is_that_of_plain_python() -> None:
    rng = random.Random(1)
    scores = {f"{n:016x}": [rng.randint(1, 10) for _ in range(4)] for n in range(60)}
    reviews = [
        (identity, order, float(t), float(s))
        for identity, (a, b, c, d) in scores.items()
        for order, t, s in (("teacher_first", a, b), ("student_first", c, d))
    ]
    unread = [("f" * 16, "teacher_first", None, None), ("f" * 16, "student_first", 5.0, 5.0)]
    frame = pl.DataFrame(
        [*reviews, *unread], ["id", "order", "teacher_score", "student_score"], orient="row"
    )
    texts = {identity: (rng.randint(1, 20), rng.randint(1, 20)) for identity in scores}
    answers = pl.DataFrame(
        [(identity, "w " * long, "w " * short) for identity, (long, short) in texts.items()],
        ["id", "answer", "text"],
        orient="row",
    )
    found = calibration.measure(frame, answers)
    gaps = {identity: (a - b, c - d) for identity, (a, b, c, d) in scores.items()}
    assert found.judged == 60
    assert found.unread == pytest.approx(1 / 122)
    assert found.contradictory == sum(x * y < 0 for x, y in gaps.values()) / 60
    assert found.tied == sum(x + y == 0 for x, y in gaps.values()) / 60
    ahead = sum((scores[i][0] - scores[i][1]) + (scores[i][3] - scores[i][2]) for i in gaps) / 120
    assert found.first_ahead == pytest.approx(ahead)
    longer = [texts[identity][0] - texts[identity][1] for identity in gaps]
    expected = spearmanr([x + y for x, y in gaps.values()], longer).statistic
    assert found.length == pytest.approx(expected)


def test_a_referee_that_never_wavers_has_no_correlation() -> None:
    frame = pl.DataFrame(
        [("a", "teacher_first", 5.0, 5.0), ("a", "student_first", 5.0, 5.0)],
        ["id", "order", "teacher_score", "student_score"],
        orient="row",
    )
    found = calibration.measure(frame, pl.DataFrame({"id": ["a"], "answer": ["x"], "text": ["y"]}))
    assert (found.judged, found.tied, found.length) == (1, 1.0, None)
