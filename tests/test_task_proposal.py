"""`lion check` recognises one narrow task in the rows, and proposes its declaration."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from fixtures import Workplace
from narrow import NARROW

from lion.cli import main
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.conversations import TaskTemplate, variable_part
from lion.pipeline.checks.offline import offline_problems
from lion.pipeline.checks.task_declaration import propose, proposed_task
from lion.readers import files
from lion.readers.formats import rows
from lion.simulator.tickets import Ticket, ticket_exam, ticket_pool

PROMPT = read_settings(NARROW).task.messages[0].content
TICKETS = ticket_pool(40, random_seed=5, skew=0.5)
EXAM = ticket_exam(20, random_seed=5)


def spoken(ticket: Ticket) -> str:
    return f"From the shop.\n{ticket.fields['subject']}: {ticket.fields['body']}"


def alpaca(ticket: Ticket) -> dict[str, Any]:
    return {"instruction": PROMPT, "input": ticket.fields["body"]}


def chat(ticket: Ticket) -> dict[str, Any]:
    user = {"role": "user", "content": ticket.fields["body"]}
    return {"messages": [{"role": "system", "content": PROMPT}, user]}


def prompt_in_the_middle(ticket: Ticket) -> dict[str, Any]:
    subject, body = ticket.fields["subject"], ticket.fields["body"]
    return {"instruction": f"{subject}\n\n{PROMPT} It costs $5.\n\nTicket body:\n{body}"}


def three_turns(ticket: Ticket) -> dict[str, Any]:
    subject, body = ticket.fields["subject"], ticket.fields["body"]
    return {
        "messages": [
            {"role": "user", "content": PROMPT},
            {"role": "assistant", "content": "Understood."},
            {"role": "user", "content": f"Subject: {subject}\n\nTicket body:\n{body}"},
        ]
    }


# a form of rows: how a ticket is written, the fields proposed, the variable part of a ticket
FORMS: dict[str, tuple[Any, list[str], Any]] = {
    "alpaca": (alpaca, ["input"], lambda ticket: ticket.fields["body"]),
    "chat": (chat, ["input"], lambda ticket: ticket.fields["body"]),
    "prompt in the middle": (
        prompt_in_the_middle,
        ["input_1", "ticket_body"],
        lambda ticket: "\n\n".join(ticket.fields.values()),
    ),
    "three turns": (
        three_turns,
        ["subject", "ticket_body"],
        lambda ticket: "\n\n".join(ticket.fields.values()),
    ),
}


def write(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))


def own_files(workplace: Workplace, form: Any, **changes: Any) -> Settings:
    """Write pool and exam in a form, and params that name them without a declaration."""
    write(workplace.path / "inputs/tickets.jsonl", [form(ticket) for ticket in TICKETS])
    exam = [{**form(ticket), "expected": ticket.facts.answer} for ticket in EXAM]
    write(workplace.path / "inputs/exam.jsonl", exam)
    small = {"generate.hard": 8, "generate.easy": 8, "exam.scorer": NARROW["exam"]["scorer"]}
    named = {"seed.source": ["inputs/tickets.jsonl"], "exam.file": "inputs/exam.jsonl"}
    hosted = {
        f"{role}.{key}": value
        for role in ("teacher", "referee", "generator")
        for key, value in (("base_url", "https://api.example.com/v1"), ("api_key_env", None))
    }
    return workplace.params({**hosted, **named, **small, **changes})


@pytest.mark.parametrize("form", FORMS)
def test_forty_tickets_with_a_prompt_are_recognised(workplace: Workplace, form: str) -> None:
    write_row, fields, variable = FORMS[form]
    own_files(workplace, write_row)
    result = CliRunner().invoke(main, ["check", "--offline"], catch_exceptions=False)
    assert "60 of 60 rows share a prompt of" in result.stderr.replace("\n", " ")
    task = yaml.safe_load(result.stdout)["task"]
    assert task["fields"] == fields

    settings = own_files(workplace, write_row, task=task, **{"decontaminate.ngram": 13})
    assert [line for line in offline_problems(settings) if "student" not in line] == []
    assert proposed_task(settings) is None
    declared = TaskTemplate.declared(settings.task)
    loaded = files.read_rows(Path("inputs/tickets.jsonl"), declared)
    assert [variable_part(row.messages, declared) for row in loaded.rows] == [
        variable(ticket) for ticket in TICKETS
    ]
    bare = files.read_rows(Path("inputs/tickets.jsonl"))
    assert [row.messages for row in loaded.rows] == [row.messages for row in bare.rows]


def test_a_shared_prompt_that_is_a_leak_in_every_row_stops(workplace: Workplace) -> None:
    (problem,) = [
        line
        for line in offline_problems(own_files(workplace, alpaca, **{"decontaminate.ngram": 13}))
        if line.startswith("task:")
    ]
    assert "60 rows share 33 words" in problem
    as_system = offline_problems(own_files(workplace, chat, **{"decontaminate.ngram": 13}))
    assert [line for line in as_system if line.startswith("task:")] == []


def read_values(values: list[dict[str, Any]]) -> list[Any]:
    return [row for line, value in enumerate(values, 1) for row in rows(value, "x.jsonl", line)]


def test_rows_of_another_form_are_named_up_to_a_tenth() -> None:
    values = [alpaca(ticket) for ticket in TICKETS]
    values[6] = {"instruction": "Write a haiku about the sea."}
    proposal = propose(read_values(values))
    assert proposal is not None
    assert (proposal.rows, [row.line for row in proposal.others]) == (39, [7])
    assert "x.jsonl, line 7 is of another form" in proposal.sentence()
    values[:6] = [{"instruction": f"Write a haiku about {place}."} for place in range(6)]
    assert propose(read_values(values)) is None


@pytest.mark.parametrize(
    "values",
    [
        [{"instruction": spoken(ticket)} for ticket in TICKETS],  # no prompt, a greeting
        [alpaca(ticket) for ticket in TICKETS[:5]],  # too few to tell
        [alpaca(TICKETS[0])] * 20,  # nothing differs
    ],
    ids=["no prompt", "five rows", "one row again and again"],
)
def test_rows_without_a_shared_prompt_are_left_alone(values: list[dict[str, Any]]) -> None:
    assert propose(read_values(values)) is None
