"""A declared task: rows are its conversations, and only their variable part is compared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lion.config.settings import TaskSettings
from lion.conversations import TaskTemplate, child_conversation, shape_of, variable_part
from lion.records.rows import Message, canonical_text, instruction_id

PROMPT = (
    "Turn the ticket into JSON with label and urgency; 5 $$ is money. Braces {like these} stay."
)
TURNS = {
    "system turn": [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": "Subject: $subject\n\n$body"},
    ],
    "prompt before": [{"role": "user", "content": f"{PROMPT}\n\n## $subject\n$body"}],
    "prompt in the middle": [{"role": "user", "content": f"$subject\n\n{PROMPT}\n\n$body"}],
    "an example before": [
        {"role": "user", "content": "Subject: Hi\n\nBroken."},
        {"role": "assistant", "content": '{"label": "defect"}'},
        {"role": "user", "content": "Subject: ${subject}\n\n${body}"},
    ],
}
TASKS = {
    name: TaskTemplate.declared(
        TaskSettings.model_validate(
            {"fields": ["subject", "body"], "messages": turns, "good": None}
        )
    )
    for name, turns in TURNS.items()
}
TEXT = st.text(min_size=1).map(canonical_text).filter(lambda text: bool(text.strip()))


def task(name: str = "system turn") -> TaskTemplate:
    declared = TASKS[name]
    assert declared is not None
    return declared


@pytest.mark.parametrize("name", TASKS)
@given(subject=TEXT, body=TEXT)
def test_a_rendered_row_is_read_back_as_a_row_with_the_same_rendering(
    name: str, subject: str, body: str
) -> None:
    here = task(name)
    messages = here.render({"subject": subject, "body": body})
    values = here.read(messages)
    assert values is not None
    assert here.render(values) == messages


@pytest.mark.parametrize("name", TASKS)
def test_the_variable_part_has_the_fields_alone(name: str) -> None:
    messages = task(name).render({"subject": "Refund", "body": "Where is $5?"})
    assert task(name).read(messages) == {"subject": "Refund", "body": "Where is $5?"}
    assert variable_part(messages, task(name)) == "Refund\n\nWhere is $5?"


def test_fields_and_the_same_conversation_have_one_id() -> None:
    messages = task().render({"subject": "Refund", "body": "Where?"})
    turns: list[Message] = [
        {"role": "system", "content": PROMPT.replace("$$", "$")},
        {"role": "user", "content": "Subject: Refund\n\nWhere?"},
    ]
    assert instruction_id(messages) == instruction_id(turns)


def test_another_conversation_is_not_of_the_task() -> None:
    turns: list[Message] = [{"role": "user", "content": "Subject: Refund\n\nWhere?"}]
    assert task().read(turns) is None
    assert task().read([{"role": "system", "content": "Be brief."}, *turns]) is None


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ('{"subject": "A", "body": "B"}', {"subject": "A", "body": "B"}),
        ('```json\n{"body": "B", "subject": "A"}\n```', {"subject": "A", "body": "B"}),
        ('Here it is: {"subject": "A {b}", "body": "B"} Enjoy.', {"subject": "A {b}", "body": "B"}),
        ('{"subject": "A"}', None),
        ('{"subject": "A", "body": "B", "label": "x"}', None),
        ('{"subject": "A", "body": ""}', None),
        ('{"subject": "A", "body": 5}', None),
        ('{"subject": "A", "body": "B', None),
        ("Subject: A\n\nB", None),
        ("[1]", None),
    ],
)
def test_a_reply_is_read_by_its_keys(reply: str, values: dict[str, str] | None) -> None:
    assert task().parse(reply) == values


def test_a_child_keeps_the_roles_of_its_parent() -> None:
    """Also without a declaration: the system turn stays, the other turns are written anew."""
    alone: list[Message] = [{"role": "user", "content": "Sort $x."}]
    assert child_conversation(alone, "Sort {y}.", None) == [
        {"role": "user", "content": "Sort {y}."}
    ]
    prompted: list[Message] = [{"role": "system", "content": "Costs $5."}, *alone]
    assert child_conversation(prompted, "Sort y.", None) == [
        prompted[0],
        {"role": "user", "content": "Sort y."},
    ]
    turns: list[Message] = [
        prompted[0],
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    reply = json.dumps({"user_1": "a", "assistant_1": "b", "user_2": "c"})
    found = child_conversation(turns, reply, None)
    assert found is not None
    assert [turn["role"] for turn in found] == [turn["role"] for turn in turns]
    assert [turn["content"] for turn in found] == ["Costs $5.", "a", "b", "c"]
    assert child_conversation(turns, "Bye bye", None) is None


def test_a_row_of_another_task_keeps_its_own_shape() -> None:
    plain: list[Message] = [{"role": "user", "content": "Sort."}]
    assert shape_of(plain, task()) == TaskTemplate.of(plain)
    assert shape_of(task().render({"subject": "a", "body": "b"}), task()) is task()


def test_a_shared_system_turn_is_not_compared() -> None:
    turns: list[Message] = [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": "Where?"},
    ]
    assert variable_part(turns) == "Where?"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": ["subject"]}, r"differ by \$body"),
        ({"fields": ["subject", "body", "tone"]}, r"differ by \$tone"),
        ({"messages": []}, "the last turn must be the user's"),
        (
            {"messages": [{"role": "user", "content": "$subject $body costs $5"}]},
            r"begins no field",
        ),
        ({"fields": ["Sub ject"]}, "fields.0"),
    ],
)
def test_a_wrong_declaration_is_refused_by_its_place(
    change: dict[str, object], message: str
) -> None:
    good = {"fields": ["subject", "body"], "messages": TURNS["system turn"], "good": None}
    with pytest.raises(ValidationError, match=message):
        TaskSettings.model_validate({**good, **change})
