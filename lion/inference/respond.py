"""The phase `respond`: the student answers the Cache Pool, or a sample of it.

Where the likelihood judges, its answers are not needed: it scores the teacher's instead.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from lion import pools
from lion.config.settings import Settings
from lion.inference.respondent import Respondent
from lion.records.rows import Answer, Instruction, Likelihood


def respond(
    cache: Sequence[Instruction], respondent: Respondent, settings: Settings, *, depth: int
) -> list[Answer]:
    """Return the responses to the sample of the Cache Pool that is drawn for iteration `depth`."""
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="respond", depth=depth)
    drawn = pools.sample(cache, settings.respond.limit, rng)
    return respondent.respond(drawn, settings.random_seed + depth)


def score_answers(
    cache: Sequence[Instruction], respondent: Respondent, settings: Settings, *, depth: int
) -> list[Likelihood]:
    """Return the likelihood of each of the teacher's answers in the Cache Pool.

    The `review.audited_rows` that are drawn for the audit also have the student's own answer.
    """
    rules = settings.review
    rows = respondent.likelihoods(cache, unprompted=rules.ifd)
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="audit", depth=depth)
    audited = pools.sample(cache, rules.audited_rows, rng)
    answers = respondent.respond(audited, settings.random_seed + depth)
    responses = {answer.id: answer.inside for answer in answers}
    return [replace(row, response=responses.get(row.id)) for row in rows]
