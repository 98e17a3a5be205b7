"""The student behind a server: asked as the teacher is, with the same asker and ledger.

The model's name holds a hash of the student's bytes, so a server that still has another iteration's
student refuses, and no reply of that one is ever taken from the ledger for this one's.
"""

from collections.abc import Sequence
from pathlib import Path

from lion.config.settings import Served, Settings
from lion.errors import EndpointError, ModelError
from lion.llm.protocols import Clients
from lion.prompting.protocol import Failure, Outcome, Request
from lion.records.rows import Answer, Instruction
from lion.student import checkpoint as students
from lion.student.chat_format import ChatFormatter
from lion.student.fingerprint import served_name

_EMPTY = {"empty_reply": "stop", "cap_spent": "length"}
"""Failures of a teacher that a student's answer may be: it wrote nothing."""


def answers(
    rows: Sequence[Instruction],
    student: Path,
    iteration: str,
    settings: Settings,
    clients: Clients,
    random_seed: int,
) -> list[Answer]:
    """Return the answer of the served student to each row, in order.

    Raises EndpointError where the server does not have this student, ModelError where an answer
    cannot be had.
    """
    served = _served(settings)
    name = served_name(student, iteration)
    sampling = {
        "temperature": settings.answering.temperature,
        "max_tokens": settings.answering.max_tokens,
    }
    tokenizer = students.load_tokenizer(student, settings.student)
    encoder = ChatFormatter(tokenizer, settings.student.prompt_format)
    requests = [
        # The sample index makes the protocol's seed, here one of each row's own.
        Request(tuple(encoder.turns(row.messages)), sample=int(row.id[:8], 16) + random_seed)
        for row in rows
    ]
    try:
        with clients.open("student", served.endpoint(name, sampling)) as client:
            outcomes = client.ask(requests, max_failed=None)
    except EndpointError as error:
        raise EndpointError(
            f"{error} The stage needs {name} at {served.base_url}: run "
            f"`lion serve-student --iteration {iteration}` there, then again."
        ) from error
    return [_answer(*pair, name) for pair in zip(rows, outcomes, strict=True)]


def _served(settings: Settings) -> Served:
    if settings.student.endpoint is None:
        raise ModelError("student.endpoint is null. Name a server there.")
    return settings.student.endpoint


def _answer(row: Instruction, outcome: Outcome, name: str) -> Answer:
    if isinstance(outcome, Failure):
        if outcome.reason not in _EMPTY:
            raise ModelError(
                f"the served student has no answer to {row.id}: {outcome.reason}: "
                f"{outcome.detail:.200}. Look at the server; every reply is kept, so run again."
            )
        return Answer(row.id, "", _EMPTY[outcome.reason], name)
    return Answer(row.id, outcome.text.strip(), outcome.finish_reason, outcome.model)
