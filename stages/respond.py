"""respond: the student of the iteration before answers the Cache Pool, or a drawn part of it."""

from lion.inference.respond import respond
from lion.inference.respondent import Respondent
from lion.pipeline import stage
from lion.records.rows import Instruction
from lion.student import checkpoint


def main(work: stage.Work) -> str:
    """Write responses.jsonl; empty where the loop has stopped before."""
    folder = work.before("student")
    stopped = checkpoint.stopped(folder)
    if stopped is not None:
        work.files.write(work.data("responses.jsonl"), [])
        return f"no responses: {stopped}"
    cache = work.files.read(work.before("cache_pool.jsonl"), Instruction)
    respondent = Respondent(
        folder, work.previous, work.settings, work, work.unfinished, work.progress
    )
    responses = respond(cache, respondent, work.settings, depth=work.depth)
    work.files.write(work.data("responses.jsonl"), responses)
    return f"{len(responses):,} responses to {len(cache):,} instructions in cache"


if __name__ == "__main__":
    stage.run("respond", main)
