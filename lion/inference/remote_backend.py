"""The backend of a student behind a server: requests go through the client and the ledger.

The model's name contains a hash of the student's bytes: a server that still has another student
refuses, and the ledger never returns the replies of another student.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lion.config.settings import Served, Settings
from lion.errors import EndpointError, ModelError, TooManyDroppedError
from lion.inference.answer_schema import answer_schema, keeps_to, response_format
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

    Raises EndpointError where the server does not have this student or ignores the schema of
    `answering.form`, ModelError where an answer fails.
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
    faults = _Faults(None if schema is None else keeps_to(schema))
    try:
        with clients.open("student", served.endpoint(name, sampling)) as client:
            outcomes = client.complete(requests, DropLimit(0, faults.reason, "a served student"))
    except (TooManyDroppedError, EndpointError) as error:
        if faults.off_schema is not None:
            raise _ignores_schema(name, served, faults.off_schema) from error
        # `transformers serve` refuses the name of another student with 400, as one request's fault
        if isinstance(error, TooManyDroppedError) and not faults.refused:
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


@dataclass(slots=True)
class _Faults:
    """What is wrong with outcomes, as they come.

    `keeps` tells whether the schema allows a text. `off_schema` is the last answer that the student
    ended itself and the schema does not allow: no server that keeps to it sends any.
    """

    keeps: Callable[[str], bool] | None
    reasons: list[str] = field(default_factory=list)
    off_schema: str | None = None

    @property
    def refused(self) -> bool:
        """Whether the server refused requests, rather than answered badly."""
        return any(reason.startswith("http_") for reason in self.reasons)

    def reason(self, _: int, outcome: Outcome) -> str | None:
        """Return why an outcome is no answer; an empty one of `_EMPTY` is."""
        if isinstance(outcome, Failure):
            if outcome.reason in _EMPTY:
                return None
            self.reasons.append(outcome.reason)
            return outcome.reason
        if self.keeps is None or outcome.ending != "whole" or self.keeps(outcome.text):
            return None
        self.off_schema = outcome.text
        return "off_schema"


def _ignores_schema(name: str, served: Served, text: str) -> EndpointError:
    """Return the error; the ledger's key of a reply has the address, so another one asks again."""
    return EndpointError(
        f"{name} at {served.base_url} answers {text!r:.100}, which the schema does not allow: the "
        "server ignores response_format, as `transformers serve` does, or a part of the schema. "
        "Serve the student by vLLM at another port, and name that in student.endpoint.base_url "
        "(the ledger has this server's answers); or set answering.form: text."
    )


def _answer(row: Instruction, outcome: Outcome, name: str) -> Answer:
    if isinstance(outcome, Failure):
        return Answer(row.id, "", _EMPTY[outcome.reason], name)
    scores = None if outcome.scores is None else rounded(outcome.scores)
    return Answer(row.id, outcome.text.strip(), outcome.finish_reason, outcome.model, scores)
