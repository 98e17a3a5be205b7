"""Problems of the endpoints: keys, roles, filters and prices, and whether each answers today.

Only `probe_endpoints` sends requests: one short, paid question for each endpoint.
"""

import os
from collections.abc import Iterator

from lion.config import project
from lion.config.settings import (
    EMBEDDED,
    ROLES,
    Endpoint,
    Referee,
    Settings,
    endpoints,
    generations,
    near_duplicates,
)
from lion.errors import BudgetError, LionError
from lion.generation.filters.near_duplicates import encoder_problems
from lion.llm.budget import CostEstimator
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger, budget_cap
from lion.llm.prices import Prices
from lion.prompting import judge_parser
from lion.prompting.protocol import Failure, Outcome, Reply, Request
from lion.records.rows import Message


def key_problems(settings: Settings) -> Iterator[str]:
    """Yield the API keys that are missing in the environment."""
    missing: dict[str, list[str]] = {}
    for role, endpoint in endpoints(settings):
        name = endpoint.api_key_env
        if endpoint.base_url != EMBEDDED and name is not None and not os.environ.get(name):
            missing.setdefault(name, []).append(role)
    for name, roles in missing.items():
        yield (
            f"{', '.join(roles)}: no key. Set the environment variable {name}, or "
            "`api_key_env: null` for a server that wants none."
        )


def role_problems(settings: Settings) -> Iterator[str]:
    """Yield the roles for which the embedded teacher cannot be used."""
    for role, name, endpoint in _roles(settings):
        if getattr(settings.api.mode, role) == "batch" and endpoint.base_url == EMBEDDED:
            where = f"api.mode.{role}" if name == role else f"api.mode.{role}, {name}"
            yield (
                f"{where}: the embedded teacher answers at once and for nothing, so it "
                "has no Batch API. Set live."
            )
    if settings.seed.simulated:
        return
    for _, name, endpoint in _roles(settings):
        if endpoint.base_url == EMBEDDED:
            yield (
                f"{name}.base_url: the embedded teacher understands its own tasks only, and "
                "seed.source names files. Name an endpoint, or set seed.source: embedded."
            )


def _roles(settings: Settings) -> Iterator[tuple[str, str, Endpoint]]:
    """Yield (role, parameter, endpoint) of the roles, and of evaluation's own referee."""
    yield from ((role, role, getattr(settings, role)) for role in ROLES)
    if settings.evaluate.referee is not None:
        yield "referee", "evaluate.referee", settings.evaluate.referee


def filter_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the filters by embeddings and by safety: what they need and do not have."""
    for place, gate in near_duplicates(settings):
        yield from encoder_problems(place, gate)
    for place, filters in generations(settings):
        if filters.safety and settings.referee.base_url == EMBEDDED:
            yield (
                f"{place}.safety: the embedded referee knows nothing of safety. Name an endpoint "
                "as referee, or set generate.safety: false."
            )
            return


def budget_problems(settings: Settings) -> Iterator[str]:
    """Yield the roles whose first call may exceed the budget."""
    prices = Prices.load(project.PRICES)
    problems = set()
    for _, endpoint in endpoints(settings):
        try:
            CostEstimator(endpoint, prices, budget_cap(settings.budget)).upper_bound(b"")
        except BudgetError as error:
            problems.add(str(error))
    yield from sorted(problems)


_PROBE: Message = {"role": "user", "content": "Reply with the word: ready"}


def probe_endpoints(settings: Settings) -> list[str]:
    """Send one short question to each distinct endpoint; return the failures, one per line.

    The ledger is bypassed, since its replies say nothing about today: one paid call each.
    """
    problems: list[str] = []
    probed: list[tuple[str, str, Request]] = []
    with Ledger(project.ledger()) as ledger:
        for role, endpoint in endpoints(settings):
            question = _question(endpoint)
            plain = endpoint.model_dump_json(include=set(Endpoint.model_fields))
            distinct = plain, endpoint.path, question
            if distinct in probed:
                continue
            probed.append(distinct)
            try:
                with LLMClient(endpoint, settings.api, ledger, settings.random_seed) as client:
                    outcome = client.probe(question)
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
    """Yield the roles set to batch whose endpoint has no Batch API. Costs nothing."""
    for role, name, endpoint in _roles(settings):
        if getattr(settings.api.mode, role) == "batch":
            try:
                with LLMClient(endpoint, settings.api, ledger, settings.random_seed) as client:
                    client.check_batch_api()
            except LionError as error:
                yield f"{name}: {error}"


def _explained(role: str, endpoint: Endpoint, failure: Failure) -> str:
    where = f"{role}: {endpoint.model} at {endpoint.base_url}"
    if failure.reason == "cap_spent":
        return (
            f"{where}: the reply is empty, the token cap was spent (hidden reasoning?). "
            f"Raise the cap in {role}.request, or lower its reasoning effort."
        )
    return f"{where}: {failure.reason}: {failure.detail}. Is the server up, and base_url right?"
