"""`lion show`: filters and orders against plain Python."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pooled import drawn, instruction, project, verdict

from lion.cli import main
from lion.records import jsonl
from lion.records.rows import Answer


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
