"""respond: the student of the iteration before answers the Cache Pool, or a drawn part of it.

With `review.judge: likelihood` it scores the teacher's answers instead, in one forward pass.
"""

from collections.abc import Sequence

from lion.inference.respond import respond, score_answers
from lion.inference.respondent import Respondent
from lion.pipeline import stage
from lion.records.rows import Instruction
from lion.student import checkpoint


def main(work: stage.Work) -> str:
    """Write responses.jsonl; without responses where no one reads them or the loop has stopped."""
    folder = work.before("student")
    reason = work.settings.no_reader_at(work.iteration) or checkpoint.stopped(folder)
    if reason is not None:
        work.write_rows("responses.jsonl", [])
        return f"no responses: {reason}"
    cache = work.files.read(work.before("cache_pool.jsonl"), Instruction)
    respondent = Respondent(
        folder, work.previous, work.settings, work, work.unfinished, work.progress
    )
    if work.settings.review.judge == "likelihood":
        return _score(work, cache, respondent)
    responses = respond(cache, respondent, work.settings, depth=work.depth)
    work.write_rows("responses.jsonl", responses)
    return f"{len(responses):,} responses to {len(cache):,} instructions in cache"


def _score(work: stage.Work, cache: Sequence[Instruction], respondent: Respondent) -> str:
    rows = score_answers(cache, respondent, work.settings, depth=work.depth)
    work.write_rows("responses.jsonl", rows)
    scored = sum(row.nll_nats is not None for row in rows)
    return f"likelihood of {scored:,} of {len(rows):,} answers of the teacher; none was written"


if __name__ == "__main__":
    stage.run("respond", main)
