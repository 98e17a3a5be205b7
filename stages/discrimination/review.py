"""review: teacher and student side by side, in both orders, before the referee.

Where a scorer can verify, it may stand in the referee's place: `review.judge: scorer`, free, exact.
"""

from lion import jsonl, judging, stage
from lion.records import Answer, Instruction, reasons


def review(work: stage.Work) -> str:
    """Write reviews.jsonl: two rows per response, with scores or with a reason."""
    settings = work.settings
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction.from_row)
    responses = jsonl.read(work.data("responses.jsonl"), Answer.from_row)
    by_id = {row.id: row for row in cache}
    pairs = [judging.pair(by_id[response.id], response) for response in responses]
    used: dict[str, int] = {}
    if settings.review.judge == "scorer":
        reviews = judging.by_scorer(pairs, settings.exam.scorer)
    else:
        reviews, used = judging.by_referee(work, pairs, settings.review.max_dropped)
    dropped = judging.dropped(reviews, "review")
    share = settings.review.max_dropped
    stage.check_dropped(dropped, share, len(reviews), "review.max_dropped")
    jsonl.write(work.data("reviews.jsonl"), reviews)
    work.write_dropped(dropped)
    work.write_metrics({"reviews": len(reviews), "dropped": reasons(dropped), "referee": used})
    return f"{len(reviews):,} reviews of {len(pairs):,} responses, {len(dropped):,} without scores"


if __name__ == "__main__":
    stage.main("review", review)
