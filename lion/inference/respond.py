"""The phase `respond`: the student answers the Cache Pool, or a sample of it."""

from collections.abc import Sequence

from lion import pools
from lion.config.settings import Settings
from lion.inference.respondent import Respondent
from lion.records.rows import Answer, Instruction


def respond(
    cache: Sequence[Instruction], respondent: Respondent, settings: Settings, *, depth: int
) -> list[Answer]:
    """Return the responses to the sample of the Cache Pool that is drawn for iteration `depth`."""
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="respond", depth=depth)
    drawn = pools.sample(cache, settings.respond.limit, rng)
    return respondent.respond(drawn, settings.random_seed + depth)
