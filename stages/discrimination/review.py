"""review: teacher and student side by side before the referee, in both orders or as params say.

Where a scorer can verify, it may stand in the referee's place: `review.judge: scorer`, free, exact.
"""

from collections.abc import Sequence

from lion import frugal, jsonl, judging, stage
from lion.judging import Pair
from lion.records import Answer, Instruction, Order, Review, Selection, Verdict, reasons


def review(work: stage.Work) -> str:
    """Write selection.jsonl, a row per response that gets a verdict, and the reviews they need."""
    settings = work.settings
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction.from_row)
    responses = jsonl.read(work.data("responses.jsonl"), Answer.from_row)
    by_id = {row.id: row for row in cache}
    pairs = [judging.pair(by_id[response.id], response) for response in responses]
    used: dict[str, int] = {}
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
    counts = {"responses": len(pairs), "judged": len(selected), "reviews": len(reviews)}
    work.write_metrics({**counts, "dropped": reasons(dropped), "referee": used})
    return (
        f"{len(reviews):,} reviews for {len(selected):,} of {len(pairs):,} responses, "
        f"{len(dropped):,} without scores"
    )


def _compared(pairs: Sequence[Pair]) -> list[frugal.Response]:
    return [(one.id, frugal.same(one.teacher, one.student.text)) for one in pairs]


def _by_referee(
    work: stage.Work, pairs: Sequence[Pair]
) -> tuple[list[Selection], list[Review], dict[str, int]]:
    """Ask for what is needed at once, then for the orders that the first reviews call for."""
    settings, seed = work.settings, work.settings.random_seed
    rules, tau, share = settings.review, settings.split.tau, settings.review.max_dropped
    before = jsonl.read(work.before("verdicts.jsonl"), Verdict.from_row)
    by_id = {one.id: one for one in pairs}
    drawn = frugal.select(_compared(pairs), before, tau, rules, random_seed=seed, depth=work.depth)
    at_once = [(by_id[row.id], order) for row in drawn for order in frugal.orders(row)]
    with work.asker("referee", settings.referee) as asker:
        found = _keyed(judging.ask(asker, at_once, share))
        selected = [
            frugal.settle(
                row, found[row.id, row.first], tau, rules, random_seed=seed, depth=work.depth
            )
            if row.basis == "one_order"
            else row
            for row in drawn
        ]
        wanted = [(row.id, order) for row in selected for order in frugal.orders(row)]
        later = [(by_id[id], order) for id, order in wanted if (id, order) not in found]
        found |= _keyed(judging.ask(asker, later, share))
        used = asker.account.versioned()
    return selected, [found[key] for key in wanted], used


def _keyed(reviews: Sequence[Review]) -> dict[tuple[str, Order], Review]:
    return {(row.id, row.order): row for row in reviews}


if __name__ == "__main__":
    stage.main("review", review)
