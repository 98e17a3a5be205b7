"""The mechanism test refuses a changed laboratory, and its report says what the results say."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from proving import (  # noqa: E402
    arms,
    differences,
    frozen,
    loop,
    money,
    plots,
    registered,
    report,
    results,
    signals,
)

from lion.config.settings import Settings  # noqa: E402
from lion.errors import DataError  # noqa: E402
from lion.prompting.protocol import Reply, Request  # noqa: E402


def test_the_laboratory_is_the_frozen_one() -> None:
    assert len(frozen.check()) == 16


def test_a_changed_laboratory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = json.loads((ROOT / "bench/frozen.json").read_text())
    known["lion/simulator/tasks.py"] = "0" * 64
    (tmp_path / "frozen.json").write_text(json.dumps(known))
    monkeypatch.setattr(frozen, "_FILE", tmp_path / "frozen.json")
    with pytest.raises(DataError, match=r"tasks\.py changed"):
        frozen.check()


def test_an_oracle_that_answers_otherwise_is_another_laboratory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frozen.simulated_llm, "REFUSAL", "No.")
    frozen.check()  # no question of the exam is refused
    monkeypatch.setattr(frozen.simulated_llm, "_RAREST", 4)
    with pytest.raises(DataError, match="replies changed"):
        frozen.check()


def test_reported_seeds_are_none_that_was_tuned_on() -> None:
    assert len(registered.SEEDS) == 10
    assert not {*registered.SEEDS} & {*frozen.TUNING_SEEDS, frozen.EXAM_SEED, 903, 904}


def test_the_billing_counts_words_and_pays_once(settings: Settings) -> None:
    billing = money.MockBilling(0)
    request = Request(({"role": "user", "content": "reverse a b c letter by letter"},))
    for _ in range(2):  # also in a later iteration
        with billing.open("teacher", settings.teacher) as client:
            first, again = client.complete([request, request])
    assert isinstance(first, Reply)
    assert first == again
    assert first.text == "c b a"
    counts = billing.counts()
    assert counts == {"calls": {"teacher": 1}, "read": {"teacher": 7}, "written": {"teacher": 3}}
    price = 7 * money.DOLLARS_IN + 3 * money.DOLLARS_OUT
    assert money.dollars(counts) == pytest.approx(price / 1e6)


def test_long_answers_are_paid_where_they_are_written_and_where_they_are_judged() -> None:
    """The law: the price of answers of 200 words is that of the same calls with such answers."""
    point = {
        "calls": {"teacher": 10, "referee": 4, "generator": 3},
        "read": {"teacher": 100, "referee": 400, "generator": 300},
        "written": {"teacher": 20, "referee": 80, "generator": 30},
    }
    read, written = 800 + 4 * 2 * 200, 10 * 200 + 80 + 30
    expected = (read * money.DOLLARS_IN + written * money.DOLLARS_OUT) / 1e6
    assert money.dollars(point, "long") == pytest.approx(expected)


FAMILIES = [f"family {number}" for number in range(20)]


def result(arm: str, seed: int, last: float) -> dict[str, Any]:
    """Return a result whose families have the arm's accuracy, the first one that of 1."""

    def at(accuracy: float) -> dict[str, Any]:
        families = {**dict.fromkeys(FAMILIES, accuracy), FAMILIES[0]: 1.0}
        return {"accuracy": accuracy, "families": families}

    counts = {"calls": {"teacher": 4}, "read": {"teacher": 40}, "written": {"teacher": 8}}
    more = {"steps": 2, "new": 5, **counts, "auc": {"likelihood": 0.8, "scorer": None}}
    base = {**at(0.3), "pool_by_family": {FAMILIES[0]: 3, FAMILIES[1]: 1}}
    where = {
        "regime": "trained",
        "skew": 1.3,
        "seed": seed,
        "arm": arm,
        "scale": 1.0,
        "commit": "c0ffee",
    }
    iterations = [{**at(value), **more} for value in (0.3, 0.35, last)]
    return {**where, "base": base, "iterations": iterations}


OURS, THEIRS = (0.40, 0.42, 0.44), (0.39, 0.40, 0.43)
EQUAL = "one-way, spend of likelihood"


@pytest.fixture
def file(tmp_path: Path) -> results.ResultFile:
    """Return the primary arm and one-way at its spend with three seeds, same mix with one."""
    file = results.ResultFile(tmp_path / "proof.jsonl")
    for arm, values in (("likelihood", OURS), (EQUAL, THEIRS), ("same mix", (0.46,))):
        for number, value in enumerate(values):
            file.add(result(arm, 511 + number, value))
    file.add(result("likelihood", 901, 0.99))
    return file


def written(file: results.ResultFile, folder: Path) -> tuple[str, dict[str, Any]]:
    line = report.write(file.results(), folder / "report.md")
    return (folder / "report.md").read_text(), line


def test_differences_are_paired_and_have_students_interval(
    file: results.ResultFile, tmp_path: Path
) -> None:
    text, line = written(file, tmp_path)
    shown = re.search(r"\| likelihood - one-way \| spend \| 3 \| (\S+) \[(\S+), (\S+)\]", text)
    expected = stats.ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert shown is not None
    assert [float(end) for end in shown.groups()] == pytest.approx(
        [100 * 4 / 300, 100 * expected.low, 100 * expected.high], abs=0.06
    )
    assert (line["ours"], line["seeds"]) == (pytest.approx(1.33), 3)
    assert "(skew 1.3) it is not clearly ahead or behind: +1.3" in text.split("![")[0], (
        "the first screen answers"
    )


def test_the_average_by_pool_weighs_families_as_the_base_pool_does() -> None:
    one = result("likelihood", 511, 0.4)
    assert differences.pool_weighted(one) == pytest.approx((3 * 1.0 + 1 * 0.4) / 4)


def test_results_of_another_registration_or_laboratory_are_left_out(
    file: results.ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("trained", 1.3, "likelihood", 511)
    assert key in file.done()
    monkeypatch.setattr(results.registered, "digest", lambda: "another")
    assert file.done() == set()
    assert file.results() == {}


def test_the_report_names_the_commit_and_what_was_not_run(
    file: results.ResultFile, tmp_path: Path
) -> None:
    text, _ = written(file, tmp_path)
    assert f"commit {report.commit()}, SHA-256 {registered.digest()}" in text
    assert "c0ffee 7." in text
    missing = text.split("## Not finished")[1]
    assert "likelihood (3 of 10)" in missing
    assert "same mix (1 of 10)" in missing
    assert "* trained, skew 0: nothing" in missing
    assert "| likelihood | 0.800 ± 0.000 |" in text
    assert "| scorer | - |" in text


def test_plots_show_every_arm_and_difference_that_ran(
    file: results.ResultFile, tmp_path: Path
) -> None:
    """The same results draw the same bytes."""
    for folder in ("one", "other"):
        plots.write(file.results(), tmp_path / folder)
    drawn = {name: (tmp_path / "one" / name).read_text() for name in report.PLOTS}
    primary, intervals, spent = drawn.values()
    assert ">skew 1.3, less one-way</text>" in primary
    assert ">one-way, spend of likelihood</text>" in spent
    assert ">balanced</text>" not in spent
    assert "likelihood - one-way, equal spend" in intervals
    assert "balanced" not in intervals
    for name, text in drawn.items():
        assert text == (tmp_path / "other" / name).read_text()


def test_arms_have_names_of_their_own_and_references_that_run() -> None:
    listed = [arm for group in registered.GROUPS.values() for arm in group]
    assert len(registered.ARMS) == len(listed)
    for arm in listed:
        assert arm.spend_of is None or {arm.spend_of, arm.plain} <= registered.ARMS.keys()
    for compared in registered.COMPARISONS:
        assert registered.ARMS[compared.ours.name] == compared.ours
        assert registered.ARMS[compared.others.name] == compared.others


def test_the_settings_of_an_arm_are_those_registered(tmp_path: Path) -> None:
    """Whatever profiles/default.yaml says: the later rate, the signal, the pool."""
    place = loop.Place("trained", 1.3, 511, tmp_path)
    settings, scale = loop.configured(registered.PROGRESS, place, lambda _: {})
    assert scale == 1.0
    assert settings.review.judge == "likelihood"
    assert (settings.generate.choice, settings.tune.replay_choice) == ("progress", "forgotten")
    base, later = settings.tune_at("0"), settings.tune
    assert (base.steps, later.steps) == (2500, 400)
    assert later.learning_rate == pytest.approx(0.3 * base.learning_rate)
    assert later.matrix_learning_rate == pytest.approx(0.3 * 0.009)
    assert (settings.seed.size, settings.seed.skew, settings.random_seed) == (12_000, 1.3, 511)


@pytest.mark.slow
def test_an_arm_at_equal_spend_spends_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging's money goes into instructions and steps; all start from the same base."""
    sizes = arms.Sizes(400, 3, 40, 20, 3, 60, later_rate=0.3)
    monkeypatch.setitem(loop.REGIMES, "trained", sizes)
    monkeypatch.setattr(signals, "ROWS", 50)
    place = loop.Place("trained", 0.0, 901, tmp_path)
    rows: dict[str, dict[str, Any]] = {}
    fixed = registered.ONE_WAY.at_spend(registered.FRUGAL, "long", fixed_steps=True)
    equal = registered.ONE_WAY.at_spend(registered.FRUGAL)
    for arm in (registered.FRUGAL, registered.ONE_WAY, registered.PRIMARY, equal, fixed):
        rows[arm.name] = loop.prove(arm, place, rows.__getitem__)
    assert len({row["base"]["accuracy"] for row in rows.values()}) == 1
    ends = {name: row["iterations"][-1] for name, row in rows.items()}
    dearer, cheaper = ends["frugal"], ends["one-way"]
    assert money.dollars(ends[equal.name]) == pytest.approx(money.dollars(dearer), rel=0.05)
    long = [money.dollars(point, "long") for point in (ends[fixed.name], dearer)]
    assert long[0] == pytest.approx(long[1], rel=0.05)
    assert (ends[fixed.name]["steps"], ends[equal.name]["steps"] > 3) == (3, True)
    assert "referee" not in {*cheaper["calls"], *ends["likelihood"]["calls"]}
    assert set(ends["likelihood"]["auc"]) >= {"likelihood", "scorer"}
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())
