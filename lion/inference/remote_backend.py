"""The backend of a student behind a server: requests go through the client and the ledger.

The model's name contains a hash of the student's bytes: a server that still has another student
refuses, and the ledger never returns the replies of another student.
"""

from collections.abc import Sequence
from pathlib import Path

from lion.config.settings import Served, Settings
from lion.errors import EndpointError, ModelError, TooManyDroppedError
from lion.inference.answer_schema import answer_schema, response_format
from lion.inference.token_scores import rounded
from lion.llm.protocols import Clients
from lion.llm.request_set import DropLimit
from lion.prompting.protocol import Failure, Outcome, Request
from lion.records.rows import Answer, Instruction
from lion.student.fingerprint import served_name
from lion.student.prompt import StudentPrompt, student_rows
from lion.student.student_formatter import student_formatter

_EMPTY = {"empty_reply": "stop", "cap_spent": "length"}
"""Failures that count as an empty answer of a student, with their finish reason."""


def answers(
    rows: Sequence[Instruction],
    student: Path,
    iteration: str,
    settings: Settings,
    clients: Clients,
    random_seed: int,
    *,
    scored: bool = False,
) -> list[Answer]:
    """Return the answer of the served student to each row, in order.

    `scored` answers have the log probabilities of their tokens, where the server sends them.

    Raises EndpointError where the server does not have this student, ModelError where an answer
    fails.
    """
    served = _served(settings)
    name = served_name(student, iteration)
    schema = answer_schema(settings)
    sampling = {
        "temperature": settings.answering.temperature,
        "max_tokens": settings.answering.max_tokens,
        **({"logprobs": True} if scored else {}),
        **({} if schema is None else {"response_format": response_format(schema)}),
    }
    encoder = student_formatter(student, settings.student)
    requests = [
        # The protocol derives its seed from the sample index, so each row has its own.
        Request(tuple(encoder.turns(row.messages)), sample=int(row.id[:8], 16) + random_seed)
        for row in student_rows(rows, StudentPrompt.read(student))
    ]
    reasons: list[str] = []

    def no_answer(_: int, outcome: Outcome) -> str | None:
        reason = _reason_without_answer(outcome)
        reasons.extend(filter(None, [reason]))
        return reason

    try:
        with clients.open("student", served.endpoint(name, sampling)) as client:
            outcomes = client.complete(requests, DropLimit(0, no_answer, "a served student"))
    except (TooManyDroppedError, EndpointError) as error:
        # `transformers serve` refuses the name of another student with 400, as one request's fault
        if isinstance(error, TooManyDroppedError) and not _refused(reasons):
            raise ModelError(f"the served student has no answer to a row. {error}") from error
        needs = " that sends log probabilities (exam.certify asks for them)" if scored else ""
        raise EndpointError(
            f"{error} The stage needs {name} at {served.base_url}{needs}: run "
            f"`lion serve-student --iteration {iteration}` there, then again."
        ) from error
    return [_answer(*pair, name) for pair in zip(rows, outcomes, strict=True)]


def _served(settings: Settings) -> Served:
    if settings.student.endpoint is None:
        raise ModelError("student.endpoint is null. Name a server there.")
    return settings.student.endpoint


def _reason_without_answer(outcome: Outcome) -> str | None:
    """Return the reason of a failure that is no empty answer."""
    if isinstance(outcome, Failure) and outcome.reason not in _EMPTY:
        return outcome.reason
    return None


def _refused(reasons: Sequence[str]) -> bool:
    """Return whether the server refused requests, rather than answered badly."""
    return any(reason.startswith("http_") for reason in reasons)


def _answer(row: Instruction, outcome: Outcome, name: str) -> Answer:
    if isinstance(outcome, Failure):
        return Answer(row.id, "", _EMPTY[outcome.reason], name)
    scores = None if outcome.scores is None else rounded(outcome.scores)
    return Answer(row.id, outcome.text.strip(), outcome.finish_reason, outcome.model, scores)
