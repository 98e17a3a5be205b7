"""No one pays for verdicts that no one reads: respond, review and split of one-way iterations."""

from pathlib import Path
from typing import Any

import pytest
import tiny
from fake_server import ChatServer, says
from fixtures import Configure, Workplace
from running import Finished
from test_loop import ROLES, ROWS, SCORES, Scripted

from lion.config import project
from lion.config.settings import Settings
from lion.errors import SettingsError
from lion.llm.ledger import Ledger
from lion.loop import Loop, State
from lion.metrics import files
from lion.metrics.judging import ReviewMetrics, SplitMetrics, Stop
from lion.pipeline import plan, tuning_needs
from lion.pipeline.checks import inputs
from lion.pipeline.rehearsal import rehearse
from lion.pipeline.stage import Work
from lion.prompting import templates as prompts
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, NoRows, Verdict
from lion.training.report import TuneReport
from stages import respond, review, split

UNREAD = ("uniform", "uniform-mixed", "balanced")
WRITTEN = ("responses", "reviews", "selection", "verdicts")


@pytest.fixture
def here(workplace: Workplace, chat_server: ChatServer) -> dict[str, Any]:  # noqa: ARG001 - its folder
    """Lay out a base with a Cache Pool and a student, and return params with a loopback referee."""
    chat_server.answer = says(SCORES)
    unjudged = [Verdict(row.id, None, None, None, "undecided", "new") for row in ROWS]
    jsonl.write(project.data("0", "cache_pool.jsonl"), ROWS)
    jsonl.write(project.data("0", "verdicts.jsonl"), unjudged)
    jsonl.write_document(project.data("0", "evaluated.json"), {})
    tiny.folder(project.data("0", "student"))
    referee = {"base_url": chat_server.url, "api_key_env": None, "send_seed": False}
    return {
        **{f"referee.{key}": value for key, value in referee.items()},
        "respond.limit": None,
        "answering.max_tokens": 3,
    }


def judged(settings: Settings) -> list[str]:
    """Run respond, review and split of iteration 1; return their closing sentences."""
    stages = {"respond": respond, "review": review, "split": split}
    return [stage.main(Work(name, "1", settings)) for name, stage in stages.items()]


@pytest.mark.parametrize("feedback", UNREAD)
def test_nothing_is_answered_or_reviewed_where_no_verdict_is_read(
    workplace: Workplace, chat_server: ChatServer, here: dict[str, Any], feedback: str
) -> None:
    said = judged(workplace.params({**here, "generate.feedback": feedback}))
    reason = f"generate.feedback: {feedback} reads no verdict"
    assert said == [f"no {name}: {reason}" for name in ("responses", "reviews", "verdicts")]
    assert len(chat_server.calls) == 0
    for name in WRITTEN:
        assert len(jsonl.read(project.data("1", f"{name}.jsonl"), NoRows)) == 1
        assert jsonl.read(project.data("1", f"{name}.jsonl"), Instruction) == []


def test_the_loop_goes_on_where_no_verdict_is_read(
    workplace: Workplace, here: dict[str, Any]
) -> None:
    judged(workplace.params({**here, "generate.feedback": "uniform"}))
    assert not files.read_metrics(project.data("1", "stop.json"), Stop).stop
    counts = files.read_metrics(project.metrics("1", "split"), SplitMetrics)
    assert (counts.stopped, counts.hard_share) == (None, None)
    reviewed = files.read_metrics(project.metrics("1", "review"), ReviewMetrics)
    assert (reviewed.responses, reviewed.reviews, reviewed.referee) == (0, 0, None)


def test_adversarial_feedback_is_judged(
    workplace: Workplace, chat_server: ChatServer, here: dict[str, Any]
) -> None:
    said = judged(workplace.params(here))
    assert said[0].startswith("12 responses")
    assert "12 easy" in said[2] and "the loop stops" in said[2]
    assert len(chat_server.calls) == 24


def test_responses_of_before_are_not_reviewed(
    workplace: Workplace, chat_server: ChatServer, here: dict[str, Any]
) -> None:
    """Whatever lies where `respond` writes."""
    settings = workplace.params({**here, "generate.feedback": "uniform"})
    rows = [Answer(row.id, "far", "stop", "s") for row in ROWS]
    jsonl.write(project.data("1", "responses.jsonl"), rows)
    review.main(Work("review", "1", settings))
    assert len(chat_server.calls) == 0


def test_an_iteration_of_its_own_feedback_is_skipped_alone(configure: Configure) -> None:
    settings = configure({"iterations.2.generate": {"feedback": "balanced"}})
    reasons = [settings.no_reader_at(name) for name in ("1", "2", "3")]
    assert reasons == [None, "generate.feedback: balanced reads no verdict", None]
    settings = configure(
        {"generate.feedback": "uniform", "iterations.2.generate": {"feedback": "adversarial"}}
    )
    assert [settings.no_reader_at(name) is None for name in ("1", "2", "3")] == [False, True, False]


def test_what_is_forgotten_is_read_whatever_the_feedback(
    workplace: Workplace, here: dict[str, Any]
) -> None:
    likely = {"review.judge": "likelihood", "tune.replay_choice": "forgotten"}
    said = judged(workplace.params({**here, **likely, "generate.feedback": "uniform"}))
    assert said[0].startswith("likelihood of 12 of 12 answers")
    verdicts = jsonl.read(project.data("1", "verdicts.jsonl"), Verdict)
    assert all(row.nats is not None for row in verdicts) and len(verdicts) == 12


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {
                "review.judge": "likelihood",
                "generate.feedback": "uniform",
                "iterations.2.tune": {"replay_choice": "forgotten"},
            },
            "iterations.2.tune.replay_choice: iteration 2 is not judged: generate.feedback: "
            "uniform reads no verdict; set tune.replay_choice: forgotten, for all iterations",
        ),
        (
            {
                "iterations.1.generate": {"feedback": "balanced"},
                "iterations.2.generate": {"choice": "progress"},
            },
            "iterations.2.generate.choice: progress compares, but iteration 1 is not judged: "
            "generate.feedback: balanced reads no verdict; set uniform",
        ),
        (
            {
                "generate.feedback": "uniform",
                "calibrate.iterations": ["1"],
                "calibrate.anchors": "exam",
            },
            "calibrate.iterations: iteration 1 is not judged: generate.feedback: uniform reads no "
            "verdict; leave it out",
        ),
    ],
)
def test_what_would_read_verdicts_of_a_skipped_iteration_is_refused(
    configure: Configure, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(changes)
    assert str(caught.value).splitlines()[1:-1] == [f"  {told}"]


def test_the_plan_counts_no_review_where_no_verdict_is_read(workplace: Workplace) -> None:
    small = {"seed.size": 100, "exam.size": 40, "respond.limit": 50}
    changes = {"iterations.2.generate": {"feedback": "uniform"}}
    settings = workplace.params({**small, **changes})
    stages = {f"review@{name}" for name in "123"}
    needs = {need.stage: need.calls for need in plan.plan(settings, stages, {}, plan.Prices({}))}
    assert needs == {"review@1": 100, "review@3": 100}
    answered = list(tuning_needs._answered_rows(settings, 100, 40))
    assert answered[2] == 40, "the exam alone"


def test_the_rehearsal_goes_on_past_what_is_skipped(
    workplace: Workplace, here: dict[str, Any]
) -> None:
    """No student is needed: what the generator will be asked is known."""
    settings = workplace.params({**here, "generate.feedback": "uniform"})
    jsonl.write(project.EXAM, [])
    jsonl.write_document(project.FURTHER_EXAMS, {"items": []})
    jsonl.write_document(project.data("0", "replayed.json"), {"ids": []})
    stages = {f"{stage}@1" for stage in ("respond", "review", "split", "generate")}
    with Ledger(workplace.path / "empty.sqlite") as ledger:
        certain = rehearse(settings, stages, ledger)
    assert ("review@1", "referee") not in certain
    assert certain["generate@1", "generator"].missing > 0


def test_parents_without_verdicts_are_the_whole_pool(workplace: Workplace) -> None:
    changes = {"respond.limit": 1, "generate.per_parent": 50}
    assert list(inputs._too_few_parents(workplace.params(changes), 100))
    free = workplace.params({**changes, "generate.feedback": "uniform"})
    assert not list(inputs._too_few_parents(free, 100))


def test_the_experiment_judges_as_the_stages_do(
    workplace: Workplace, here: dict[str, Any], tmp_path: Path
) -> None:
    """One condition: the loop in one process judges what is forgotten, too."""
    templates = {role: prompts.load(project.PROMPTS / role, role) for role in ROLES}
    script = Scripted({"generator": "Write verse {number} about lions", "teacher": "roar"})
    few = {"generate.hard": 2, "generate.easy": 0, "generate.per_parent": None}
    likely = {**here, **few, "review.judge": "likelihood", "generate.feedback": "uniform"}

    def verdicts(replay_choice: str) -> int:
        settings = workplace.params({**likely, "tune.replay_choice": replay_choice})
        loop = Loop(settings, script, templates, [], lambda *_: TuneReport((), 1, 1, 1, (), ()))
        start = State(0, ROWS, [], project.data("0", "student"))
        after, iteration = loop.iterate(start, tmp_path / "student-1")
        assert len(iteration.generated.kept) == 2
        return len(after.verdicts)

    assert (verdicts("uniform"), verdicts("forgotten")) == (0, 12)


@pytest.mark.slow
def test_a_whole_one_way_iteration_asks_no_referee(finished: Finished, tmp_path: Path) -> None:
    copy = finished.project.copy(tmp_path / "project")
    copy.edit({"generate.feedback": "uniform"})
    run = copy.repro()
    assert run.code == 0, run.output
    assert "split@1: no verdicts: generate.feedback: uniform reads no verdict" in run.output
    assert copy.calls("review@1") == 0
    assert len(copy.rows("1/train_pool.jsonl")) == 18
    assert "is empty" not in run.output, "DVC warns of no file"
    for command in (("table",), ("plan",), ("check",), ("report",)):
        told = copy.run("lion.cli", *command)
        assert told.code == 0, told.output
        assert "Iteration 1 stopped" not in told.output
