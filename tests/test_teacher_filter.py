"""What the teacher must show before it is paid for, and which of its answers are trained on.

The stage runs against the embedded teacher over its socket; it errs on the hardest tickets.
"""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from fixtures import ROOT, Workplace, override

from lion.config import project
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.llm.ledger import Ledger
from lion.metrics import files
from lion.metrics.pools import TeachMetrics
from lion.pipeline.checks.offline import without_keys
from lion.pipeline.plan import Exact
from lion.pipeline.rehearsal import rehearse
from lion.pipeline.stage import Work
from lion.records import jsonl
from lion.records.rows import Instruction
from lion.simulator.ticket_phrasing import TICKET_KINDS
from lion.simulator.ticket_replies import CHATTING
from lion.simulator.tickets import Ticket, draw_ticket
from stages import teach

NARROW: dict[str, Any] = yaml.safe_load((ROOT / "profiles/narrow.yaml").read_text())


def narrow(**changes: Any) -> Settings:
    return read_settings(
        override(NARROW, {name.replace("__", "."): changes[name] for name in changes})
    )


def rows(tickets: list[Ticket], settings: Settings, origin: Any) -> list[Instruction]:
    task = TaskTemplate.declared(settings.task)
    assert task is not None
    return [
        Instruction.new(
            task.render(ticket.fields), origin=origin, iteration="0", expected=ticket.facts.answer
        )
        for ticket in tickets
    ]


def hardest(count: int, seed: int) -> list[Ticket]:
    random = Random(seed)
    return [draw_ticket(TICKET_KINDS[n % 18], 3, random) for n in range(count)]


def taught(settings: Settings, pool: int = 200, exam: int = 40) -> TeachMetrics:
    """Run the stage on the hardest tickets; return its metrics."""
    jsonl.write(project.data("0", "train_pool.jsonl"), rows(hardest(pool, 1), settings, "seed"))
    jsonl.write(project.EXAM, rows(hardest(exam, 2), settings, "exam"))
    teach.main(Work("teach", "0", settings))
    return files.read_metrics(project.metrics("0", "teach"), TeachMetrics)


def texts() -> set[str]:
    pool = jsonl.read(project.data("0", "cache_pool.jsonl"), Instruction)
    return {row.answer.text for row in pool if row.answer and row.answer.text != row.expected}


def dropped_reasons() -> set[str]:
    lines = project.data("0", "dropped.teach.jsonl").read_text().splitlines()
    return {row["reason"] for row in map(json.loads, lines) if "reason" in row}


@pytest.mark.usefixtures("workplace")
def test_the_filter_drops_what_the_scorer_cannot_read_or_what_is_wrong() -> None:
    off = {"exam__teacher_at_least": 0, "teach__samples": 1}
    everything = taught(narrow(teach__filter="none", **off))
    assert (everything.taught, everything.dropped, everything.trial) == (200, {}, None)
    wrong = texts()
    prose = {text for text in wrong if not text.startswith("{")}
    assert prose < wrong

    valid = taught(narrow(teach__filter="valid", **off))
    assert texts() == wrong - prose
    assert valid.dropped == {"invalid": valid.dropped["invalid"]}
    assert valid.taught + valid.dropped["invalid"] == 200

    correct = taught(narrow(teach__filter="correct", **off))
    assert texts() == set()
    assert set(correct.dropped) == {"invalid", "wrong"}
    assert dropped_reasons() == {"invalid", "wrong"}
    assert everything.teacher.requests == valid.teacher.requests == correct.teacher.requests == 200


@pytest.mark.usefixtures("workplace")
def test_a_rejected_answer_is_sampled_again() -> None:
    """Six in a hundred are wrong, so five samples leave one in a million."""
    metrics = taught(narrow(teach__filter="correct", teach__samples=5, exam__teacher_at_least=0))
    assert (metrics.taught, metrics.dropped) == (200, {})
    assert 200 < metrics.teacher.requests < 250


@pytest.mark.usefixtures("workplace")
def test_the_trial_of_the_teacher_is_paid_for_once() -> None:
    """Its replies are those that the exam asks for later."""
    settings = narrow(exam__teacher_at_least=0.5, teach__filter="none")
    metrics = taught(settings, pool=20, exam=80)
    assert metrics.trial is not None
    assert metrics.trial.rows == 50
    assert metrics.trial.accuracy_share > 0.8
    assert metrics.teacher.requests == 70


def test_a_useless_teacher_is_stopped_within_its_first_batch(workplace: Workplace) -> None:
    """A prompt that asks for no JSON gets small talk; 50 calls show it, and 5 answers."""
    turns = [{"role": "user", "content": "Subject: $subject\n\n$body"}]
    settings = narrow(task__messages=turns)
    with pytest.raises(DataError) as refusal:
        taught(settings, pool=200, exam=80)
    message = str(refusal.value)
    assert "right on 0 of the first 50 exam rows, and exam.teacher_at_least is 0.5" in message
    assert message.count(f"teacher:  {CHATTING}") == 5
    assert message.count("not JSON") == 5
    with Ledger(project.ledger()) as ledger:
        assert ledger.count() == 50
    assert not (workplace.path / "data/0/cache_pool.jsonl").exists()


@pytest.mark.usefixtures("workplace")
def test_the_plan_counts_the_trial_and_all_that_follows_it() -> None:
    """Nothing is asked yet: the trial's replies are missing, and so are those behind it."""
    settings = narrow()
    jsonl.write(project.data("0", "train_pool.jsonl"), rows(hardest(30, 1), settings, "seed"))
    jsonl.write(project.EXAM, rows(hardest(80, 2), settings, "exam"))
    with Ledger(project.ledger()) as ledger:
        certain = rehearse(settings, {"teach@0"}, ledger)
    assert certain["teach@0", "teacher"] == Exact(in_ledger=0, missing=80)


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ('{"label":"refund","urgency":"low"}', "line 2: the expected answer has no order"),
        ("refund", "line 2: the expected answer is not JSON"),
    ],
)
def test_expected_answers_must_pass_the_scorer(
    workplace: Workplace, expected: str, problem: str
) -> None:
    right = '{"label":"refund","urgency":"low","order":null}'
    lines = [
        json.dumps({"subject": "Hi", "body": f"Number {n}", "expected": text})
        for n, text in enumerate((right, expected))
    ]
    path = workplace.path / "inputs" / "exam.jsonl"
    path.write_text("\n".join(lines))
    problems = without_keys(narrow(exam__file="inputs/exam.jsonl"), ask_hub=False)
    assert [text for text in problems if problem in text and "1 of 2 expected" in text]
    path.write_text(lines[0])
    problems = without_keys(narrow(exam__file="inputs/exam.jsonl"), ask_hub=False)
    assert not [text for text in problems if text.startswith("exam.file")]


def test_the_referee_marks_no_answer(workplace: Workplace) -> None:
    assert Path.cwd() == workplace.path
    scorer = {"kind": "referee", "option": None}
    problems = without_keys(narrow(exam__scorer=scorer), ask_hub=False)
    assert [text.split(":")[0] for text in problems] == ["teach.filter", "exam.teacher_at_least"]
