"""The stages `review` and `split` before a referee on loopback: what is asked, and what is not."""

import re
from pathlib import Path
from typing import Any

import pytest
from fake_server import Behaviour, Call, ChatServer, says
from fixtures import Workplace

from lion.config import project
from lion.metrics import files
from lion.metrics.judging import AgreementMetrics, Audited, ReviewMetrics, SplitMetrics
from lion.pipeline.stage import Work
from lion.prompting import teacher
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Review, Selection, Verdict
from stages import review, split

ANSWER = re.compile(r"^\[Answer of Assistant \d \w+\]\n(.*)$", re.MULTILINE)
RIGHT, NEAR, FAR = "right", "near", "far"
SCORES = {RIGHT: 9, NEAR: 8, FAR: 2}


def judge(call: Call) -> Behaviour:
    """Score both answers by their first word; favour the first place by one."""
    first, second = (SCORES[answer.split()[0]] for answer in ANSWER.findall(call.question))
    return says(f"Score of Assistant 1: {first + 1}\nScore of Assistant 2: {second}")


class Desk:
    """Iterations of nothing but discrimination: thirty rows, answered as a test says."""

    def __init__(self, workplace: Workplace, server: ChatServer) -> None:
        self.server, self._workplace = server, workplace
        server.answer = judge
        self.rows = [
            Instruction.new(
                [{"role": "user", "content": f"Task {number}"}], origin="seed", iteration="0"
            )
            for number in range(30)
        ]
        unjudged = [Verdict(row.id, None, None, None, "undecided", "new") for row in self.rows]
        jsonl.write(Path("data/0/verdicts.jsonl"), unjudged)
        for key in "01":
            taught = [teacher.taught(row, Answer(row.id, RIGHT, "stop", "m")) for row in self.rows]
            jsonl.write(project.data(key, "cache_pool.jsonl"), taught)

    def run(self, key: str, words: list[str], **changes: Any) -> int:
        """Judge answers that are `words` over and over; return the calls that came."""
        at = {"base_url": self.server.url, "api_key_env": None, "send_seed": False}
        settings = self._workplace.params(
            {
                "generate.per_parent": None,
                **{f"referee.{name}": value for name, value in at.items()},
                **{f"review.{name}": value for name, value in changes.items()},
            }
        )
        responses = [
            Answer(row.id, words[number % len(words)], "stop", "s")
            for number, row in enumerate(self.rows)
        ]
        jsonl.write(project.data(key, "responses.jsonl"), responses)
        before = len(self.server.calls)
        review.main(Work("review", key, settings))
        split.main(Work("split", key, settings))
        return len(self.server.calls) - before

    def verdicts(self, key: str = "1") -> list[Verdict]:
        return jsonl.read(project.data(key, "verdicts.jsonl"), Verdict)

    def details(self, key: str = "1") -> AgreementMetrics:
        return files.read_metrics(project.metrics(key, "agreement"), AgreementMetrics)

    def measures(self, key: str = "1") -> SplitMetrics:
        return files.read_metrics(project.metrics(key, "split"), SplitMetrics)

    def asked(self, key: str = "1") -> ReviewMetrics:
        return files.read_metrics(project.metrics(key, "review"), ReviewMetrics)


@pytest.fixture
def desk(workplace: Workplace, chat_server: ChatServer) -> Desk:
    return Desk(workplace, chat_server)


def test_by_default_every_response_is_judged_in_both_orders(desk: Desk) -> None:
    assert desk.run("1", [NEAR, FAR]) == 60
    reviews = jsonl.read(project.data("1", "reviews.jsonl"), Review)
    assert [(row.id, row.order) for row in reviews] == [
        (row.id, order) for row in desk.rows for order in ("teacher_first", "student_first")
    ]
    assert {(row.gap, row.basis) for row in desk.verdicts()} == {
        (1.0, "both_orders"),
        (7.0, "both_orders"),
    }
    assert desk.details().basis == {"both_orders": 30}
    agreement = desk.details().agreement
    assert agreement is not None and agreement.value_share == 1.0


def test_far_from_tau_one_order_decides_as_both_do(desk: Desk) -> None:
    desk.run("1", [f"{FAR} {number}" for number in range(30)])
    full = [(row.id, row.difficulty) for row in desk.verdicts()]
    paid = desk.run("1", [f"{FAR} {number} again" for number in range(30)], second_order_margin=2.0)
    assert paid == 30
    assert [(row.id, row.difficulty) for row in desk.verdicts()] == full
    assert {(row.gap, row.basis) for row in desk.verdicts()} == {
        (8.0, "one_order"),  # the place is worth a point, by the order drawn
        (6.0, "one_order"),
    }
    assert desk.details().agreement is None  # nothing was audited


def test_near_tau_both_orders_are_asked(desk: Desk) -> None:
    paid = desk.run("1", [f"{NEAR} {number}" for number in range(30)], second_order_margin=2.0)
    assert paid == 60
    assert {(row.gap, row.basis) for row in desk.verdicts()} == {(1.0, "both_orders")}


def test_the_teachers_own_answer_is_not_asked(desk: Desk) -> None:
    """Its verdict is easy with gap 0, and says what it rests on; it has no scores."""
    paid = desk.run("1", [RIGHT, f"{RIGHT}\n", FAR], same_answer="skip", second_order_margin=2.0)
    assert paid == 10
    same = [row for row in desk.verdicts() if row.basis == "same_answer"]
    assert len(same) == 20
    assert {(row.gap, row.teacher_mean, row.difficulty) for row in same} == {(0.0, None, "easy")}
    assert desk.measures().hard_share == 1 / 3


def test_a_same_answer_that_is_asked_is_one_request(desk: Desk) -> None:
    """Its two orders are asked at once, so that they are counted, and paid, as one."""
    assert desk.run("1", [RIGHT], second_order_margin=2.0) == 30
    used = desk.asked().referee
    assert used is not None and used.requests == 30
    assert {(row.gap, row.basis) for row in desk.verdicts()} == {(0.0, "both_orders")}


def test_an_audit_tells_the_agreement(desk: Desk) -> None:
    """With a margin of 0, a first order of gap 2 or 0 misleads where the mean is 1."""
    words = [f"{NEAR} {number}" for number in range(30)]
    desk.run("1", words, second_order_margin=0.0, audit_rate=1.0)
    selections = jsonl.read(project.data("1", "selection.jsonl"), Selection)
    right = sum(row.first == "teacher_first" for row in selections)  # gap 2, hard as the mean
    assert 0 < right < 30
    audit = desk.details().audit
    assert audit == Audited(decided=30, unchecked=0, audited=30, agreeing=right)
    assert {(row.gap, row.basis) for row in desk.verdicts()} == {(1.0, "both_orders")}


def test_an_unchanged_answer_is_not_paid_for_again(desk: Desk) -> None:
    """Its request is the one of the iteration before: the ledger has the reply."""
    words = [f"{FAR} {number}" for number in range(30)]
    rules = {"second_order_margin": 2.0}
    assert desk.run("1", words, **rules) == 30
    assert desk.run("2", [*words[:29], f"{NEAR} at last"], **rules) == 2
    assert [row.gap for row in desk.verdicts("2")][:29] == [row.gap for row in desk.verdicts("1")][
        :29
    ]


def test_a_sample_favours_what_was_near_tau_before(desk: Desk) -> None:
    desk.run("1", [NEAR, FAR, FAR], second_order_margin=2.0)
    desk.run("2", [NEAR, FAR, FAR], second_order_margin=2.0, limit=15, uncertain_weight=4.0)
    drawn = {row.id for row in desk.verdicts("2")}
    near = {row.id for row in desk.rows[::3]}
    assert (len(drawn & near), len(drawn - near)) == (10, 5)
    assert desk.asked("2").judged == 15
    assert desk.measures("2").hard_share == 1.0


def test_a_first_review_without_scores_asks_for_no_second(desk: Desk) -> None:
    desk.server.answer = says("I would rather not say.")
    changes = {"second_order_margin": 2.0, "max_dropped": 1.0}
    paid = desk.run("1", [f"{FAR} {number}" for number in range(30)], **changes)
    assert paid == 30
    assert {(row.difficulty, row.gap, row.reason) for row in desk.verdicts()} == {
        ("undecided", None, "no_scores")
    }
