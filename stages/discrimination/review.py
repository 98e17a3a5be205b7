"""review: teacher and student side by side before the referee, in both orders or as params say.

Where a scorer can verify, it may stand in the referee's place: `review.judge: scorer`, free, exact.
"""

from collections.abc import Sequence

from lion import jsonl, stage
from lion.judgement import calibration, discrimination, frugal, judging
from lion.judgement.judging import Pair
from lion.metrics.judging import ReviewMetrics
from lion.metrics.units import RoleUsage
from lion.records import Answer, Instruction, Order, Review, Selection, Verdict, reasons

_Found = dict[tuple[str, Order], list[Review]]


def review(work: stage.Work) -> str:
    """Write selection.jsonl, a row per response that gets a verdict, and the reviews they need.

    And what the reviews tell of their referee.
    """
    settings = work.settings
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction)
    responses = jsonl.read(work.data("responses.jsonl"), Answer)
    by_id = {row.id: row for row in cache}
    pairs = [judging.pair(by_id[response.id], response) for response in responses]
    used: RoleUsage | None = None
    if settings.review.judge == "scorer":
        selected = frugal.everything(_compared(pairs))
        reviews = judging.by_scorer(pairs, settings.exam.scorer)
    else:
        selected, reviews, used = _by_referee(work, pairs)
    dropped = judging.dropped(reviews, "review")
    share = settings.review.max_dropped
    stage.check_dropped(dropped, share, len(reviews), "review.max_dropped")
    jsonl.write(work.data("reviews.jsonl"), reviews)
    jsonl.write(work.data("selection.jsonl"), selected)
    work.write_dropped(dropped)
    work.write_metrics(
        ReviewMetrics(
            responses=len(pairs),
            judged=len(selected),
            reviews=len(reviews),
            dropped=reasons(dropped),
            referee=used,
        )
    )
    longer = {one.id: len(one.teacher) - len(one.student.text) for one in pairs}
    alike = {identity for identity, same in _compared(pairs) if same}
    trusted = calibration.figures(reviews, longer, alike)
    work.write_metrics(trusted)
    return (
        f"{len(reviews):,} reviews for {len(selected):,} of {len(pairs):,} responses, "
        f"{len(dropped):,} without scores"
    )


def _compared(pairs: Sequence[Pair]) -> list[frugal.Response]:
    return [(one.id, frugal.same(one.teacher, one.student.text)) for one in pairs]


def _by_referee(
    work: stage.Work, pairs: Sequence[Pair]
) -> tuple[list[Selection], list[Review], RoleUsage]:
    """Ask for what is needed at once, then for the orders that the first reviews call for."""
    settings, seed = work.settings, work.settings.random_seed
    rules, tau, share = settings.review, settings.split.tau, settings.review.max_dropped
    before = jsonl.read(work.before("verdicts.jsonl"), Verdict)
    by_id = {one.id: one for one in pairs}
    drawn = frugal.select(_compared(pairs), before, tau, rules, random_seed=seed, depth=work.depth)
    at_once = [(by_id[row.id], order) for row in drawn for order in frugal.orders(row)]
    with work.asker("referee", settings.referee) as asker:
        found = _keyed(judging.ask(asker, at_once, share, samples=rules.samples))
        selected = [
            frugal.settle(row, _first(found, row), tau, rules, random_seed=seed, depth=work.depth)
            if row.basis == "one_order"
            else row
            for row in drawn
        ]
        wanted = [(row.id, order) for row in selected for order in frugal.orders(row)]
        later = [(by_id[id], order) for id, order in wanted if (id, order) not in found]
        found |= _keyed(judging.ask(asker, later, share, samples=rules.samples))
        used = asker.account.versioned()
    return selected, [review for key in wanted for review in found[key]], used


def _keyed(reviews: Sequence[Review]) -> _Found:
    found: _Found = {}
    for row in reviews:
        found.setdefault((row.id, row.order), []).append(row)
    return found


def _first(found: _Found, row: Selection) -> Review:
    """Return what the samples of a row's first order come to."""
    return discrimination.pooled(found[row.id, row.first])[0]


if __name__ == "__main__":
    stage.main("review", review)
