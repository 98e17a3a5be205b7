"""Pairs of answers before a judge: the referee behind its endpoint, or a scorer that can verify.

Used on the Cache Pool (discrimination) and on the exam (quality). What a review comes to is
`discrimination`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from lion.config.settings import Scorer
from lion.conversations import transcript
from lion.discrimination import scorers
from lion.errors import DataError
from lion.failure_limit import allowed_failures
from lion.llm.protocols import Client
from lion.llm.request_set import DropLimit
from lion.prompting import judge
from lion.prompting.protocol import Outcome
from lion.prompting.templates import Prompts
from lion.records.rows import ORDERS, Answer, Dropped, Instruction, Order, Review


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


def in_both_orders(pairs: Sequence[Pair]) -> list[tuple[Pair, Order]]:
    """Return each pair in both orders, in the order of the pairs."""
    return [(pair_, order) for pair_ in pairs for order in ORDERS]


@dataclass(frozen=True, slots=True)
class ReviewLimit:
    """The share of reviews that may have no scores, 0 to 1; `parameter` is its name in params.yaml.

    `before` are reviews that count as well.
    """

    share: float
    parameter: str
    before: Sequence[Review] = ()

    def allowed(self, count: int) -> int:
        """Return how many of `count` further reviews may have no scores."""
        unscored = sum(row.reason is not None for row in self.before)
        return max(0, allowed_failures(self.share, len(self.before) + count) - unscored)


def ask(
    client: Client,
    wanted: Sequence[tuple[Pair, Order]],
    templates: Prompts,
    form: judge.Form,
    limit: ReviewLimit,
    samples: int = 1,
) -> list[Review]:
    """Return `samples` reviews per pair and order, in their order.

    Raises TooManyDroppedError as soon as more reviews have no scores than `limit` allows.
    """
    numbered = [(*each, sample) for each in wanted for sample in range(samples)]
    requests = [
        judge.review_request(
            pair.question, pair.teacher, pair.student.text, order, templates, form, sample
        )
        for pair, order, sample in numbered
    ]

    def parsed(index: int, outcome: Outcome) -> Review:
        pair, order, sample = numbered[index]
        shown = (pair.teacher, pair.student.text)
        return replace(judge.parse_review(pair.id, order, outcome, shown, form), sample=sample)

    outcomes = client.complete(
        requests,
        DropLimit(
            limit.allowed(len(requests)),
            lambda index, outcome: parsed(index, outcome).reason,
            limit.parameter,
        ),
    )
    return [parsed(index, outcome) for index, outcome in enumerate(outcomes)]


def by_scorer(pairs: Sequence[Pair], scorer: Scorer) -> list[Review]:
    """Return two equal reviews per pair, as the scorer marks the student's answer."""
    reviews = []
    for pair in pairs:
        student, teacher = (
            scorers.score(text, pair.expected, scorer, pair.id).correct
            for text in (pair.student.text, pair.teacher)
        )
        reviews += judge.verified(pair.id, teacher, student, scorer.kind)
    return reviews


def dropped(reviews: Sequence[Review], stage: str) -> list[Dropped]:
    """Return the reviews without scores as what `stage` drops."""
    return [
        Dropped(stage, row.reason, id=row.id, text=row.evidence, detail=row.order)
        for row in reviews
        if row.reason is not None
    ]
