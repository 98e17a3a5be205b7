"""`lion diff`: counts are those of plain sets; what models wrote stays text; exit codes."""

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from pooled import drawn, instruction, project, verdict
from running import Finished

from lion.cli import main
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Row, TeacherAnswer


def lion(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": str(columns)})


def rows(name: str) -> dict[str, Row]:
    return {row["id"]: row for row in map(json.loads, Path(name).read_text().splitlines())}


@pytest.fixture(params=range(3))
def _two(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two iterations that share most rows, some of them answered and judged anew."""
    rng = random.Random(request.param)
    pool = drawn(rng, 40)
    for key, start in (("1", 0), ("2", 9)):
        side = rng.sample(pool, 60) if request.param else pool[start : start + 65]
        gaps = [None, 0.0, 0.5, 1.0, 4.0]
        judged = rng.sample(side, 40)
        project(
            tmp_path,
            key,
            [answered(row, f"answer {rng.randint(0, 1)}") if key == "2" else row for row in side],
            [verdict(row.id, rng.choice(gaps)) for row in judged],
            [Answer(row.id, rng.choice("ab"), "stop", "s") for row in judged],
        )
    monkeypatch.chdir(tmp_path)


def answered(row: Instruction, text: str) -> Instruction:
    return replace(row, answer=TeacherAnswer(text, "stop", "oracle-1"))


@pytest.mark.usefixtures("_two")
def test_every_count_is_that_of_plain_sets() -> None:
    found = json.loads(lion("diff", "1", "2", "--json").stdout)
    a, b = rows("data/1/cache_pool.jsonl"), rows("data/2/cache_pool.jsonl")
    u, v = rows("data/1/verdicts.jsonl"), rows("data/2/verdicts.jsonl")
    r, s = rows("data/1/responses.jsonl"), rows("data/2/responses.jsonl")
    kept, judged = a.keys() & b.keys(), u.keys() & v.keys()
    assert found["rows"] == [len(a), len(b)]
    assert found["added"] == len(b.keys() - a.keys())
    assert found["removed"] == len(a.keys() - b.keys())
    assert found["kept"] == len(kept)
    assert found["answers_changed"] == sum(a[i]["answer"] != b[i]["answer"] for i in kept)
    assert found["responses_changed"] == sum(
        r[i]["text"] != s[i]["text"] for i in r.keys() & s.keys()
    )

    def moved(one: str, other: str) -> int:
        return sum(u[i]["difficulty"] == one and v[i]["difficulty"] == other for i in judged)

    moves = found["moves"]
    assert moves["judged_by_both"] == len(judged)
    assert moves["hard_to_easy"] == moved("hard", "easy")
    assert moves["easy_to_hard"] == moved("easy", "hard")
    known = [i for i in judged if u[i]["gap"] is not None and v[i]["gap"] is not None]
    changes = [v[i]["gap"] - u[i]["gap"] for i in known]
    assert moves["gap_change"] == pytest.approx(sum(changes) / len(changes))
    for by in ("origin", "iteration", "domain", "category"):
        groups = {one["name"]: one for one in found["groups"] if one["by"] == by}
        for name in {row.get(by) for row in [*a.values(), *b.values()]}:
            added = [b[i].get(by) for i in b.keys() - a.keys()]
            assert groups[name]["added"] == added.count(name)
            assert groups[name]["before"] == [x.get(by) for x in a.values()].count(name)


@pytest.mark.usefixtures("_two")
def test_parents_are_those_with_most_new_children() -> None:
    a, b = rows("data/1/cache_pool.jsonl"), rows("data/2/cache_pool.jsonl")
    parents = [b[i]["parent"] for i in b.keys() - a.keys() if b[i]["parent"]]
    found = json.loads(lion("diff", "1", "2", "--json").stdout)["parents"]
    counts = sorted(map(parents.count, set(parents)), reverse=True)
    assert [one["added"] for one in found] == counts[:10]
    assert all(parents.count(one["id"]) == one["added"] for one in found)


@pytest.mark.usefixtures("_two")
def test_the_rows_that_moved_furthest_are_shown() -> None:
    u, v = rows("data/1/verdicts.jsonl"), rows("data/2/verdicts.jsonl")
    harder = [
        v[i]["gap"] - u[i]["gap"]
        for i in u.keys() & v.keys()
        if (u[i]["difficulty"], v[i]["difficulty"]) == ("easy", "hard")
    ]
    found = json.loads(lion("diff", "1", "2", "--json", "--samples", "2").stdout)["samples"]
    shown = [one["after"] - one["before"] for one in found if one["kind"] == "easy to hard"]
    assert shown == sorted(harder, reverse=True)[:2]


@pytest.mark.usefixtures("_two")
def test_one_name_means_the_iteration_before() -> None:
    assert lion("diff", "2", "--json").stdout == lion("diff", "1", "2", "--json").stdout


@pytest.mark.usefixtures("_two")
def test_exit_codes_are_those_of_diff() -> None:
    assert lion("diff", "1", "2").exit_code == 0
    assert lion("diff", "1", "2", "--exit-code").exit_code == 1
    assert lion("diff", "1", "1", "--exit-code").exit_code == 0
    missing = lion("diff", "1", "nowhere")
    assert missing.exit_code == 2
    assert "no revision" in missing.stderr


@pytest.mark.usefixtures("_two")
@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_narrow_terminal_cuts_no_figure(columns: int) -> None:
    shown = lion("diff", "1", "2", columns=columns).stdout
    assert max(map(len, shown.splitlines())) <= columns
    added = json.loads(lion("diff", "1", "2", "--json").stdout)["added"]
    assert f"{added} added" in " ".join(shown.split())


NASTY = "```\n</details> \x1b[2J <img src=x onerror=alert(1)> \u202egnp.exe | `tick`"


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
    one, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    jsonl.write(one, [instruction("plain")])
    jsonl.write(other, [instruction("plain"), instruction(NASTY, domain="a|`b`<i>")])
    for option in ("--md", "--samples=3"):
        shown = lion("diff", str(one), str(other), option).stdout
        assert "\\x1b[2J" in shown and "\x1b" not in shown
        assert "\\u202e" in shown and "\u202e" not in shown
    markdown = lion("diff", str(one), str(other), "--md").stdout
    fence = next(line for line in markdown.splitlines() if line.startswith("````"))
    inside = markdown.split(fence)[1].split("````")[0]
    assert "onerror" in inside and "</details>" in inside
    assert "`a¦'b'<i>`" in markdown


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    pool = tmp_path / "a.jsonl"
    jsonl.write(pool, [instruction("plain")])
    broken = tmp_path / "b.jsonl"
    broken.write_text(pool.read_text() + '{"format": 1, "id"\n')
    found = lion("diff", str(pool), str(broken))
    assert found.exit_code == 2
    assert "b.jsonl" in found.stderr and "line 2" in found.stderr.replace(":2", " line 2")


def test_the_exam_and_the_funnel_of_a_real_run_are_told(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its metrics have them: accuracies are shares there, qualities per cents."""
    monkeypatch.chdir(finished.project.root)
    told = " ".join(lion("diff", "0", "1", columns=200).stdout.split())
    before, after = (
        json.loads(Path(f"metrics/{key}/evaluate.json").read_bytes()) for key in ("0", "1")
    )
    accuracy = [f"{100 * one['accuracy_share']:.1f} %" for one in (before, after)]
    quality = [f"{one['quality_percent']:.1f} %" for one in (before, after)]
    assert (
        f"exam: accuracy {accuracy[0]}, then {accuracy[1]}; "
        f"quality {quality[0]}, then {quality[1]}" in told
    )
    kept = json.loads(Path("metrics/1/generate.json").read_bytes())["hard"]["kept"]
    assert f"hard: kept - {kept}" in told
