"""The mechanism test refuses a changed laboratory, and its report says what the results say."""

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from proving import arms, frozen, loop, money, plots, report  # noqa: E402

from lion.config.settings import Settings  # noqa: E402
from lion.errors import DataError  # noqa: E402
from lion.prompting.protocol import Reply, Request  # noqa: E402
from lion.records import jsonl  # noqa: E402


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
    assert len(frozen.SEEDS) >= 5
    assert not {*frozen.SEEDS} & {*frozen.TUNING_SEEDS, frozen.EXAM_SEED}


def test_the_billing_counts_words_and_pays_once(settings: Settings) -> None:
    billing = money.MockBilling(0)
    request = Request(({"role": "user", "content": "reverse a b c letter by letter"},))
    for _ in range(2):  # also in a later iteration
        with billing.open("teacher", settings.teacher) as client:
            first, again = client.complete([request, request])
    assert isinstance(first, Reply)
    assert first == again
    assert first.text == "c b a"
    assert (billing.calls["teacher"], billing.read["teacher"], billing.written["teacher"]) == (
        1,
        7,
        3,
    )
    price = 7 * money.DOLLARS_IN + 3 * money.DOLLARS_OUT
    assert billing.dollars() == {"teacher": pytest.approx(price / 1e6)}


@cache
def laboratory() -> str:
    return frozen.check()


def result(arm: str, seed: int, last: float) -> dict[str, Any]:
    """Return a result in which every family has the arm's accuracy."""
    names = [f"family {number}" for number in range(20)]

    def at(accuracy: float) -> dict[str, Any]:
        return {"accuracy": accuracy, "families": dict.fromkeys(names, accuracy)}

    spent = {"new_by_family": {names[0]: 3}, "calls": {"teacher": 4}, "dollars": {"teacher": 0.01}}
    iterations = [{**at(one), "steps": 2, "tokens": 100, **spent} for one in (0.3, 0.35, last)]
    told = {"arm": arm, "seed": seed, "skew": 1.3, "frozen": laboratory(), "scale": 1.0}
    return {**told, "base": at(0.3), "iterations": iterations}


def written(folder: Path, results: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    for one in results:
        jsonl.write_document(loop.result_path(folder, one["arm"], one["seed"], one["skew"]), one)
    line = report.write(folder, folder / "results.md")
    return (folder / "results.md").read_text(), line


OURS, THEIRS = (0.40, 0.42, 0.44), (0.39, 0.40, 0.43)


@pytest.fixture
def told(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """Return report and line: adversarial with three seeds, without feedback, progress with one."""
    results = [
        result(arm, 501 + number, value)
        for arm, values in (("adversarial", OURS), ("same mix", THEIRS), ("progress", (0.46,)))
        for number, value in enumerate(values)
    ]
    (tmp_path / "results").mkdir()
    return written(tmp_path, [*results, result("adversarial", 901, 0.99)])


def test_differences_are_paired_and_have_students_interval(told: tuple[str, Any]) -> None:
    found = re.search(r"\| adversarial - same mix \| steps \| 3 \| (\S+) \[(\S+), (\S+)\]", told[0])
    expected = stats.ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert found is not None
    assert [float(one) for one in found.groups()] == pytest.approx(
        [100 * 4 / 300, 100 * expected.low, 100 * expected.high], abs=0.06
    )


def test_plots_show_every_arm_and_difference_that_ran(
    told: tuple[str, Any], tmp_path: Path
) -> None:
    """The same results draw the same bytes."""
    found = report.read(tmp_path)
    for folder in ("one", "other"):
        plots.write(found, tmp_path / folder)
    money, differences = ((tmp_path / "one" / name).read_text() for name in report.PLOTS)
    for arm in ("adversarial", "same mix", "progress"):
        assert f">{arm}</text>" in money
    assert ">balanced</text>" not in money
    assert re.findall(r">(\S.*? - .*?), equal", differences) == ["adversarial - same mix"]
    for name in report.PLOTS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
        assert f"](plots/{name})" in told[0]


def test_one_seed_has_no_interval_and_decides_nothing(told: tuple[str, Any]) -> None:
    assert "| progress - adversarial | steps | 1 | +6.0 (one seed) |" in told[0]
    undecided = told[0].split("Undecided")[1].split("## ")[0]
    assert "progress - same mix" in undecided


def test_what_was_not_run_and_how_many_seeds_are_in_is_said(told: tuple[str, Any]) -> None:
    assert "3 at skew 1.3" in told[0]
    missing = told[0].split("## Not run")[1]
    assert "adversarial (3)" in missing
    assert "skew 1.3, not run: one-way; balanced" in missing
    assert "skew 0: nothing was run" in missing
    assert "At equal spend nothing has been measured" in told[0]
    assert "At equal steps nothing" not in told[0]


def test_the_last_line_compares_both_adversaries_over_common_seeds(told: tuple[str, Any]) -> None:
    assert told[1]["ours"] == pytest.approx(7.0)
    assert told[1]["others"] == pytest.approx(1.0)
    assert told[1]["ratio"] == pytest.approx(7.0)
    assert set(told[1]) == {"name", "ours", "others", "ratio", "unit"}


def test_every_comparison_names_arms_that_exist() -> None:
    names = {name for one in report.COMPARED for name in (one.ours, one.others)}
    assert names <= set(arms.ALL)
    references = {arm.reference for arm in arms.ALL.values()} - {None}
    assert references <= set(arms.ALL)


@pytest.mark.slow
def test_an_arm_at_equal_spend_spends_as_much(tmp_path: Path) -> None:
    """The referee's money goes into instructions and steps; all start from the same base."""
    sizes = arms.Sizes(pool=400, base_steps=3, hard=40, easy=20, steps=3, judged=60)
    found = {}
    for name in ("adversarial", "one-way", "one-way, spend of adversarial"):
        found[name] = loop.prove(arms.ALL[name], sizes, 901, 0.0, tmp_path)
        jsonl.write_document(loop.result_path(tmp_path, name, 901, 0.0), found[name])
    bases = [one["base"]["accuracy"] for one in found.values()]
    assert len(set(bases)) == 1
    dearer, cheaper, equal = (
        sum(one["iterations"][-1]["dollars"].values()) for one in found.values()
    )
    assert "referee" not in found["one-way"]["iterations"][-1]["calls"]
    assert dearer > 1.5 * cheaper
    assert equal == pytest.approx(dearer, rel=0.05)
    assert all(part["new"] == 60 for part in found["one-way"]["iterations"])
