"""respond: the student of the iteration before sits the Cache Pool, or a drawn part of it."""

from lion import jsonl, stage
from lion.instructions import pools
from lion.model import sitting, student
from lion.records import Instruction


def respond(work: stage.Work) -> str:
    """Write responses.jsonl; empty where the loop has stopped before."""
    settings = work.settings
    examinee = work.before("student")
    stopped = student.stopped(examinee)
    if stopped is not None:
        jsonl.write(work.data("responses.jsonl"), [])
        return f"no responses: {stopped}"
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction)
    rng = pools.draw(random_seed=settings.random_seed, purpose="respond", depth=work.depth)
    drawn = pools.sample(cache, settings.respond.limit, rng)
    seed = settings.random_seed + work.depth
    answers = sitting.answers(work, drawn, examinee, work.previous, seed)
    jsonl.write(work.data("responses.jsonl"), answers)
    return f"{len(answers):,} responses to {len(cache):,} instructions in cache"


if __name__ == "__main__":
    stage.main("respond", respond)
