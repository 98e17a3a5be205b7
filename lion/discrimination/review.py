"""The phase `review`: teacher's answers and student's responses before a judge.

The judge is the referee, in both orders or as `review` in params says, or the exam's scorer where
that can verify. Writes no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lion.config.settings import Settings
from lion.discrimination import judge_reliability, pairwise, review_sampling, verdicts
from lion.discrimination.pairwise import Pair
from lion.failure_limit import check_dropped
from lion.llm.protocols import Client, Clients
from lion.metrics.judging import CalibrationMetrics
from lion.metrics.units import RoleUsage
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction, Order, Review, Selection, Verdict

_Reviews = dict[tuple[str, Order], list[Review]]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The reviews of an iteration's responses.

    `selections` has a row per response that gets a verdict, `reviews` the reviews that these need.
    `dropped` are the reviews without scores; `referee` counts what the referee was asked, and
    `reliability` says what the reviews tell of their judge.
    """

    responses: int
    selections: list[Selection]
    reviews: list[Review]
    dropped: list[Dropped]
    referee: RoleUsage | None
    reliability: CalibrationMetrics


def review(
    cache: Sequence[Instruction],
    responses: Sequence[Answer],
    before: Sequence[Verdict],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
    *,
    depth: int,
) -> Reviewed:
    """Return the reviews of `responses` to rows of the Cache Pool.

    `before` are the verdicts of the iteration before, `templates` the referee's prompts. Raises
    TooManyDroppedError where more than `review.max_dropped` of the reviews have no scores.
    """
    by_id = {row.id: row for row in cache}
    pairs = [pairwise.pair(by_id[response.id], response) for response in responses]
    referee: RoleUsage | None = None
    if settings.review.judge == "scorer":
        selections = review_sampling.everything(_compared(pairs))
        reviews = pairwise.by_scorer(pairs, settings.exam.scorer)
    else:
        with clients.open("referee", settings.referee) as client:
            judge = _Judge(client, templates, settings, depth)
            selections, reviews = judge.review(pairs, before)
            referee = client.account.versioned()
    dropped = pairwise.dropped(reviews, "review")
    check_dropped(dropped, settings.review.max_dropped, len(reviews), "review.max_dropped")
    longer = {pair.id: len(pair.teacher) - len(pair.student.text) for pair in pairs}
    alike = {identity for identity, same in _compared(pairs) if same}
    reliability = judge_reliability.figures(reviews, longer, alike)
    return Reviewed(len(pairs), selections, reviews, dropped, referee, reliability)


def _compared(pairs: Sequence[Pair]) -> list[review_sampling.Response]:
    return [(pair.id, review_sampling.same(pair.teacher, pair.student.text)) for pair in pairs]


@dataclass(frozen=True, slots=True)
class _Judge:
    """The referee of one iteration."""

    client: Client
    templates: Prompts
    settings: Settings
    depth: int

    def review(
        self, pairs: Sequence[Pair], before: Sequence[Verdict]
    ) -> tuple[list[Selection], list[Review]]:
        """Ask for what is needed at once, then for the orders that the first reviews call for."""
        by_id = {pair.id: pair for pair in pairs}
        drawn = review_sampling.select(
            _compared(pairs),
            before,
            self.settings.split.tau,
            self.settings.review,
            random_seed=self.settings.random_seed,
            depth=self.depth,
        )
        at_once = [(by_id[row.id], order) for row in drawn for order in review_sampling.orders(row)]
        reviews = self._ask(at_once)
        selections = [self._settled(row, reviews) for row in drawn]
        wanted = [(row.id, order) for row in selections for order in review_sampling.orders(row)]
        later = [(by_id[id], order) for id, order in wanted if (id, order) not in reviews]
        reviews |= self._ask(later)
        return selections, [row for key in wanted for row in reviews[key]]

    def _ask(self, wanted: Sequence[tuple[Pair, Order]]) -> _Reviews:
        """Return the samples of each review that is wanted, by id and order."""
        rules = self.settings.review
        keyed: _Reviews = {}
        for row in pairwise.ask(
            self.client,
            wanted,
            self.templates,
            self.settings.referee.form,
            rules.max_dropped,
            rules.samples,
        ):
            keyed.setdefault((row.id, row.order), []).append(row)
        return keyed

    def _settled(self, row: Selection, reviews: _Reviews) -> Selection:
        if row.basis != "one_order":
            return row
        first = verdicts.pooled(reviews[row.id, row.first])[0]
        return review_sampling.settle(
            row,
            first,
            self.settings.split.tau,
            self.settings.review,
            random_seed=self.settings.random_seed,
            depth=self.depth,
        )
