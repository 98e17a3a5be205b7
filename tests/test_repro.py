"""The pipeline as users run it: `dvc repro`, edits, branches, kills, stops."""

import re
from concurrent.futures import Future
from pathlib import Path

import pytest
import yaml
from pipeline import BASE_STAGES, loop
from running import PAID_BEFORE_THE_KILL, Changed, Finished, Killed

from lion.metrics.exams import EvaluateMetrics
from lion.metrics.pools import TuneMetrics

# --- the first run ---------------------------------------------------------------------------


def test_the_first_run_runs_every_stage_once(finished: Finished) -> None:
    assert sorted(finished.run.stages) == sorted([*BASE_STAGES, *loop("1"), "report"])


def test_stages_run_after_those_whose_outputs_they_read(finished: Finished) -> None:
    lock = yaml.safe_load((finished.project.root / "dvc.lock").read_text(encoding="utf-8"))
    maker = {out["path"]: name for name, body in lock["stages"].items() for out in body["outs"]}
    order = {name: number for number, name in enumerate(finished.run.stages)}
    arrows = [
        (made_by, name)
        for name, body in lock["stages"].items()
        for dep in body["deps"]
        for out, made_by in maker.items()
        if Path(out).is_relative_to(dep["path"])
    ]
    assert len(arrows) > len(order)
    assert [(one, two) for one, two in arrows if order[one] >= order[two]] == []


def test_a_second_run_runs_nothing_and_pays_nothing(finished: Finished) -> None:
    assert finished.again.code == 0
    assert finished.again.stages == []
    assert finished.project.replies() == finished.replies


def test_git_is_offered_dvcs_lock_and_nothing_else(finished: Finished) -> None:
    """What a run writes is ignored beforehand, so that DVC writes no .gitignore of its own."""
    assert finished.project.git("status", "--porcelain").split() == ["??", "dvc.lock"]


def test_the_pools_grow_by_what_was_taught(finished: Finished) -> None:
    """The Train Pool is replaced by the new rows, the Cache Pool is the old one and they."""
    rows = finished.project.rows
    new = [row["id"] for row in rows("1/train_pool.jsonl")]
    assert [row["id"] for row in rows("1/cache_pool.jsonl")] == [
        *(row["id"] for row in rows("0/cache_pool.jsonl")),
        *new,
    ]
    assert {row["origin"] for row in rows("1/train_pool.jsonl")} == {"hard", "easy"}


# --- clones and kills ------------------------------------------------------------------------


def test_two_clones_make_the_same_bytes(killing: "Future[Killed]", finished: Finished) -> None:
    """Pools, verdicts, metrics and weights, though one clone was killed and asked more slowly."""
    ours, theirs = finished.project.outs(), killing.result().project.outs()
    assert {"data/1/cache_pool.jsonl", "data/1/verdicts.jsonl", "data/1/student"} <= ours.keys()
    assert [path for path in ours if ours[path] != theirs.get(path)] == []
    assert ours.keys() == theirs.keys()


def test_a_killed_stage_ends_the_run_with_an_error(killing: "Future[Killed]") -> None:
    assert killing.result().code != 0


def test_after_a_kill_no_reply_is_paid_for_twice(
    killing: "Future[Killed]", finished: Finished
) -> None:
    """The rerun finds what had arrived in the ledger and asks for the rest alone."""
    killed = killing.result()
    asked = killed.project.record("teach@0").asked["teacher"]
    assert killed.run.code == 0, killed.run.output
    assert PAID_BEFORE_THE_KILL <= killed.paid < asked.needed
    assert asked.hits == killed.paid
    assert asked.calls == asked.needed - killed.paid
    assert killed.project.requests() == finished.project.requests()
    assert killed.project.failures() == 0


def test_after_a_kill_the_killed_stage_and_what_follows_run(killing: "Future[Killed]") -> None:
    assert "seed" not in killing.result().run.stages
    assert killing.result().run.stages[0] == "base-tune"


def test_a_killed_training_goes_on_and_leaves_no_state(killing: "Future[Killed]") -> None:
    """Its weights are those of the run that nobody killed: see the two clones."""
    killed = killing.result()
    assert re.search(r"going on from step \d+ of 10", killed.run.output)
    assert killed.project.states("tune@0") == []


# --- changes ---------------------------------------------------------------------------------


def test_one_line_adds_one_iteration(changing: "dict[str, Future[Changed]]") -> None:
    """It runs exactly its own seven stages, and the report."""
    assert changing["added"].result().run.stages == [*loop("2"), "report"]


def test_an_added_iteration_starts_from_the_one_before(
    changing: "dict[str, Future[Changed]]",
) -> None:
    rows = changing["added"].result().project.rows
    before = {row["id"] for row in rows("1/cache_pool.jsonl")}
    new = rows("2/train_pool.jsonl")
    assert new
    assert {row["parent"] for row in new} <= before
    assert before.isdisjoint(row["id"] for row in new)


@pytest.mark.slow
def test_a_branch_costs_its_own_stages(branching: "Future[Changed]") -> None:
    assert branching.result().run.stages == [*loop("1b"), "report"]


@pytest.mark.slow
def test_a_branch_asks_again_only_what_differs(branching: "Future[Changed]") -> None:
    """Draws are keyed by depth: up to its own tuning a branch asks what its sibling asked."""
    project = branching.result().project
    calls = {stage: project.calls(f"{stage}@1b") for stage in ("review", "generate", "teach")}
    assert calls == {"review": 0, "generate": 0, "teach": 0}
    new, siblings = (project.rows(f"{key}/train_pool.jsonl") for key in ("1b", "1"))
    assert [row["id"] for row in new] == [row["id"] for row in siblings]
    outs = project.outs()
    same = ("responses.jsonl", "reviews.jsonl", "verdicts.jsonl")
    assert [name for name in same if outs[f"data/1/{name}"] != outs[f"data/1b/{name}"]] == []
    assert outs["data/1/student"] != outs["data/1b/student"]


@pytest.mark.slow
def test_the_referees_prompt_reruns_what_it_decides(prompting: "Future[Changed]") -> None:
    """Reviews, evaluations and what follows: no base is taught or tuned, no response is written."""
    rerun = prompting.result().run.stages
    expected = {"base-evaluate", *loop("1"), *loop("2"), "report"} - {"respond@1"}
    assert set(rerun) == expected


def test_an_iterations_learning_rate_reruns_its_tuning(
    changing: "dict[str, Future[Changed]]",
) -> None:
    slower = changing["slower"].result()
    assert slower.run.stages == ["tune@1", "evaluate@1", "report"]


@pytest.mark.slow
def test_where_nothing_is_hard_the_loop_stops(prompting: "Future[Changed]") -> None:
    """Later stages ask nothing and train nothing, down to the end of the list of iterations."""
    project = prompting.result().project
    for key in ("1", "2"):
        assert [project.calls(f"{stage}@{key}") for stage in ("generate", "teach")] == [0, 0]
        assert project.rows(f"{key}/train_pool.jsonl") == []
        assert project.metrics(key, TuneMetrics).steps == 0
    assert project.rows("2/responses.jsonl") == []
    assert project.calls("review@2") == 0
    assert "is empty" not in prompting.result().run.output, "DVC warns of no file"


@pytest.mark.slow
def test_a_stopped_iterations_student_is_the_one_before(prompting: "Future[Changed]") -> None:
    project = prompting.result().project
    for key, previous in (("1", "0"), ("2", "1")):
        folder = project.root / "data" / key / "student"
        assert [path.name for path in folder.iterdir()] == ["pointer.json"]
        assert yaml.safe_load((folder / "pointer.json").read_text())["iteration"] == previous
        assert (
            project.metrics(key, EvaluateMetrics).accuracy_share
            == project.metrics("0", EvaluateMetrics).accuracy_share
        )


@pytest.mark.slow
def test_the_table_says_that_the_loop_stopped(prompting: "Future[Changed]") -> None:
    table = prompting.result().project.run("lion.cli", "table")
    assert table.code == 0
    assert "Iteration 1 stopped: nothing is hard: no gap reaches tau = 7." in table.output
    assert "Iteration 2 stopped:" in table.output


# --- what DVC shows --------------------------------------------------------------------------


def test_metrics_are_shown(finished: Finished) -> None:
    shown = finished.project.dvc("metrics", "show", "--md")
    assert shown.code == 0
    assert re.search(r"metrics/1/exam\.json +\| 0\.\d", shown.output)


def test_a_changed_parameter_is_shown(changing: "dict[str, Future[Changed]]") -> None:
    shown = changing["slower"].result().project.dvc("params", "diff", "--md")
    assert shown.code == 0
    assert "iterations.1.tune.learning_rate" in shown.output


def test_the_page_of_plots_loads_nothing_from_elsewhere(finished: Finished, tmp_path: Path) -> None:
    shown = finished.project.dvc("plots", "show", "--out", str(tmp_path))
    assert shown.code == 0, shown.output
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "vegaEmbed" in page
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", page) == []


# --- what stands around a stage ---------------------------------------------------------------


def test_a_stage_names_the_broken_parameter_and_the_way_back(
    finished: Finished, tmp_path: Path
) -> None:
    """A bare `dvc repro` fails, and once the value is mended `dvc checkout` is the whole repair."""
    project = finished.project.copy(tmp_path / "project")
    mended = (project.root / "params.yaml").read_text(encoding="utf-8")
    project.edit({"split.tau": "high"})
    broken = project.repro()
    assert broken.code != 0
    assert "split.tau: Input should be a valid number, found 'high'" in broken.output
    assert "dvc checkout" in broken.output
    assert "Traceback" not in broken.output
    assert not (project.root / "data" / "1" / "reviews.jsonl").exists()

    (project.root / "params.yaml").write_text(mended, encoding="utf-8")
    assert project.dvc("checkout").code == 0
    assert project.repro().stages == []


def test_a_proxy_of_the_environment_is_not_asked_for_the_embedded_teacher(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine behind a proxy runs the embedded default: loopback is not the proxy's."""
    project = finished.project.copy(tmp_path / "project")
    for file in (project.root / ".lion").glob("ledger.sqlite*"):
        file.unlink()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    asked = project.run("stages.teach", "1")
    assert asked.code == 0, asked.output
    assert project.calls("teach@1") > 0


# --- experiments


@pytest.mark.slow
def test_an_experiment_elsewhere_asks_the_same_ledger(finished: Finished, tmp_path: Path) -> None:
    """`dvc exp run --temp` works in a copy that it deletes: what was paid for is paid for."""
    project = finished.project.copy(tmp_path / "project")
    project.commit()
    before = project.replies()
    run = project.dvc("exp", "run", "--temp", "--set-param", "teach.max_dropped=0.03")
    assert run.code == 0, run.output
    assert {"base-teach", "teach@1"} <= set(run.stages)
    assert (project.calls("teach@0"), project.calls("teach@1")) == (0, 0)
    assert project.replies() == before > 0
