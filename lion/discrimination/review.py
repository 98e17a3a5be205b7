"""Discrimination: which responses are reviewed, in which orders, and the review.

Or, where the likelihood judges, the signal of each row, and the reviews of those audited.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from lion import pools
from lion.config.settings import ReviewSettings, Settings
from lion.discrimination import judge_reliability, likelihood, pairwise, verdicts
from lion.discrimination.pairwise import Pair
from lion.failure_limit import check_dropped
from lion.llm.protocols import Client, Clients
from lion.metrics.judging import CalibrationMetrics, LikelihoodMetrics
from lion.metrics.units import RoleUsage
from lion.prompting.templates import Prompts
from lion.records.rows import (
    ORDERS,
    Answer,
    Basis,
    Dropped,
    Instruction,
    Likelihood,
    Order,
    Review,
    Selection,
    Verdict,
    canonical_text,
)

Response = tuple[str, bool]  # its instruction's id, and whether it is the teacher's own answer


def same(teacher: str, student: str) -> bool:
    """Tell whether two answers are the same but for outer white space."""
    return canonical_text(teacher) == canonical_text(student)


def everything(responses: Iterable[Response]) -> list[Selection]:
    """Return what is judged where judging is free: all, in both orders."""
    return [Selection(identity, "both_orders", ORDERS[0]) for identity, _ in responses]


def select(
    responses: Sequence[Response],
    before: Iterable[Verdict],
    tau: float,
    settings: ReviewSettings,
    *,
    random_seed: int,
    depth: int,
) -> list[Selection]:
    """Return the responses that get a verdict, in their order; each may come to need more later.

    Two strata: settled are answers that are the teacher's own, and rows whose gap in the iteration
    `before` lay further than `second_order_margin` from tau; all others are uncertain. Where
    `limit` does not allow for all, a row weighs its stratum's size over the number drawn of it.
    """
    skipped = {
        identity for identity, alike in responses if alike and settings.same_answer == "skip"
    }
    far_from_tau = {row.id for row in before if _settled(row, tau, settings)}
    strata: dict[bool, list[str]] = {False: [], True: []}
    for identity, alike in responses:
        if identity not in skipped:
            strata[alike or identity in far_from_tau].append(identity)
    counts = _allot(settings, len(strata[False]), len(strata[True]))
    rng = pools.rng_for(random_seed=random_seed, purpose="review", depth=depth)
    weights = {
        identity: len(stratum) / count
        for stratum, count in zip(strata.values(), counts, strict=True)
        for identity in pools.sample(stratum, count, rng)
    }
    return [
        Selection(
            identity,
            "same_answer" if identity in skipped else _basis(alike, settings),
            _first(identity, random_seed),
            weight=weights.get(identity, 1.0),
        )
        for identity, alike in responses
        if identity in weights or identity in skipped
    ]


def settle(
    selection: Selection,
    first: Review,
    tau: float,
    settings: ReviewSettings,
    *,
    random_seed: int,
    depth: int,
) -> Selection:
    """Return the selection as the review of its first order leaves it.

    Near tau both orders decide. Elsewhere one does, and an audit asks for the other by lot. A first
    review without scores asks for nothing more: its row is undecided.
    """
    if selection.basis != "one_order" or first.gap is None:
        return selection
    if _near(first.gap, tau, settings):
        return replace(selection, basis="both_orders")
    lot = pools.rng_for(random_seed=random_seed, purpose=f"audit/{selection.id}", depth=depth)
    return replace(selection, audited=lot.random() < settings.audit_rate)


def orders(selection: Selection) -> tuple[Order, ...]:
    """Return the orders that a selection, as it stands, is judged in."""
    if selection.basis == "same_answer":
        return ()
    if selection.basis == "one_order" and not selection.audited:
        return (selection.first,)
    return ORDERS


def _basis(alike: bool, settings: ReviewSettings) -> Basis:
    """Return what is asked at once; of the same answer both orders, which are one request."""
    return "both_orders" if settings.second_order_margin is None or alike else "one_order"


def _near(gap: float, tau: float, settings: ReviewSettings) -> bool:
    return settings.second_order_margin is None or abs(gap - tau) <= settings.second_order_margin


def _settled(row: Verdict, tau: float, settings: ReviewSettings) -> bool:
    return row.gap is not None and not _near(row.gap, tau, settings)


def _first(identity: str, random_seed: int) -> Order:
    """Return the order asked first: by lot, or a judge's favour for a place would shift all gaps.

    The same in every iteration, so that an unchanged answer is an unchanged request.
    """
    return pools.rng_for(random_seed=random_seed, purpose=f"order/{identity}", depth=0).choice(
        ORDERS
    )


def _allot(settings: ReviewSettings, uncertain: int, settled: int) -> tuple[int, int]:
    """Return how many are drawn of either stratum: at least one of each, where `limit` allows."""
    limit = settings.limit
    if limit is None or limit >= uncertain + settled:
        return uncertain, settled
    favoured = settings.uncertain_weight * uncertain
    count = round(limit * favoured / (favoured + settled))
    least, most = max(limit - settled, min(1, uncertain)), min(uncertain, limit - min(1, settled))
    count = max(least, min(count, most))
    return count, limit - count


_Reviews = dict[tuple[str, Order], list[Review]]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The reviews of an iteration's responses.

    `selections` has a row per response that gets a verdict, `reviews` the reviews that these need.
    `dropped` are the reviews without scores; `referee` counts what the referee was asked, and
    `reliability` says what the reviews tell of their judge. `likelihood` is None where it did not
    judge.
    """

    responses: int
    selections: list[Selection]
    reviews: list[Review]
    dropped: list[Dropped]
    referee: RoleUsage | None
    reliability: CalibrationMetrics
    likelihood: LikelihoodMetrics | None = None


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
        selections = everything(_compared(pairs))
        reviews = pairwise.by_scorer(pairs, settings.exam.scorer)
    else:
        with clients.open("referee", settings.referee) as client:
            judge = _Judge(client, templates, settings, depth)
            selections, reviews = judge.review(pairs, before)
            referee = client.usage.versioned()
    dropped = pairwise.dropped(reviews, "review")
    check_dropped(dropped, settings.review.max_dropped, len(reviews), "review.max_dropped")
    reliability = _reliability(pairs, reviews)
    return Reviewed(len(pairs), selections, reviews, dropped, referee, reliability)


def review_by_likelihood(
    cache: Sequence[Instruction],
    rows: Sequence[Likelihood],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> Reviewed:
    """Return the signal of each row of the Cache Pool as its selection; no call but for audits.

    The referee judges the audited rows in both orders. Raises TooManyDroppedError where more than
    `review.max_dropped` of the rows have no likelihood, or of the reviews no scores.
    """
    by_id = {row.id: row for row in cache}
    pairs = [pairwise.pair(by_id[answer.id], answer) for answer in likelihood.audited_answers(rows)]
    missing = likelihood.without_number(rows)
    check_dropped(missing, settings.review.max_dropped, len(rows), "review.max_dropped")
    reviews, referee = _audit(pairs, settings, clients, templates) if pairs else ([], None)
    dropped = pairwise.dropped(reviews, "review")
    check_dropped(dropped, settings.review.max_dropped, len(reviews), "review.max_dropped")
    return Reviewed(
        responses=len(rows),
        selections=likelihood.ranked_answers(rows, settings.review),
        reviews=reviews,
        dropped=missing + dropped,
        referee=referee,
        reliability=_reliability(pairs, reviews),
        likelihood=likelihood.likelihood_metrics(rows),
    )


def nothing_reviewed() -> Reviewed:
    """Return what is reviewed where no one reads verdicts."""
    return Reviewed(0, [], [], [], None, _reliability([], []))


def _audit(
    pairs: Sequence[Pair], settings: Settings, clients: Clients, templates: Prompts
) -> tuple[list[Review], RoleUsage]:
    """Return the referee's reviews of `pairs` in both orders, and what asking needed."""
    rules = settings.review
    with clients.open("referee", settings.referee) as client:
        reviews = pairwise.ask(
            client,
            pairwise.in_both_orders(pairs),
            templates,
            settings.referee.form,
            pairwise.ReviewLimit(rules.max_dropped, "review.max_dropped"),
            rules.samples,
        )
        return reviews, client.usage.versioned()


def _reliability(pairs: Sequence[Pair], reviews: Sequence[Review]) -> CalibrationMetrics:
    longer = {pair.id: len(pair.teacher) - len(pair.student.text) for pair in pairs}
    alike = {identity for identity, identical in _compared(pairs) if identical}
    return judge_reliability.figures(reviews, longer, alike)


def _compared(pairs: Sequence[Pair]) -> list[Response]:
    return [(pair.id, same(pair.teacher, pair.student.text)) for pair in pairs]


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
        drawn = select(
            _compared(pairs),
            before,
            self.settings.split.tau,
            self.settings.review,
            random_seed=self.settings.random_seed,
            depth=self.depth,
        )
        at_once = [(by_id[row.id], order) for row in drawn for order in orders(row)]
        reviews = self._ask(at_once, {})
        selections = [self._settled(row, reviews) for row in drawn]
        wanted = [(row.id, order) for row in selections for order in orders(row)]
        later = [(by_id[id], order) for id, order in wanted if (id, order) not in reviews]
        reviews |= self._ask(later, reviews)
        return selections, [row for key in wanted for row in reviews[key]]

    def _ask(self, wanted: Sequence[tuple[Pair, Order]], before: _Reviews) -> _Reviews:
        """Return the samples of each review that is wanted, by id and order.

        Those without scores in `before` count against `review.max_dropped`, too.
        """
        rules = self.settings.review
        earlier = [row for rows in before.values() for row in rows]
        keyed: _Reviews = {}
        for row in pairwise.ask(
            self.client,
            wanted,
            self.templates,
            self.settings.referee.form,
            pairwise.ReviewLimit(rules.max_dropped, "review.max_dropped", earlier),
            rules.samples,
        ):
            keyed.setdefault((row.id, row.order), []).append(row)
        return keyed

    def _settled(self, row: Selection, reviews: _Reviews) -> Selection:
        if row.basis != "one_order":
            return row
        first = verdicts.pooled(reviews[row.id, row.first])[0]
        return settle(
            row,
            first,
            self.settings.split.tau,
            self.settings.review,
            random_seed=self.settings.random_seed,
            depth=self.depth,
        )
