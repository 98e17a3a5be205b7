"""What would stop a run in its endpoints: keys, roles, filters, prices. Asks none of them."""

import os
from collections.abc import Iterator

from lion.config import project
from lion.config.endpoints import ROLES, endpoints, generations, near_duplicates
from lion.config.settings import EMBEDDED, Settings
from lion.errors import BudgetError
from lion.generation.filters.near_duplicates import encoder_problems
from lion.llm.budget import Purse
from lion.llm.ledger import cap
from lion.llm.prices import Prices


def key_problems(settings: Settings) -> Iterator[str]:
    """Look for the keys of all endpoints in the environment."""
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
    """Refuse the embedded teacher for real text: it knows its own twenty families alone."""
    for role in ROLES:
        batch = getattr(settings.api.mode, role) == "batch"
        if batch and getattr(settings, role).base_url == EMBEDDED:
            yield (
                f"api.mode.{role}: the embedded teacher answers at once and for nothing, so it "
                "has no Batch API. Set live."
            )
    if settings.seed.source == EMBEDDED:
        return
    for role in ROLES:
        if getattr(settings, role).base_url == EMBEDDED:
            yield (
                f"{role}.base_url: the embedded teacher understands its own tasks only, and "
                "seed.source names files. Name an endpoint, or set seed.source: embedded."
            )


def filter_problems(settings: Settings) -> Iterator[str]:
    """Look whether embeddings and safety, where params ask for them, have what they need."""
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
    """Ask, for each role, what the first call will ask: the most that a call can cost."""
    prices = Prices.load(project.PRICES)
    told = set()
    for _, endpoint in endpoints(settings):
        try:
            Purse(endpoint, prices, cap(settings.budget)).most(b"")
        except BudgetError as error:
            told.add(str(error))
    yield from sorted(told)
