"""review: teacher and student side by side before the referee, in both orders or as params say.

Where a scorer can verify, it may stand in the referee's place: `review.judge: scorer`, free, exact.
"""

from lion.discrimination.review import review
from lion.metrics.judging import ReviewMetrics
from lion.pipeline import stage
from lion.records.rows import Answer, Instruction, Verdict, reasons


def main(work: stage.Work) -> str:
    """Write selection.jsonl, a row per response that gets a verdict, and the reviews they need.

    And what the reviews tell of their referee.
    """
    files = work.files
    reviewed = review(
        files.read(work.before("cache_pool.jsonl"), Instruction),
        files.read(work.data("responses.jsonl"), Answer),
        files.read(work.before("verdicts.jsonl"), Verdict),
        work.settings,
        work,
        work.prompts("referee", good=work.settings.task.good)["referee"],
        depth=work.depth,
    )
    files.write(work.data("reviews.jsonl"), reviewed.reviews)
    files.write(work.data("selection.jsonl"), reviewed.selections)
    work.write_dropped(reviewed.dropped)
    work.write_metrics(
        ReviewMetrics(
            responses=reviewed.responses,
            judged=len(reviewed.selections),
            reviews=len(reviewed.reviews),
            dropped=reasons(reviewed.dropped),
            referee=reviewed.referee,
        )
    )
    work.write_metrics(reviewed.reliability)
    return (
        f"{len(reviewed.reviews):,} reviews for {len(reviewed.selections):,} of "
        f"{reviewed.responses:,} responses, {len(reviewed.dropped):,} without scores"
    )


if __name__ == "__main__":
    stage.run("review", main)
