"""The loop against its baselines: their rows, their steps, their spend, and the closing advice."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fixtures import Configure
from narrow import BASE, LOOP, TINY, narrow_folder, run_stages
from running import Changed

from lion import iterations
from lion.config import project
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.errors import DataError, SettingsError
from lion.generation.baselines import Spend, weighted_tokens
from lion.iterations import IterationMetrics
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, GrowMetrics, TeachMetrics, TuneMetrics
from lion.metrics.units import RoleUsage
from lion.pipeline import plan
from lion.pipeline.rehearsal import rehearse
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.reporting.worth import MarkedRun, PairedDifference, advice, comparisons, worth_sentences
from lion.statistics import Estimate

LINES: Mapping[str, Any] = {
    "given-1": {"previous": "0", "like": "1", "rows": "given"},
    "one-way-1": {"previous": "0", "like": "1", "rows": "uniform"},
}
PAID = {"review.judge": "referee", "respond.limit": 20}  # so that one-way has reviews to spend
SMALL = {**TINY, **PAID, "baselines": LINES, "generate.requests_per_round": 64}
GROWN = ("grow", "tune", "evaluate")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in which base, an iteration and both baselines of the tiny profile ran."""
    root = tmp_path_factory.mktemp("compared")
    narrow_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stages(SMALL, *(f"{stage}@0" for stage in BASE))
        run_stages(SMALL, *(f"{stage}@1" for stage in LOOP))
        before = _replies()
        planned = _planned({"grow@one-way-1", "grow@given-1", "evaluate@one-way-1"})
        run_stages(SMALL, "grow@given-1", "grow@one-way-1")
        Path("calls.json").write_text(json.dumps([planned, _replies() - before]))
        run_stages(SMALL, *(f"{stage}@{name}" for name in LINES for stage in GROWN[1:]))
        Path("paid.json").write_text(json.dumps(_replies() - before))
    yield root


@pytest.fixture
def inside(compared: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(compared)
    return project.load_settings()


def _replies() -> int:
    with Ledger(project.ledger()) as ledger:
        return ledger.spent()[0].calls


def _planned(remaining: set[str]) -> dict[str, int]:
    settings = project.load_settings()
    with Ledger(project.ledger()) as ledger:
        certain = rehearse(settings, remaining, ledger)
    needs = plan.plan(settings, remaining, certain, Prices({}))
    return {f"{need.stage} {need.role}": need.calls for need in needs if need.calls}


def pool(name: str) -> list[Instruction]:
    return jsonl.read(Path("data") / name, Instruction)


def metrics(kind: Any, name: str) -> Any:
    return files.read_metrics(project.metrics(name, kind.FILE), kind)


def test_given_rows_are_the_base_pool_and_ask_nothing(inside: Settings) -> None:
    assert [row.id for row in pool("given-1/train_pool.jsonl")] == [
        row.id for row in pool("0/cache_pool.jsonl")
    ]
    assert metrics(GrowMetrics, "given-1").used == {}
    tuned = metrics(TuneMetrics, "given-1")
    assert (tuned.new_rows, tuned.old_rows) == (114, 0)  # 6 of 120 are for validation
    assert tuned.steps == metrics(TuneMetrics, "1").steps == inside.tune.steps


@pytest.mark.usefixtures("inside")
def test_one_way_spends_what_the_iteration_paid_its_referee() -> None:
    """Rows, reckoned anew: those of the loop, and what the reviews would have bought."""
    generated, taught = metrics(GenerateMetrics, "1"), metrics(TeachMetrics, "1")
    judge = metrics(ReviewMetrics, "1").referee

    def cost(usage: RoleUsage) -> float:
        return usage.prompt_tokens + 4 * usage.completion_tokens

    growing = cost(generated.generator) + cost(taught.teacher)
    rows = pool("one-way-1/train_pool.jsonl")
    assert len(rows) == round(generated.new * (1 + cost(judge) / growing)) > 2 * generated.new
    grown = metrics(GrowMetrics, "one-way-1")
    assert grown.like_weighted_tokens == growing + cost(judge)
    assert grown.weighted_tokens == cost(grown.generator) + cost(grown.teacher)
    assert {row.parent for row in rows} <= {row.id for row in pool("0/cache_pool.jsonl")}
    assert metrics(TuneMetrics, "one-way-1").steps == metrics(TuneMetrics, "1").steps


@pytest.mark.usefixtures("inside")
def test_the_plan_prices_a_baseline_as_it_is_spent() -> None:
    """The teacher's calls to the call; the generator's as far as candidates are kept as before."""
    planned, paid = json.loads(Path("calls.json").read_text())
    assert set(planned) == {"grow@one-way-1 generator", "grow@one-way-1 teacher"}
    grown = metrics(GrowMetrics, "one-way-1")
    assert grown.teacher.requests == planned["grow@one-way-1 teacher"]
    assert sum(planned.values()) == pytest.approx(paid, rel=0.1)


@pytest.mark.usefixtures("inside")
def test_an_exam_of_a_baseline_asks_no_referee() -> None:
    for name in LINES:
        evaluated = metrics(EvaluateMetrics, name)
        assert evaluated.referee.requests == 0
        assert evaluated.accuracy_rows == 36
    grown, every = json.loads(Path("calls.json").read_text())[1], Path("paid.json").read_text()
    assert json.loads(every) == grown  # tuning and the exam paid nothing more


def lines_of(settings: Settings) -> list[IterationMetrics]:
    return iterations.lines({name: row.previous for name, row in settings.iterations.items()})


def test_the_closing_sentences_compare_with_each_baseline(inside: Settings) -> None:
    sentences = worth_sentences(lines_of(inside), MarkedRun(inside))
    assert sentences[0].startswith("Student 1 less student 0: ")
    assert sentences[0].endswith("on 36 exam rows.")
    assert [text.split(":")[0] for text in sentences[1:3]] == [
        "Student 1 less given-1",
        "Student 1 less one-way-1",
    ]
    assert "of uniform parents, the same steps, " in sentences[2]
    assert sentences[-1].split()[0] in ("Stop:", "Ship", "Go", "Not")


def test_comparisons_have_the_figures_of_the_closing_sentences(inside: Settings) -> None:
    """As `lion table --json` prints them: points, interval, spend."""
    run = MarkedRun(inside)
    base, first = (msgspec.to_builtins(comparisons(line, run)) for line in lines_of(inside))
    assert base == []
    by_name = {row["other"]: row for row in first}
    assert list(by_name) == ["0", "given-1", "one-way-1"]
    assert [row["is_baseline"] for row in by_name.values()] == [False, True, True]
    assert by_name["given-1"]["new_rows"] is by_name["given-1"]["spend_share"] is None
    grown, one_way = metrics(GrowMetrics, "one-way-1"), by_name["one-way-1"]
    assert one_way["new_rows"] == grown.rows
    assert one_way["spend_share"] == grown.weighted_tokens / grown.like_weighted_tokens
    sentence = worth_sentences(lines_of(inside), run)[2]
    low, high = one_way["accuracy_share_difference_interval"]
    points = f"{100 * one_way['accuracy_share_difference']:+.1f} points"
    assert f"{points} ({100 * low:+.1f} to {100 * high:+.1f})" in sentence


def test_without_a_baseline_its_price_is_said(inside: Settings) -> None:
    alone = inside.model_copy(update={"baselines": {}})
    sentences = worth_sentences(lines_of(alone), MarkedRun(alone))
    kinds = (ReviewMetrics, GenerateMetrics, TeachMetrics)
    tokens = sum(usage.tokens for kind in kinds for usage in metrics(kind, "1").used.values())
    assert "Given rows alone cost no call" in sentences[1]
    assert f"{tokens:,} tokens" in sentences[1]


def test_a_baseline_that_did_not_run_is_named(inside: Settings) -> None:
    missing = MarkedRun(inside, has=lambda path: "one-way-1" not in path.parts and path.exists())
    sentences = worth_sentences(lines_of(inside), missing)
    assert "Not run yet: one-way-1; `lion plan` has the calls, `lion run` runs them." in sentences


def _comparison(other: str, value: float, half: float = 0.02) -> PairedDifference:
    return PairedDifference("1", other, Estimate(value, value - half, value + half, 100))


@pytest.mark.parametrize(
    ("behind", "gain", "against", "words"),
    [
        (-0.01, 0.2, {}, "Ship student 1: it is at most 3.0 points behind its teacher."),
        (0.02, 0.2, {}, "Ship student 1: it is at most 0.0 points behind its teacher."),
        (0.1, 0.2, {}, "Ship student 1: it is better than its teacher."),
        (-0.3, 0.2, {}, "Go on: iteration 1 gained +20.0 points (+18.0 to +22.0)"),
        (-0.3, 0.01, {}, "Stop: iteration 1 gained +1.0 points (-1.0 to +3.0), on 100 exam"),
        (-0.3, 0.2, {"given-1": 0.01}, "Stop: the given rows alone do as well as the loop"),
        (-0.3, 0.2, {"given-1": 0.1, "one-way-1": -0.1}, "Stop the feedback: one-way-1 is better"),
        (-0.3, 0.2, {"given-1": 0.1, "one-way-1": 0.0}, "Go on: iteration 1"),
    ],
)
def test_the_advice_follows_from_intervals(
    inside: Settings, behind: float, gain: float, against: Mapping[str, float], words: str
) -> None:
    line = lines_of(inside)[1]
    bounds = (behind - 0.02, behind + 0.02)
    last = replaced(line, accuracy_share_difference_interval=bounds)
    finals = [_comparison(name, value) for name, value in against.items()]
    said = advice(last, _comparison("0", gain), finals, inside, "9 tokens, free")
    assert said.startswith(words)
    assert said.endswith("one more costs about 9 tokens, free.") == words.startswith("Go on")


WIDE = (0.15, 0.197)  # value and half of the interval: 20 rows


@pytest.mark.parametrize(
    ("gain", "given", "words"),
    [
        (0.2, WIDE, "Not known: +15.0 points (-4.7 to +34.7) over the given rows, which 100 exam"),
        (0.2, (-0.01, 0.3), "Stop: the given rows alone do as well as the loop: -1.0 points"),
        (0.2, (0.01, 0.03), "Stop: the given rows alone do as well as the loop: +1.0 points"),
        (0.2, (0.3, 0.1), "Go on: "),
    ],
)
def test_no_significance_is_no_equivalence(
    inside: Settings, gain: float, given: tuple[float, float], words: str
) -> None:
    last = replaced(lines_of(inside)[1], accuracy_share_difference_interval=(-0.3, -0.2))
    finals = [_comparison("given-1", *given)]
    said = advice(last, _comparison("0", gain), finals, inside, "9 tokens, free")
    assert said.startswith(words)
    alone = advice(last, _comparison("0", *WIDE), [], inside, "9 tokens, free")
    assert alone == (
        "Not known: iteration 1 gained +15.0 points (-4.7 to +34.7), which 100 exam rows cannot "
        "tell from chance; use a larger exam."
    )


def test_another_baseline_may_decide_what_the_given_rows_leave_open(inside: Settings) -> None:
    last = replaced(lines_of(inside)[1], accuracy_share_difference_interval=(-0.3, -0.2))
    finals = [_comparison("given-1", *WIDE), _comparison("one-way-1", -0.1)]
    said = advice(last, _comparison("0", 0.2), finals, inside, "9 tokens, free")
    assert said.startswith("Stop the feedback: one-way-1 is better")


def replaced(line: IterationMetrics, **changes: Any) -> IterationMetrics:
    return dataclasses.replace(line, **changes)


def test_the_plan_estimates_where_a_server_counts_no_tokens(
    inside: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncounted(*_: object) -> Spend:
        raise DataError("the server counts no tokens")

    monkeypatch.setattr(plan, "spend_of", uncounted)
    with Ledger(project.ledger()) as ledger:
        certain = rehearse(inside, set(), ledger)
    needs = plan.plan(inside, {"grow@one-way-1"}, certain, Prices({}))
    assert {need.role for need in needs if need.calls} == {"generator", "teacher"}


def test_a_server_without_usage_has_no_equal_spend() -> None:
    silent = RoleUsage(
        requests=4, failed=0, prompt_tokens=0, completion_tokens=0, replies_without_usage=4
    )
    with pytest.raises(DataError, match="counts no tokens"):
        weighted_tokens({"referee": silent}, 4.0)
    half = RoleUsage(
        requests=4, failed=0, prompt_tokens=10, completion_tokens=5, replies_without_usage=2
    )
    assert weighted_tokens({"referee": half}, 4.0) == 60.0
    assert weighted_tokens({"teacher": half, "embedder": silent}, 4.0) == 60.0
    assert Spend(judging=10, growing=0, rows=0).affordable_rows == 0
    assert Spend(judging=0, growing=70, rows=7).affordable_rows == 7  # free signals


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"1": LINES["given-1"]}, "baselines.1: a name is a letter"),
        ({"base": LINES["given-1"]}, "baselines.base: a name is a letter"),
        ({"g": {**LINES["given-1"], "like": "9"}}, "baselines.g.like: there is no iteration '9'"),
        ({"g": {**LINES["given-1"], "previous": "1"}}, "baselines.g.previous: "),
        ({"g": {**LINES["given-1"], "previous": "g"}}, "baselines.g.previous: leads back to g"),
        ({"g": {**LINES["given-1"], "like": "2"}}, "baselines.g: a line for each iteration up"),
        ({"g": {**LINES["given-1"], "like": 1}}, "baselines.g.like: "),
    ],
)
def test_a_line_that_compares_nothing_is_refused(
    configure: Configure, lines: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        configure({"baselines": lines})


def test_draws_of_a_baseline_are_those_of_its_depth(configure: Configure) -> None:
    """A baseline differs from its iteration in what it changes, and in nothing else."""
    two = {
        "one-way-1": LINES["one-way-1"],
        "one-way-2": {"previous": "one-way-1", "like": "2", "rows": "uniform"},
    }
    settings = configure({"baselines": two, "iterations.2.tune": {"learning_rate": 0.5}})
    assert settings.depth("one-way-2") == settings.depth("2") == 2
    assert settings.tune_at("one-way-2") == settings.tune_at("2")
    assert settings.generate_at("one-way-2").feedback == "uniform"
    assert read_settings(settings.model_dump()).lineage("one-way-2") == ["one-way-2", "one-way-1"]


@pytest.mark.slow
def test_dvc_runs_baselines_beside_a_finished_loop(comparing: "Future[Changed]") -> None:
    """Their own stages and the report; no stage of the loop, and what the plan said is paid."""
    changed = comparing.result()
    stages = [f"{stage}@{name}" for stage in DVC_NAMES for name in LINES]
    assert sorted(changed.run.stages) == sorted([*stages, "report"])
    root = changed.project
    calls = {name: root.calls(f"grow@{name}") for name in LINES}
    planned = json.loads((root.root / "plan.json").read_text())
    assert {need["stage"] for need in planned if need["calls"]} == {"grow@one-way-1"}
    assert calls["given-1"] == 0
    assert calls["one-way-1"] == pytest.approx(sum(need["calls"] for need in planned), rel=0.2)
    assert "Student 1 less one-way-1: " in changed.run.output
    assert root.repro().stages == []


DVC_NAMES = ("grow", "baseline-tune", "baseline-evaluate")
