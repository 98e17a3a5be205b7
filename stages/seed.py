"""seed: the base pool, the exam and the base student, from what params name.

Exam rows never enter the pool; a base row that meets one is an error or a drop, as params say.
"""

from lion import base, decontamination, jsonl, project, stage
from lion.records import reasons


def seed(work: stage.Work) -> str:
    """Write data/0/train_pool.jsonl, data/exam.jsonl and data/base."""
    work.check(ask_hub=True)
    settings = work.settings
    found, dropped = base.pool(settings.seed, settings.random_seed)
    found, exam = base.exam(settings.exam, settings.seed, settings.random_seed, found)
    guard = decontamination.guard(exam, settings.decontaminate)
    pool, leaked = base.clean(found, guard, settings.seed.on_contaminated)
    dropped += leaked
    jsonl.write(work.data("train_pool.jsonl"), pool)
    jsonl.write(project.EXAM, exam)
    base.write_student(project.BASE_STUDENT, settings.student, pool, settings.random_seed)
    work.write_dropped(dropped)
    work.write_metrics({"rows": len(pool), "exam": len(exam), "dropped": reasons(dropped)})
    return f"{len(pool):,} instructions, {len(exam):,} exam rows, {len(dropped):,} dropped"


if __name__ == "__main__":
    stage.main("seed", seed)
