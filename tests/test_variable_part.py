"""A declared task wherever its prompt stands: pools are compared and shown by what differs."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from fixtures import Workplace
from narrow import NARROW
from pooled import project, verdict

from lion.cli import main
from lion.config.settings import Decontaminate, TaskSettings
from lion.conversations import TaskTemplate, variable_part
from lion.generation import seed_pool
from lion.generation.filters import decontamination
from lion.records.rows import Instruction, TeacherAnswer

PROMPT = (
    "Turn the support ticket into one line of JSON with the keys label, urgency and order, where "
    "the order is the number of the order that the ticket is about, or null."
)
TURNS: dict[str, list[dict[str, str]]] = {
    "prompt in the middle": [
        {"role": "user", "content": f"## $subject\n\n{PROMPT}\n\nTicket:\n$body"},
    ],
    "three turns": [
        {"role": "user", "content": f"{PROMPT} The subject: $subject"},
        {"role": "assistant", "content": "Show me the ticket."},
        {"role": "user", "content": "$body"},
    ],
    "system turn": [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": "Subject: $subject\n\n$body"},
    ],
}
SETTINGS = {
    name: TaskSettings.model_validate(
        {"fields": ["subject", "body"], "messages": turns, "good": None}
    )
    for name, turns in TURNS.items()
}
forms = pytest.mark.parametrize("form", TURNS)


def template(form: str) -> TaskTemplate:
    task = TaskTemplate.declared(SETTINGS[form])
    assert task is not None
    return task


def rows(form: str, prefix: str = "a") -> list[Instruction]:
    return [
        Instruction(
            **{
                **{name: getattr(row, name) for name in row.__struct_fields__},
                "answer": TeacherAnswer("{}", "stop", "oracle-1"),
            }
        )
        for number in range(6)
        for row in [
            Instruction.new(
                template(form).render({"subject": f"{prefix}{number}", "body": f"Body {number}"}),
                origin="seed",
                iteration="0",
            )
        ]
    ]


@pytest.fixture
def shown(workplace: Workplace, form: str) -> list[str]:
    """Write pools of a declared task; return the variable part of each row of iteration 1."""
    pool = rows(form)
    project(workplace.path, "0", pool[:4])
    project(workplace.path, "1", pool, [verdict(row.id, 2.0) for row in pool])
    document = {**NARROW, "task": SETTINGS[form].model_dump()}
    Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return [f"a{number}\n\nBody {number}" for number in range(6)]


def lion(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@forms
def test_show_diff_and_page_have_what_differs(shown: list[str]) -> None:
    browsed = [json.loads(line) for line in lion("show", "1", "--json").splitlines()]
    assert [row["instruction"] for row in browsed] == shown
    assert PROMPT not in lion("show", "1")
    compared = lion("diff", "0", "1", "--samples", "2")
    assert PROMPT not in compared
    assert "Body 4" in compared
    lion("report", "1", "--out", "page.html")
    packed = re.search(r'id="rows">([^<]*)<', Path("page.html").read_text())
    assert packed is not None
    columns: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert columns["text"] == shown


@forms
def test_the_shared_prompt_is_no_leak_and_a_shared_ticket_is(form: str) -> None:
    """With the field's custom of 13 words: the prompt has more."""
    task, pool = template(form), rows(form)
    settings = NARROW["decontaminate"] | {"ngram": 13}
    guard = decontamination.guard(
        [rows(form, "b")[0], pool[2]], Decontaminate.model_validate(settings), task
    )
    kept, leaked = seed_pool.split_contaminated(pool, guard, "drop", task)
    assert [row.id for row in leaked] == [pool[2].id]
    assert len(kept) == 5
    assert leaked[0].text == variable_part(pool[2].messages, task)
