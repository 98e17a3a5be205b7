"""review: teacher and student side by side before the referee, in both orders or as params say.

Where a scorer can verify, it may stand in the referee's place: `review.judge: scorer`, free, exact.
`review.judge: likelihood` takes what `respond` computed, and asks nothing but for audited rows.
"""

from lion.discrimination.review import (
    Reviewed,
    nothing_reviewed,
    review,
    review_by_likelihood,
)
from lion.metrics.judging import ReviewMetrics
from lion.pipeline import stage
from lion.records.rows import Answer, Instruction, Likelihood, Verdict, reasons


def main(work: stage.Work) -> str:
    """Write selection.jsonl, a row per response that gets a verdict, and the reviews they need.

    And what the reviews tell of their referee. Nothing is reviewed where no one reads verdicts.
    """
    no_reader = work.settings.no_reader_at(work.iteration)
    reviewed = _reviewed(work) if no_reader is None else nothing_reviewed()
    work.write_rows("reviews.jsonl", reviewed.reviews)
    work.write_rows("selection.jsonl", reviewed.selections)
    unscored = reviewed.responses if reviewed.likelihood else 0
    work.write_dropped(reviewed.dropped, len(reviewed.reviews) + unscored)
    work.write_metrics(
        ReviewMetrics(
            responses=reviewed.responses,
            judged=len(reviewed.selections),
            reviews=len(reviewed.reviews),
            dropped=reasons(reviewed.dropped),
            referee=reviewed.referee,
            likelihood=reviewed.likelihood,
        )
    )
    work.write_metrics(reviewed.reliability)
    return _sentence(reviewed) if no_reader is None else f"no reviews: {no_reader}"


def _reviewed(work: stage.Work) -> Reviewed:
    files, settings = work.files, work.settings
    cache = files.read(work.before("cache_pool.jsonl"), Instruction)
    templates = work.prompts("referee", good=settings.task.good)["referee"]
    responses = work.data("responses.jsonl")
    if settings.review.judge == "likelihood":
        rows = files.read(responses, Likelihood)
        return review_by_likelihood(cache, rows, settings, work, templates)
    answers = files.read(responses, Answer)
    before = files.read(work.before("verdicts.jsonl"), Verdict)
    return review(cache, answers, before, settings, work, templates, depth=work.depth)


def _sentence(reviewed: Reviewed) -> str:
    scored = reviewed.likelihood
    if scored is not None:
        lacking = reviewed.responses - scored.rows
        return (
            f"{scored.rows:,} answers ranked by likelihood, {lacking:,} without one, "
            f"{scored.audited:,} audited by {len(reviewed.reviews):,} reviews"
        )
    return (
        f"{len(reviewed.reviews):,} reviews for {len(reviewed.selections):,} of "
        f"{reviewed.responses:,} responses, {len(reviewed.dropped):,} without scores"
    )


if __name__ == "__main__":
    stage.run("review", main)
