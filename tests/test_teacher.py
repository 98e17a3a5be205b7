"""The teacher's requests and what becomes of its replies."""

import pytest
from fixtures import ROOT

from lion.prompting import teacher, templates
from lion.prompting.protocol import Failure, Reply
from lion.records.rows import Answer, Dropped, Instruction, Message, TeacherAnswer

TEMPLATES = templates.load(ROOT / "prompts/teacher", "teacher")
SYSTEM = (ROOT / "prompts/teacher/system.txt").read_text(encoding="utf-8").strip()


def instruction(*turns: tuple[str, str]) -> Instruction:
    messages: list[Message] = [{"role": role, "content": text} for role, text in turns]  # type: ignore[typeddict-item]
    return Instruction.new(messages, origin="seed", iteration="0")


def test_the_conversation_is_asked_behind_the_system_prompt() -> None:
    made = instruction(("user", "2+2?"), ("assistant", "4"), ("user", "Cost: $5 and $fence?"))
    assert teacher.answer_request(made, TEMPLATES).messages == (
        {"role": "system", "content": SYSTEM},
        *made.messages,
    )


def test_a_conversation_keeps_its_own_system_prompt() -> None:
    made = instruction(("system", "Be rude."), ("user", "2+2?"))
    assert teacher.answer_request(made, TEMPLATES).messages == made.messages


def test_the_same_instruction_is_the_same_request_in_every_iteration() -> None:
    """Or else it would be paid for again."""
    text: list[Message] = [{"role": "user", "content": "2+2?"}]
    one = Instruction.new(text, origin="seed", iteration="0")
    other = Instruction.new(text, origin="exam", iteration="3", category="x", expected="4")
    assert teacher.answer_request(one, TEMPLATES) == teacher.answer_request(other, TEMPLATES)


@pytest.mark.parametrize("reason", ["stop", "unknown", "tool_calls"])
def test_a_reply_is_the_answer_as_it_came(reason: str) -> None:
    made = instruction(("user", "2+2?"))
    found = teacher.parse_answer(made, Reply(" 4\n", reason, "m-2026", None), "drop")
    assert found == Answer(made.id, " 4\n", reason, "m-2026")


@pytest.mark.parametrize(
    ("outcome", "truncated", "reason"),
    [
        (Reply("It is fo", "length", "m", None), "drop", "truncated"),
        (Reply("It is fo", "content_filter", "m", None), "keep", "content_filter"),
        (Failure("timeout", "no reply in 120 s"), "keep", "timeout"),
        (Failure("http_400", "flagged"), "drop", "http_400"),
    ],
)
def test_what_is_no_answer_is_dropped_with_its_reason(
    outcome: Reply | Failure, truncated: str, reason: str
) -> None:
    made = instruction(("user", "2+2?"))
    found = teacher.parse_answer(made, outcome, truncated)  # type: ignore[arg-type]
    assert isinstance(found, Dropped)
    assert (found.stage, found.id, found.reason) == ("teach", made.id, reason)
    assert found.text or found.detail


def test_a_truncated_answer_may_be_kept() -> None:
    made = instruction(("user", "2+2?"))
    found = teacher.parse_answer(made, Reply("It is fo", "length", "m", None), "keep")
    assert found == Answer(made.id, "It is fo", "length", "m")


def test_a_taught_instruction_is_the_same_instruction() -> None:
    made = instruction(("user", "2+2?"))
    given = Answer(made.id, "4", "stop", "m")
    taught = teacher.taught(made, given)
    assert taught.answer == given.inside == TeacherAnswer("4", "stop", "m")
    assert (taught.id, taught.messages) == (made.id, made.messages)
