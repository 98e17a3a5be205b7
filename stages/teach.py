"""teach: the teacher answers the new instructions; the Cache Pool grows by them."""

from lion.config import project
from lion.conversations import TaskTemplate
from lion.discrimination.answer_filter import answer_filter
from lion.discrimination.teacher_trial import teacher_trial, trial_rows
from lion.generation.teach import Trial, teach
from lion.metrics.pools import TeachMetrics
from lion.pipeline import stage
from lion.prompting.templates import Prompts
from lion.records.rows import Instruction, reasons


def main(work: stage.Work) -> str:
    """Write cache_pool.jsonl: the old rows, and the new ones with their answers."""
    is_base = work.iteration == project.BASE
    cache = [] if is_base else work.files.read(work.before("cache_pool.jsonl"), Instruction)
    new = work.files.read(work.data("train_pool.jsonl"), Instruction)
    templates = work.prompts("teacher")["teacher"]
    taught = teach(
        new,
        cache,
        work.settings,
        work,
        templates,
        reject=answer_filter(work.settings.teach, work.settings.exam.scorer),
        trial=_trial(work, templates) if is_base else None,
    )
    work.files.write(work.data("cache_pool.jsonl"), taught.cache)
    work.write_dropped(taught.dropped, len(new))
    work.write_metrics(
        TeachMetrics(
            taught=len(taught.new),
            cache_pool=len(taught.cache),
            dropped=reasons(taught.dropped),
            teacher=taught.usage,
            trial=taught.trial,
        )
    )
    return (
        f"{len(taught.new):,} answers, {len(taught.dropped):,} dropped; "
        f"{len(taught.cache):,} in cache"
    )


def _trial(work: stage.Work, templates: Prompts) -> Trial | None:
    """Return the trial of the teacher; None where params or the exam have none."""
    settings = work.settings
    if not settings.exam.teacher_at_least:
        return None
    rows = trial_rows(work.files.read(project.EXAM, Instruction), settings.random_seed)
    task = TaskTemplate.declared(settings.task)
    if not rows:
        return None
    return lambda client: teacher_trial(client, rows, settings.exam, templates, task)


if __name__ == "__main__":
    stage.run("teach", main)
