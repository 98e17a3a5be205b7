"""The stage `calibrate` before two referees on loopback, and what decides from the noise."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from fake_server import Behaviour, Call, ChatServer, says
from fixtures import Configure, Workplace
from test_review import ANSWER, FAR, NEAR, RIGHT, Desk, judge

from lion.config import project
from lion.config import settings as config
from lion.config.settings import Scorer
from lion.discrimination import calibrate as calibration
from lion.errors import DataError, SettingsError
from lion.iterations import lines
from lion.llm.prices import Prices
from lion.metrics import files
from lion.metrics.judging import CalibrateMetrics, CalibrationMetrics, Stop
from lion.pipeline import plan
from lion.pipeline.checks.offline import offline_problems
from lion.pipeline.stage import Work
from lion.records import jsonl
from lion.records.rows import Instruction, Review
from lion.reporting import table
from stages import calibrate, split

EXACT = Scorer(kind="exact", option=None)


def by_model(call: Call) -> Behaviour:
    """Judge as the desk does; the model `other` gives the teacher's answer three points more."""
    if call.body["model"] != "other":
        return judge(call)
    given = [8 if answer == RIGHT else 5 for answer in ANSWER.findall(call.question)]
    return says("\n".join(f"Score of Assistant {n}: {one}" for n, one in enumerate(given, 1)))


@pytest.fixture
def desk(workplace: Workplace, chat_server: ChatServer) -> Desk:
    return Desk(workplace, chat_server)


def exam(expected: dict[str, str]) -> list[Instruction]:
    return [
        Instruction.new(
            [{"role": "user", "content": text}],
            origin="exam",
            iteration="0",
            category="c",
            expected=answer,
        )
        for text, answer in expected.items()
    ]


def calibrated(workplace: Workplace, desk: Desk, **changes: Any) -> CalibrateMetrics:
    """Run the stage on the desk's reviews; return its metrics."""
    at = {"base_url": desk.server.url, "api_key_env": None, "send_seed": False}
    settings = workplace.params(
        {
            **{f"referee.{name}": value for name, value in at.items()},
            "evaluate.resamples": 100,
            "calibrate.iterations": ["1"],
            **{f"calibrate.{name}": value for name, value in changes.items()},
        }
    )
    calibrate.main(Work("calibrate", "1", settings))
    return files.read_metrics(project.metrics("1", "calibrate"), CalibrateMetrics)


def second(desk: Desk) -> dict[str, Any]:
    return {
        "base_url": desk.server.url,
        "model": "other",
        "api_key_env": None,
        "send_seed": False,
        "form": "text",
        "request": {},
    }


def test_anchors_tell_accuracy_and_auc(workplace: Workplace, desk: Desk) -> None:
    """Of 20 anchors 15 are far apart, and 5 say the wrong way round which answer is right."""
    desk.run("1", [NEAR, FAR])
    found = [
        {
            "instruction": f"Q{n}",
            "right": NEAR if n < 5 else RIGHT,
            "wrong": RIGHT if n < 5 else FAR,
        }
        for n in range(20)
    ]
    path = workplace.path / "inputs/anchors.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    told = calibrated(workplace, desk, anchors="inputs/anchors.jsonl").anchors
    assert told.accuracy is not None and told.hard is not None and told.auc is not None
    assert (told.rows, told.accuracy.value_share, told.hard.value_share) == (20, 0.75, 0.75)
    # right: 15 at 9.5 and 5 at 8.5; wrong: 15 at 2.5 and 5 at 9.5
    above = 15 * 15 + 15 * 5 * 0.5 + 5 * 15
    value, low, high = told.auc.figures
    assert value == pytest.approx(above / 400)
    assert low is not None and high is not None
    assert low <= value <= high
    assert len(jsonl.read_objects(project.data("1", "dropped.calibrate.jsonl"))) == 1


def test_a_second_referee_shows_self_preference(workplace: Workplace, desk: Desk) -> None:
    """The first finds the teacher one point ahead, the second three: minus two."""
    desk.server.answer = by_model
    desk.run("1", [NEAR])
    before = len(desk.server.calls)
    told = calibrated(workplace, desk, second=second(desk), second_rows=12)
    assert len(desk.server.calls) - before == 24
    assert told.second is not None and told.referee is None
    assert told.second.requests == 24
    found = told.against_second
    assert found.self_preference is not None and found.agreement is not None
    assert found.rows == 12
    assert found.self_preference.value_points == -2.0
    assert found.agreement.value_share == 1.0


def test_a_loop_that_has_stopped_spends_nothing_on_calibration(
    workplace: Workplace, desk: Desk
) -> None:
    desk.rows = []
    desk.run("1", [NEAR])
    jsonl.write(project.EXAM, exam({"a": "1", "b": "2"}))
    before = len(desk.server.calls)
    told = calibrated(workplace, desk, anchors="exam", second=second(desk))
    assert len(desk.server.calls) == before
    assert (told.anchors.rows, told.anchors.auc) == (0, None)


def test_anchors_are_made_of_what_the_exam_expects() -> None:
    """Wrong is what another row of the category expects, where the scorer calls it wrong."""
    rows = exam({f"q{n}": str(n % 2) for n in range(10)}) + exam({"alone": "0"})[:1]
    found = calibration.exam_anchors(rows, EXACT, 6, 0)
    assert len(found) == 6
    assert all({one.teacher, one.student.text} == {"0", "1"} for one in found)
    expected = {row.id: row.expected for row in rows}
    assert all(one.teacher == expected[one.id] for one in found)
    assert calibration.exam_anchors(rows, EXACT, 6, 0) == found
    assert calibration.exam_anchors(exam({"a": "1", "b": "1"}), EXACT, 6, 0) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"instruction": "q", "right": "a"}', "line 1: texts `instruction`, `right` and `wrong`"),
        ("[]", "line 1: not a JSON object"),
        ("", "no row in it"),
    ],
)
def test_anchors_that_cannot_be_read_are_told_before_anything_is_spent(
    workplace: Workplace, text: str, told: str
) -> None:
    (workplace.path / "inputs/anchors.jsonl").write_text(text)
    changes = {"calibrate.iterations": ["1"], "calibrate.anchors": "inputs/anchors.jsonl"}
    problems = offline_problems(workplace.params(changes))
    assert any(
        problem.startswith("calibrate.anchors: ") and told in problem for problem in problems
    )
    with pytest.raises(DataError, match=told.replace("[", r"\[")):
        calibration.read_anchors(Path("inputs/anchors.jsonl"))


def test_a_second_referee_is_looked_at_and_planned_for(configure: Configure, desk: Desk) -> None:
    """Two reviews of each row; the anchors once, since the ledger knows them afterwards."""
    changes = {
        "iterations": {
            key: {"previous": before, "generate": {}, "tune": {}}
            for key, before in (("1", "0"), ("2", "1"))
        },
        "calibrate": {
            "iterations": ["1", "2"],
            "anchors": "exam",
            "anchor_rows": 30,
            "second": second(desk),
            "second_rows": 40,
        },
    }
    settings = configure(changes)
    assert [role for role, _ in config.endpoints(settings)][-1] == "calibrate.second"
    assert "calibrate.second" not in dict(config.endpoints(configure({})))
    stages = {"calibrate@1", "calibrate@2"}
    needs = plan.plan(settings, stages, {}, Prices.load(project.PRICES))
    assert [(one.stage, one.role, one.calls) for one in needs] == [
        ("calibrate@1", "referee", 60),
        ("calibrate@1", "second", 80),
        ("calibrate@2", "second", 80),
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"calibrate.iterations": ["1"]},
            "calibrate: `iterations` compare the referee with `anchors` or `second`",
        ),
        (
            {"calibrate.iterations": ["9"], "calibrate.anchors": "exam"},
            "calibrate.iterations: there is no iteration '9'",
        ),
        (
            {"split.tau_noise": 2.0, "review.second_order_margin": 1.0},
            "split.tau_noise: with it every order",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    configure: Configure, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        configure(changes)


def test_samples_of_an_order_are_asked_apart_and_averaged(desk: Desk) -> None:
    """Three replies of each order, told apart in the ledger; its mean decides."""
    desk.server.answer = lambda call: says(
        f"Score of Assistant 1: {8 + call.number % 5 % 2}\nScore of Assistant 2: 8"
    )
    assert desk.run("1", [f"{FAR} {n}" for n in range(30)], samples=3) == 180
    reviews = jsonl.read(project.data("1", "reviews.jsonl"), Review)
    assert [row.sample for row in reviews[:6]] == [0, 1, 2, 0, 1, 2]
    told = files.read_metrics(project.metrics("1", "calibration"), CalibrationMetrics).repeated
    assert told is not None and told.agreement_share is not None
    assert told.samples == 3
    assert 0.2 < told.agreement_share < 0.8
    assert desk.run("1", [f"{FAR} {n}" for n in range(30)], samples=3) == 0
    sixths = {6 * (row.gap or 0) for row in desk.verdicts()}
    assert {round(one) for one in sixths} <= set(range(-3, 4))
    assert all(one == pytest.approx(round(one)) for one in sixths)
    assert len(sixths) > 1


def test_tau_above_the_noise_and_a_stop_within_it(workplace: Workplace, desk: Desk) -> None:
    """A judge that favours the first place by 0 to 3, as the question's checksum has it."""
    desk.server.answer = lambda call: says(
        f"Score of Assistant 1: {5 + crc32(call.raw) % 4}\nScore of Assistant 2: 5"
    )
    desk.run("1", [f"{FAR} {n}" for n in range(30)])
    noise = desk.details().noise
    assert noise.deviation_points is not None
    assert (noise.tau_points, noise.deviation_points > 0.3) == (1.0, True)
    assert desk.measures().stopped is None
    settings = workplace.params({"split.tau_noise": 5.0, "split.stop_in_noise": True})
    split.main(Work("split", "1", settings))
    assert desk.details().noise.tau_points == 5 * noise.deviation_points
    stopped = desk.measures().stopped
    assert f"no gap reaches tau = {5 * noise.deviation_points:g}" in str(stopped)
    split.main(
        Work("split", "1", workplace.params({"split.stop_in_noise": True, "split.tau": 0.5}))
    )
    assert "is within the referee's noise" in str(desk.measures().stopped)
    assert files.read_metrics(project.data("1", "stop.json"), Stop).stop is True


def test_the_closing_table_tells_what_the_referee_is_worth(desk: Desk) -> None:
    """NEAR always one point behind, the first place worth one: tau = 1 lies within no noise."""
    desk.run("1", [f"{NEAR} {n}" for n in range(30)])
    found = lines({"1": "0"})
    (told,) = table.trusted(found)
    assert told.startswith(
        "referee in 1: 100.0 % flip with the order, first place +1.00 points, ties 0.0 %"
    )
    assert "noise 0.00 points, 0.0 % of the verdicts within it" in told
    assert not [note for note in table.run_warnings(found) if "noise" in note]
    judge = found[1].judge
    assert judge is not None
    swamped = replace(found[1], judge=replace(judge, noise_points=1.5, within_share=0.6))
    (note,) = [note for note in table.run_warnings([found[0], swamped]) if "noise" in note]
    assert "swamps the verdicts of iteration 1: 60.0 % of the gaps lie within 1.50" in note
