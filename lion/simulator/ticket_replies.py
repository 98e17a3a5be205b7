"""What the simulated LLM writes about support tickets, in each of its roles.

Like a real model, the teacher answers in JSON only where the conversation asks for it, and errs at
times on the hardest tickets. `simulated_llm` tells the roles apart.
"""

import json
import re
from collections.abc import Sequence
from random import Random

from lion.records.rows import Message
from lion.simulator.task_families import LEVELS
from lion.simulator.tickets import FIELDS, TicketFacts, read_ticket, similar_ticket, ticket_answer

CHATTING = "Thank you for your message. We will look into it."
"""The reply to a ticket where nothing asks for JSON."""
ERROR_SHARE = 0.06
"""Share of wrong answers of the teacher on the hardest tickets; half are wrapped in words."""
_OBJECT = re.compile(r"\{[^{}]*\}")
_POINTS = (2, 4, 6)  # for no, one and two right fields of three
_OTHER_URGENCY = {"low": "normal", "normal": "low", "high": "normal"}


def answer_ticket(messages: Sequence[Message], random: Random) -> str | None:
    """Return the teacher's answer, or None where the last turn has no ticket."""
    facts = read_ticket(messages[-1]["content"])
    if facts is None:
        return None
    if not any("json" in message["content"].casefold() for message in messages):
        return CHATTING
    if facts.level < LEVELS[-1] or random.random() >= ERROR_SHARE:
        return facts.answer
    if random.random() < 0.5:
        return f"Here is the JSON:\n{facts.answer}"
    return ticket_answer(facts.kind.label, _OTHER_URGENCY[facts.urgency], facts.order)


def generate_ticket(given: str, random: Random, *, rarer: bool) -> str | None:
    """Return another ticket in the form of the given one, or None where that is none.

    The form is the JSON object of the fields, a text that begins with the subject, or the body.
    """
    facts = read_ticket(given)
    if facts is None:
        return None
    ticket = similar_ticket(facts, random, rarer=rarer)
    if set(FIELDS) <= set(_fields(given)):
        return json.dumps(ticket.fields, ensure_ascii=False)
    if given.casefold().startswith("subject:"):
        return f"Subject: {ticket.subject}\n\n{ticket.body}"
    return ticket.body


def score_ticket(facts: TicketFacts, answer: str) -> int:
    """Return the score of an answer: 10 right, 9 right in another form, else 1 to 6."""
    if answer.strip() == facts.answer:
        return 10
    match = _OBJECT.search(answer)
    fields = _fields(match[0]) if match else {}
    if not fields:
        return 1
    expected = json.loads(facts.answer)
    right = sum(name in fields and fields[name] == value for name, value in expected.items())
    return 9 if fields == expected else _POINTS[min(right, len(_POINTS) - 1)]


def _fields(text: str) -> dict[str, object]:
    """Return the fields of a JSON object; none where the text is no such object."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
