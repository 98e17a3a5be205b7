"""Whether every endpoint answers today: one short question each, which is a paid call."""

from collections.abc import Iterator

from lion.config import project
from lion.config.settings import ROLES, Endpoint, Referee, Settings, endpoints
from lion.errors import LionError
from lion.llm.client import Asker
from lion.llm.ledger import Ledger
from lion.prompting import judge_parser
from lion.prompting.protocol import Failure, Outcome, Reply, Request
from lion.records.rows import Message

_PROBE: Message = {"role": "user", "content": "Reply with the word: ready"}


def probe_endpoints(settings: Settings) -> list[str]:
    """Ask each distinct endpoint one short question, with the role's own `request`; say what fails.

    Past the ledger, since the question is whether the endpoint answers today: one paid call each.
    """
    problems: list[str] = []
    asked: list[tuple[str, str, Request]] = []
    with Ledger(project.ledger()) as ledger:
        for role, endpoint in endpoints(settings):
            question = _question(endpoint)
            plain = endpoint.model_dump_json(include=set(Endpoint.model_fields))
            distinct = plain, endpoint.path, question
            if distinct in asked:
                continue
            asked.append(distinct)
            try:
                with Asker(endpoint, settings.api, ledger, settings.random_seed) as asker:
                    outcome = asker.probe(question)
            except LionError as error:
                problems.append(f"{role}: {error}")
            else:
                problems += _problems_of(outcome, question, role, endpoint)
        return problems or list(_batch_problems(settings, ledger))


def _question(endpoint: Endpoint) -> Request:
    schema = isinstance(endpoint, Referee) and endpoint.form == "schema"
    return Request((_PROBE,), response_format=judge_parser.SCHEMA if schema else None)


def _problems_of(
    outcome: Outcome, question: Request, role: str, endpoint: Endpoint
) -> Iterator[str]:
    if isinstance(outcome, Failure) and outcome.reason != "content_filter":
        yield _explained(role, endpoint, outcome)
    elif question.response_format and isinstance(outcome, Reply) and not _keeps_to_schema(outcome):
        yield (
            f"{role}: {endpoint.model} at {endpoint.base_url} does not keep to the JSON schema "
            f"that it was sent. Set {role}.form: text."
        )


def _keeps_to_schema(reply: Reply) -> bool:
    return isinstance(judge_parser.from_json(reply.text), tuple)


def _batch_problems(settings: Settings, ledger: Ledger) -> Iterator[str]:
    """Look whether there is a Batch API where one is to be used; that costs nothing."""
    for role in ROLES:
        if getattr(settings.api.mode, role) == "batch":
            try:
                endpoint = getattr(settings, role)
                with Asker(endpoint, settings.api, ledger, settings.random_seed) as asker:
                    asker.look_for_batches()
            except LionError as error:
                yield f"{role}: {error}"


def _explained(role: str, endpoint: Endpoint, failure: Failure) -> str:
    where = f"{role}: {endpoint.model} at {endpoint.base_url}"
    if failure.reason == "cap_spent":
        return (
            f"{where}: the reply is empty, the token cap was spent (hidden reasoning?). "
            f"Raise the cap in {role}.request, or lower its reasoning effort."
        )
    return f"{where}: {failure.reason}: {failure.detail}. Is the server up, and base_url right?"
