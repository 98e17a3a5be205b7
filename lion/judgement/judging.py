"""Pairs of answers before a judge: the referee behind its endpoint, or a scorer that can verify.

Used on the Cache Pool (discrimination) and on the exam (quality). What a review comes to is
`discrimination`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lion import project, prompts
from lion.errors import DataError
from lion.judgement import referee, scorers
from lion.metrics.units import RoleUsage
from lion.model.chat import transcript
from lion.records import ORDERS, Answer, Dropped, Instruction, Order, Review
from lion.settings import Referee, Scorer
from lion.stage import Work, allowed_failures

if TYPE_CHECKING:
    from lion.asking.api import Asker


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction; `expected` is what a scorer compares with."""

    id: str
    question: str
    teacher: str
    student: Answer
    expected: str


def pair(instruction: Instruction, response: Answer) -> Pair:
    """Return the pair of a Cache Pool row. Raises DataError where it has no teacher's answer."""
    if instruction.answer is None:
        raise DataError(f"{instruction.id}: no teacher's answer in the Cache Pool")
    teacher = instruction.answer.text
    expected = teacher if instruction.expected is None else instruction.expected
    return Pair(instruction.id, transcript(instruction.messages), teacher, response, expected)


def by_referee(
    work: Work, pairs: Sequence[Pair], max_dropped: float, second: Referee | None = None
) -> tuple[list[Review], RoleUsage]:
    """Return two reviews per pair, in the order of the pairs, and what asking for them needed.

    By the referee of params, or by a `second` one.
    """
    role, endpoint = ("second", second) if second else ("referee", work.settings.referee)
    with work.asker(role, endpoint) as asker:
        reviews = ask(asker, [(one, order) for one in pairs for order in ORDERS], max_dropped)
        return reviews, asker.account.versioned()


def ask(
    asker: Asker,
    wanted: Sequence[tuple[Pair, Order]],
    max_dropped: float,
    form: referee.Form | None = None,
    samples: int = 1,
) -> list[Review]:
    """Return `samples` reviews per pair and order, in their order; `form` None: the referee's."""
    templates = prompts.load(project.PROMPTS / "referee", "referee")
    if form is None:
        form = asker.endpoint.form if isinstance(asker.endpoint, Referee) else "text"
    numbered = [(*each, sample) for each in wanted for sample in range(samples)]
    requests = [
        referee.request(one.question, one.teacher, one.student.text, order, templates, form, sample)
        for one, order, sample in numbered
    ]
    outcomes = asker.ask(requests, max_failed=allowed_failures(max_dropped, len(requests)))
    return [
        replace(
            referee.review(one.id, order, outcome, (one.teacher, one.student.text), form),
            sample=sample,
        )
        for (one, order, sample), outcome in zip(numbered, outcomes, strict=True)
    ]


def by_scorer(pairs: Sequence[Pair], scorer: Scorer) -> list[Review]:
    """Return two equal reviews per pair, as the scorer marks the student's answer."""
    reviews = []
    for one in pairs:
        student, teacher = (
            scorers.score(text, one.expected, scorer, one.id).correct
            for text in (one.student.text, one.teacher)
        )
        reviews += referee.verified(one.id, teacher, student, scorer.kind)
    return reviews


def dropped(reviews: Sequence[Review], stage: str) -> list[Dropped]:
    """Return the reviews without scores as what `stage` drops."""
    return [
        Dropped(stage, row.reason, id=row.id, text=row.evidence, detail=row.order)
        for row in reviews
        if row.reason is not None
    ]
