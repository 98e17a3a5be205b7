"""Every endpoint that params name, and what it is asked for. Pure; asks none."""

from collections.abc import Iterator
from typing import Literal

from lion.config.settings import Endpoint, Generate, NearDuplicates, Settings

ROLES: tuple[Literal["teacher", "referee", "generator"], ...] = ("teacher", "referee", "generator")


def endpoints(settings: Settings) -> Iterator[tuple[str, Endpoint]]:
    """Yield each endpoint under its role's name, or its parameter's."""
    for role in ROLES:
        yield role, getattr(settings, role)
    for place, gate in near_duplicates(settings):
        if gate.endpoint is not None:
            yield f"{place}.endpoint", gate.endpoint
    if settings.calibrate.iterations and settings.calibrate.second is not None:
        yield "calibrate.second", settings.calibrate.second


def near_duplicates(settings: Settings) -> Iterator[tuple[str, NearDuplicates]]:
    """Yield each gate of embeddings that some stage will use, once, under its parameter's name."""
    told: list[NearDuplicates] = []
    for place, filters in generations(settings):
        gate = filters.near_duplicates
        if gate is not None and gate not in told:
            told.append(gate)
            shared = gate == settings.generate.near_duplicates
            yield f"{'generate' if shared else place}.near_duplicates", gate


def generations(settings: Settings) -> Iterator[tuple[str, Generate]]:
    """Yield the filters of every stage that makes instructions, under their parameter's name."""
    for name in settings.bootstrap:
        yield f"bootstrap.{name}.generate", settings.bootstrap_filters(name)
    for name in settings.iterations:
        yield f"iterations.{name}.generate", settings.generate_at(name)
