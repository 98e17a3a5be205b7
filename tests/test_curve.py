"""Accuracy against rows: nested parts of the given rows, the fitted line, and what it says."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from dvc.repo import Repo
from fixtures import ROOT, Configure, override
from msgspec.structs import replace
from narrow import BASE, NARROW, TINY, narrow_folder, run_stages

from lion import pools, statistics
from lion.cli import main
from lion.config import project
from lion.config.settings import Settings
from lion.errors import SettingsError
from lion.llm.prices import Prices
from lion.metrics import files
from lion.metrics.exams import CurveMetrics, EvaluateMetrics
from lion.metrics.pools import TeachMetrics
from lion.pipeline import dvc_graph
from lion.pipeline.revisions import Place, Workspace
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.reporting import plots, snapshot
from lion.reporting.curve import (
    Curve,
    Doubling,
    RowsPoint,
    curve_values,
    doubling_sentence,
    read_curve,
)
from lion.reporting.curve_cards import curve_cards
from lion.reporting.worth import MarkedRun
from lion.statistics import Bootstrap, Estimate

SMALL = {**TINY, "curve": [20, 60], "iterations": {}, "base.tune.steps": 4}
SERVED = {"base_url": "http://x/v1", "api_key_env": None, "send_seed": True, "request": {}}
BOOTSTRAP = Bootstrap(0.95, 500, 0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in which the base and two points of the curve ran."""
    root = tmp_path_factory.mktemp("curve")
    narrow_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_stages(SMALL, *(f"{stage}@0" for stage in BASE), "curve@rows-20", "curve@rows-60")
    yield root


@pytest.fixture
def inside(measured: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(measured)
    return project.load_settings()


@pytest.mark.usefixtures("inside")
def test_a_point_is_a_student_of_so_many_rows() -> None:
    taught = files.read_metrics(project.metrics("0", "teach"), TeachMetrics)
    assert taught.trial is not None
    share = (taught.teacher.requests - taught.trial.rows) / taught.teacher.requests
    base = files.read_metrics(project.metrics("0", "evaluate"), EvaluateMetrics)
    for rows in (20, 60):
        point = files.read_metrics(project.metrics(f"rows-{rows}", "curve"), CurveMetrics)
        assert (point.rows, point.steps) == (rows, 4)
        assert point.prompt_tokens == round(share * taught.teacher.prompt_tokens * rows / 120)
        assert point.correct is not None
        assert point.correct.count == base.accuracy_rows == 36
        assert not project.data(f"rows-{rows}", "student").exists()


def test_parts_are_nested_and_have_no_validation_row(inside: Settings) -> None:
    cache = jsonl.read(project.data("0", "cache_pool.jsonl"), Instruction)
    share = inside.tune.validation_share
    apart, _ = pools.validation_rows(cache, share)
    parts = [{row.id for row in pools.nested_rows(cache, share, n)} for n in (20, 60, 1000)]
    assert [len(part) for part in parts] == [20, 60, 114]
    assert parts[0] < parts[1] < parts[2]
    assert parts[2].isdisjoint(row.id for row in apart)
    backwards = pools.nested_rows(list(reversed(cache)), share, 20)
    assert {row.id for row in backwards} == parts[0]


def test_the_base_student_is_the_last_point(inside: Settings) -> None:
    curve = read_curve(MarkedRun(inside), Prices({}))
    assert [point.rows for point in curve.points] == [20, 60, 114]
    assert curve.doubling is not None
    assert curve.doubling.points == 3
    result = CliRunner().invoke(main, ["curve"])
    assert result.exit_code == 0, result.output
    assert "to 228 rows" in " ".join(result.output.split())
    document = json.loads(CliRunner().invoke(main, ["curve", "--json"]).output)
    assert [point["rows"] for point in document["points"]] == [20, 60, 114]


def test_the_page_has_the_curve(inside: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = snapshot.read_run(Workspace(), "0", snapshot.judged_pool(Place(Workspace(), "0")))
    (card,) = curve_cards(run)
    assert card is not None
    assert [row["rows"] for row in card["plot"]["data"]["values"]] == [20, 60, 114]
    without = inside.model_copy(update={"curve": []})
    monkeypatch.setattr(project, "load_settings", lambda: without)
    assert list(curve_cards(run)) == []


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # pygtrie's, in DVC
def test_dvc_makes_a_stage_of_each_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    lines = {"given-1": {"previous": "0", "like": "1", "rows": "given"}}
    changes = {**TINY, "curve": [20, 60], "baselines": lines}
    Path("params.yaml").write_text(yaml.safe_dump(override(NARROW, changes)))
    Repo.init(str(tmp_path), no_scm=True).close()
    with Repo(str(tmp_path)) as repo:
        names = {stage.addressing for stage in repo.index.stages}
    assert {"curve@20", "curve@60", "grow@given-1", "baseline-tune@given-1"} <= names
    assert dvc_graph.remaining_stages() >= {"curve@rows-20", "evaluate@given-1", "tune@given-1"}


def test_answers_have_the_price_of_their_mode_and_the_trial_is_none_of_them(
    inside: Settings, tmp_path: Path
) -> None:
    price = f"{inside.teacher.model}: {{input: 2, output: 4, batch: 0.5}}\n"
    (tmp_path / "prices.yaml").write_text(price)
    paid = inside.teacher.model_copy(update={"base_url": "http://x/v1"})
    inside = inside.model_copy(update={"teacher": paid})
    prices = Prices.load(tmp_path / "prices.yaml")
    batch = inside.api.model_copy(
        update={"mode": inside.api.mode.model_copy(update={"teacher": "batch"}), "batch_least": 60}
    )
    live, half = (
        [point.nanodollars for point in read_curve(MarkedRun(settings), prices).points]
        for settings in (inside, inside.model_copy(update={"api": batch}))
    )
    assert all(live)
    assert half == [live[0], *[int(cost or 0) // 2 for cost in live[1:]]]
    taught = files.read_metrics(project.metrics("0", "teach"), TeachMetrics)
    assert taught.trial is not None
    kept = replace(taught, teacher=replace(taught.teacher, requests=taught.trial.rows))
    assert kept.tokens_of(60) == (0, 0)
    assert replace(taught, trial=None).tokens_of(taught.cache_pool) == (
        taught.teacher.prompt_tokens,
        taught.teacher.completion_tokens,
    )


def test_nothing_measured_says_how_points_are_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Settings
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_curve(MarkedRun(inside), Prices({})) == Curve([], None)


def test_a_line_in_log_rows_is_found_with_its_interval() -> None:
    """Simulated: 10 points a doubling, paired rows; the interval covers at its level."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        level = rng.random(300)
        marks = [list(map(bool, level < share)) for share in (0.4, 0.5, 0.6)]
        gain = statistics.gain_per_doubling([50, 100, 200], marks, BOOTSTRAP)
        assert gain is not None
        assert gain.low is not None
        assert gain.high is not None
        hits += gain.low <= 0.1 <= gain.high
    assert 0.9 <= hits / 200 <= 1.0


@pytest.mark.parametrize("rows", [[], [50], [50, 50]])
def test_no_line_goes_through_one_number_of_rows(rows: list[int]) -> None:
    assert statistics.gain_per_doubling(rows, [[True, False]] * len(rows), BOOTSTRAP) is None


def test_the_sentence_and_the_plot_have_the_line() -> None:
    points = [
        RowsPoint(rows, 10, Estimate(share, share - 0.1, share + 0.1, 100), cost)
        for rows, share, cost in ((100, 0.4, 10**9), (200, 0.5, 2 * 10**9), (400, 0.6, 4 * 10**9))
    ]
    curve = Curve(points, Doubling(Estimate(0.1, 0.05, 0.15, 100), 0.6, 3))
    assert doubling_sentence(curve).startswith(
        "By the line through the 3 largest points, the next doubling, to 800 rows, would bring "
        "about +10.0 points (+5.0 to +15.0) for $4.00 of the teacher's answers."
    )
    values, line = curve_values(curve)
    assert [(end["rows"], round(end["value"], 6)) for end in line] == [(100, 0.4), (800, 0.7)]
    spec = plots.against_rows(values, line)
    assert [row["rows"] for row in spec["data"]["values"]] == [100, 200, 400]
    assert doubling_sentence(Curve(points[:1], None)) == "Two points at least make a line."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curve": [50, 50]}, "curve: names a number of rows twice"),
        ({"curve": [0]}, "curve.0: "),
        (
            {"curve": [50], "exam.scorer": {"kind": "referee", "option": None}},
            "curve: the exam's scorer is the referee",
        ),
        (
            {"curve": [50], "student.endpoint": SERVED},
            "curve: its students are not kept, so none can be served; set student.endpoint: null",
        ),
    ],
)
def test_a_curve_that_cannot_be_is_refused(
    configure: Configure, changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        configure(changes)
