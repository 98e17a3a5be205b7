"""The teacher's role: an instruction in, a request out; a reply in, an answer out. No I/O."""

from typing import Literal

from msgspec.structs import replace

from lion.prompting import templates
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.replies import incomplete
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction

STAGE = "teach"


def answer_request(instruction: Instruction, prompts: Prompts) -> Request:
    """Return the conversation to be answered.

    The system prompt is put before it, unless the conversation brings its own; the last turn stands
    in the folder's user.txt, where there is one.
    """
    if instruction.messages[0]["role"] == "system":
        return Request(instruction.messages)
    *before, last = instruction.messages
    text = last["content"]
    if templates.USER in prompts.templates:
        text = prompts.render(templates.USER, instruction=text)
    return Request(prompts.conversation(text, before))


def parse_answer(
    instruction: Instruction, outcome: Outcome, truncated: Literal["drop", "keep"]
) -> Answer | Dropped:
    """Return what the teacher wrote, or why the instruction cannot be learnt from.

    `truncated` says whether an answer that the token cap cut off is one.
    """
    if isinstance(outcome, Failure):
        return Dropped(STAGE, outcome.reason, id=instruction.id, detail=outcome.detail)
    reason = incomplete(outcome.finish_reason)
    if reason is not None and (reason, truncated) != ("truncated", "keep"):
        return Dropped(STAGE, reason, instruction.id, outcome.text, outcome.finish_reason)
    return Answer(instruction.id, outcome.text, outcome.finish_reason, outcome.model)


def drop_reason(
    instruction: Instruction, outcome: Outcome, truncated: Literal["drop", "keep"]
) -> str | None:
    """Return why the instruction cannot be learnt from, None where it can."""
    answer = parse_answer(instruction, outcome, truncated)
    return answer.reason if isinstance(answer, Dropped) else None


def taught(instruction: Instruction, given: Answer) -> Instruction:
    """Return the instruction with the teacher's answer, as the Cache Pool keeps it."""
    return replace(instruction, answer=given.inside)
