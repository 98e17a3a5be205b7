"""teach: the teacher answers the new instructions; the Cache Pool grows by them."""

from lion.config import project
from lion.generation.teach import teach
from lion.metrics.pools import TeachMetrics
from lion.pipeline import stage
from lion.records.rows import Instruction, reasons


def main(work: stage.Work) -> str:
    """Write cache_pool.jsonl: the old rows, and the new ones with their answers."""
    is_base = work.iteration == project.BASE
    cache = [] if is_base else work.files.read(work.before("cache_pool.jsonl"), Instruction)
    new = work.files.read(work.data("train_pool.jsonl"), Instruction)
    taught = teach(new, cache, work.settings, work, work.prompts("teacher")["teacher"])
    work.files.write(work.data("cache_pool.jsonl"), taught.cache)
    work.write_dropped(taught.dropped)
    work.write_metrics(
        TeachMetrics(
            taught=len(taught.new),
            cache_pool=len(taught.cache),
            dropped=reasons(taught.dropped),
            teacher=taught.usage,
        )
    )
    return (
        f"{len(taught.new):,} answers, {len(taught.dropped):,} dropped; "
        f"{len(taught.cache):,} in cache"
    )


if __name__ == "__main__":
    stage.run("teach", main)
