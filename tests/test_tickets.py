"""The simulated narrow task: tickets are read back from their text, and each role knows them."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from string import Template

import pytest

from lion.prompting.templates import fence
from lion.records.rows import Message
from lion.simulator.simulated_llm import REFUSAL, reply
from lion.simulator.task_families import LEVELS, held_out
from lion.simulator.ticket_phrasing import LABELS, TICKET_KINDS, TicketKind
from lion.simulator.ticket_replies import CHATTING, ERROR_SHARE
from lion.simulator.tickets import Ticket, draw_ticket, read_ticket, ticket_exam, ticket_pool

PROMPTS = Path(__file__).parents[1] / "prompts"
SYSTEM: Message = {"role": "system", "content": 'Turn it into JSON: {"order":"1234"} or null.'}

each_kind = pytest.mark.parametrize("kind", TICKET_KINDS, ids=lambda kind: kind.name)


def turns(ticket: Ticket) -> list[Message]:
    text = f"Subject: {ticket.subject}\n\n{ticket.body}"
    return [SYSTEM, {"role": "user", "content": text}]


def sample(kind: TicketKind, count: int = 30) -> list[Ticket]:
    random = Random(kind.name)
    return [draw_ticket(kind, level, random) for level in LEVELS for _ in range(count)]


def prompt(name: str, **values: str) -> list[Message]:
    text = Template((PROMPTS / name).read_text()).substitute(good="", **values)
    return [{"role": "user", "content": text}]


# What a ticket says


@each_kind
def test_a_ticket_is_read_back_from_its_text_whatever_stands_around_it(kind: TicketKind) -> None:
    for ticket in sample(kind):
        system, user = (turn["content"] for turn in turns(ticket))
        for text in (user, json.dumps(ticket.fields), f"System: {system}\n\nUser: {user}"):
            assert read_ticket(text) == ticket.facts


def test_the_hardest_level_has_numbers_and_matters_that_do_not_count() -> None:
    quoted = (
        "It is order 12AB. The lamp came broken.\n\n> the tent has not arrived\n> my order is 99A."
    )
    facts = read_ticket(quoted)
    assert facts is not None
    assert (facts.kind.label, facts.order, facts.level) == ("defect", None, LEVELS[-1])


@pytest.mark.parametrize(
    "text",
    ["", "Please help.", "The lamp came broken. The tent has not arrived.", "x" * 5000],
    ids=["empty", "no matter", "two matters", "too long"],
)
def test_a_text_without_exactly_one_matter_is_no_ticket(text: str) -> None:
    assert read_ticket(text) is None


def test_every_label_has_common_and_rare_kinds() -> None:
    assert [kind.rank for kind in TICKET_KINDS] == list(range(1, len(TICKET_KINDS) + 1))
    for label in LABELS:
        ranks = [kind.rank for kind in TICKET_KINDS if kind.label == label]
        assert min(ranks) <= 6 < 12 < max(ranks)


# Pools and exams


def test_pool_and_exam_share_no_content_and_each_is_a_function_of_its_seed() -> None:
    pool = ticket_pool(2000, random_seed=1, skew=1.0)
    exam = ticket_exam(360, random_seed=7)
    assert pool == ticket_pool(2000, random_seed=1, skew=1.0)
    assert pool != ticket_pool(2000, random_seed=2, skew=1.0)
    assert len({ticket.body for ticket in pool}) == 2000
    assert not any(held_out(ticket.key) for ticket in pool)
    assert all(held_out(ticket.key) for ticket in exam)
    assert set(Counter(ticket.facts.kind.name for ticket in exam).values()) == {20}
    counts = Counter(ticket.facts.kind.rank for ticket in pool)
    assert counts[1] > 10 * counts[18] > 0


# The roles


def test_the_teacher_answers_in_json_where_the_conversation_asks_for_it() -> None:
    ticket = draw_ticket(TICKET_KINDS[3], 1, Random(0))
    assert reply(turns(ticket), 0) == ticket.facts.answer
    assert reply(turns(ticket)[1:], 0) == CHATTING
    assert reply([SYSTEM, {"role": "user", "content": "Subject: Hm\n\nHm."}], 0) == REFUSAL


def test_the_teacher_errs_on_some_of_the_hardest_tickets_alone() -> None:
    random = Random(5)
    tickets = [draw_ticket(kind, level, random) for level in LEVELS for kind in TICKET_KINDS * 20]
    wrong = Counter(
        ticket.facts.level for ticket in tickets if reply(turns(ticket), 0) != ticket.facts.answer
    )
    assert set(wrong) == {LEVELS[-1]}
    assert 0.5 * ERROR_SHARE < wrong[LEVELS[-1]] / (20 * len(TICKET_KINDS)) < 2 * ERROR_SHARE


def test_a_wrong_answer_sampled_again_is_right_at_last() -> None:
    random = Random(5)
    tickets = (draw_ticket(kind, 3, random) for kind in TICKET_KINDS * 20)
    wrong = next(one for one in tickets if reply(turns(one), 0) != one.facts.answer)
    answers = {reply(turns(wrong), seed) for seed in range(20)}
    assert wrong.facts.answer in answers
    assert len(answers) <= 3


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({}, 10),
        ({"order": "1"}, 6),
        ({"order": "1", "label": "x"}, 4),
        ({"order": "1", "label": "x", "urgency": "x"}, 2),
    ],
)
def test_the_referee_scores_by_fields(change: dict[str, str], score: int) -> None:
    ticket = draw_ticket(TICKET_KINDS[0], 2, Random(1))
    answer = json.dumps({**json.loads(ticket.facts.answer), **change}, separators=(",", ":"))
    assert judged(ticket, ticket.facts.answer, answer) == (10, score)
    assert judged(ticket, answer, "I do not know.") == (score, 1)
    assert judged(ticket, f"Here: {ticket.facts.answer}", "") == (9, 1)


def judged(ticket: Ticket, first: str, second: str) -> tuple[int, int]:
    question = "\n\n".join(turn["content"] for turn in turns(ticket))
    asked = prompt(
        "referee/user.txt", fence="f1", question=question, answer_1=first, answer_2=second
    )
    scores = re.findall(r"^Score of Assistant .: (\d+)$", reply(asked, 0), re.MULTILINE)
    return int(scores[0]), int(scores[1])


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_generator_keeps_kind_level_and_form(form: str) -> None:
    ticket = draw_ticket(TICKET_KINDS[4], 2, Random(2))
    given = json.dumps(ticket.fields) if form == "json" else turns(ticket)[1]["content"]
    for seed in range(5):
        values = {"fence": "f1", "task": "JSON", "instruction": given, "form": "it"}
        new = reply(prompt("generator/input_hard.txt", **values), seed)
        facts = read_ticket(new)
        assert facts is not None
        assert (facts.kind, facts.level, new == given) == (ticket.facts.kind, 2, False)
        assert (new.startswith('{"subject"'), new.startswith("Subject:")) == (
            form == "json",
            form == "text",
        )
        rare = read_ticket(reply(prompt("generator/input_easy.txt", **values), seed))
        assert rare is not None
        assert rare.kind.rank > ticket.facts.kind.rank


def test_no_generated_ticket_is_held_out() -> None:
    pool = ticket_pool(50, random_seed=0, skew=1.0)
    for seed, ticket in enumerate(pool):
        kind, level = ticket.facts.kind, ticket.facts.level
        assert not held_out(draw_ticket(kind, level, Random(seed)).key)


def test_bootstrap_continues_a_list_of_tickets() -> None:
    examples = [json.dumps(ticket.fields) for ticket in ticket_pool(3, random_seed=0, skew=1.0)]
    code = fence("JSON", *examples)
    tasks = "\n\n".join(f"[Task {n} {code}]\n{text}" for n, text in enumerate(examples, start=1))
    values = {"task": "JSON", "tasks": tasks, "first": "4", "last": "6", "form": "it"}
    written = reply(prompt("bootstrap/input.txt", fence=code, **values), 3)
    assert re.findall(rf"^\[Task (\d+) {code}\]$", written, re.M) == ["4", "5", "6"]
    endless = prompt("bootstrap/input.txt", fence=code, **{**values, "last": "999999"})
    assert reply(endless, 3).count(code) == 100
    new = [text.strip() for text in re.split(r"^\[Task .*\]$", written, flags=re.MULTILINE)[1:]]
    assert all(read_ticket(text) and set(json.loads(text)) == {"subject", "body"} for text in new)
