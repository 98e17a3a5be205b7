"""Which reviews are asked for: a sample that favours the uncertain, and the orders left out. Pure.

Reviews are four fifths of the method's calls (Lion: two of every row of the Cache Pool in every
iteration). Most of them say again what is known: a gap far from tau is seen in one order, and of
two answers that are the same word for word the two orders are one and the same request, so that
their mean gap is 0 whatever the judge says.

An answer that has not changed since the iteration before needs no rule here: its request is the
same, and the ledger has the reply.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from lion import pools
from lion.config.settings import ReviewSettings as Settings
from lion.records.rows import ORDERS, Basis, Order, Review, Selection, Verdict, canonical_text

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
    settings: Settings,
    *,
    random_seed: int,
    depth: int,
) -> list[Selection]:
    """Return the responses that get a verdict, in their order; each may come to need more later.

    Two strata: settled are answers that are the teacher's own, and rows whose gap in the iteration
    `before` lay further than `margin` from tau; all others are uncertain. Where `limit` does not
    allow for all, a row's weight is its stratum's size over the number drawn of it.
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
    settings: Settings,
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
    return replace(selection, audited=lot.random() < settings.audit)


def orders(selection: Selection) -> tuple[Order, ...]:
    """Return the orders that a selection, as it stands, is judged in."""
    if selection.basis == "same_answer":
        return ()
    if selection.basis == "one_order" and not selection.audited:
        return (selection.first,)
    return ORDERS


def _basis(alike: bool, settings: Settings) -> Basis:
    """Return what is asked at once; of the same answer both orders, which are one request."""
    return "both_orders" if settings.margin is None or alike else "one_order"


def _near(gap: float, tau: float, settings: Settings) -> bool:
    return settings.margin is None or abs(gap - tau) <= settings.margin


def _settled(row: Verdict, tau: float, settings: Settings) -> bool:
    return row.gap is not None and not _near(row.gap, tau, settings)


def _first(identity: str, random_seed: int) -> Order:
    """Return the order asked first: by lot, or a judge's favour for a place would shift all gaps.

    The same in every iteration, so that an unchanged answer is an unchanged request.
    """
    return pools.rng_for(random_seed=random_seed, purpose=f"order/{identity}", depth=0).choice(
        ORDERS
    )


def _allot(settings: Settings, uncertain: int, settled: int) -> tuple[int, int]:
    """Return how many are drawn of either stratum: at least one of each, where `limit` allows."""
    limit = settings.limit
    if limit is None or limit >= uncertain + settled:
        return uncertain, settled
    favoured = settings.favour * uncertain
    count = round(limit * favoured / (favoured + settled))
    least, most = max(limit - settled, min(1, uncertain)), min(uncertain, limit - min(1, settled))
    count = max(least, min(count, most))
    return count, limit - count
