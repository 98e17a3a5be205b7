"""Problems of the endpoints that need no request: keys, roles, filters and prices."""

import os
from collections.abc import Iterator

from lion.config import project
from lion.config.settings import (
    EMBEDDED,
    ROLES,
    Endpoint,
    Settings,
    endpoints,
    generations,
    near_duplicates,
)
from lion.errors import BudgetError
from lion.generation.filters.near_duplicates import encoder_problems
from lion.llm.budget import CostEstimator
from lion.llm.caps import budget_cap
from lion.llm.prices import Prices


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
    for role, name, endpoint in role_endpoints(settings):
        if getattr(settings.api.mode, role) == "batch" and endpoint.base_url == EMBEDDED:
            where = f"api.mode.{role}" if name == role else f"api.mode.{role}, {name}"
            yield (
                f"{where}: the embedded teacher answers at once and for nothing, so it "
                "has no Batch API. Set live."
            )
    if settings.seed.simulated:
        return
    for _, name, endpoint in role_endpoints(settings):
        if endpoint.base_url == EMBEDDED:
            yield (
                f"{name}.base_url: the embedded teacher understands its own tasks only, and "
                "seed.source names files. Name an endpoint, or set seed.source: embedded."
            )


def role_endpoints(settings: Settings) -> Iterator[tuple[str, str, Endpoint]]:
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
