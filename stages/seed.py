"""seed: the base pool, the exam and the base student, from what params name.

Exam rows, and those of the further exams, never enter the pool; a base row that meets one is an
error or a drop, as params say. A row that no student can use is dropped with its reason, before
any is held out: it is no exam question either.
"""

from lion.config import project
from lion.conversations import TaskTemplate
from lion.generation import seed_pool, topic_labels
from lion.generation.filters import decontamination, quality
from lion.metrics.pools import SeedMetrics
from lion.pipeline import stage
from lion.records import jsonl
from lion.records.rows import Verdict, reasons


def main(work: stage.Work) -> str:
    """Write data/0/train_pool.jsonl and its verdicts (none yet), the exams and data/base."""
    settings = work.settings
    task = TaskTemplate.declared(settings.task)
    rows, dropped = seed_pool.base_pool(settings.seed, settings.random_seed, task)
    tokens = quality.token_counter(settings.quality, settings.student)
    rows, flawed = seed_pool.usable(rows, settings.quality, tokens, task)
    rows, exam = seed_pool.base_exam(settings.exam, settings.seed, settings.random_seed, rows, task)
    exam += seed_pool.certify_rows(settings.exam, exam, task)
    further = seed_pool.further_exams(settings.decontaminate, settings.exams)
    guard = decontamination.guard([*exam, *further], settings.decontaminate, task)
    pool, leaked = seed_pool.split_contaminated(rows, guard, settings.seed.on_contaminated, task)
    dropped += flawed + leaked
    pool = [topic_labels.labelled(row) for row in pool]
    jsonl.write(work.data("train_pool.jsonl"), pool)
    unjudged = (Verdict(row.id, None, None, None, "undecided", "not judged yet") for row in pool)
    jsonl.write(work.data("verdicts.jsonl"), list(unjudged))
    # a document, since DVC warns of each empty file
    jsonl.write_document(project.FURTHER_EXAMS, {"items": [jsonl.as_row(row) for row in further]})
    jsonl.write(project.EXAM, exam)
    seed_pool.write_student(project.BASE_STUDENT, settings.student, pool, settings.random_seed)
    work.write_dropped(dropped, len(pool) + len(exam) + len(dropped))
    work.write_metrics(SeedMetrics(rows=len(pool), exam=len(exam), dropped=reasons(dropped)))
    return f"{len(pool):,} instructions, {len(exam):,} exam rows, {len(dropped):,} dropped"


if __name__ == "__main__":
    stage.run("seed", main)
