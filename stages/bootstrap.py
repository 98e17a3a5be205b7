"""bootstrap: a base pool grown from a few tasks of the user's own (optional).

Where too little of what the generator writes is kept, asking for that kind stops, and the metrics
say how many are lacking.
"""

from pathlib import Path

from lion.config import project
from lion.config.settings import BootstrapSettings
from lion.conversations import TaskTemplate
from lion.generation import seed_pool
from lion.generation.bootstrap import Bootstrapped, BootstrappedTask, bootstrap
from lion.generation.filters import decontamination, quality
from lion.metrics.pools import BootstrapMetrics
from lion.pipeline import stage
from lion.prompting.generator import TASK_KINDS
from lion.prompting.templates import PromptRole
from lion.readers import files
from lion.records.rows import Dropped, Instruction, instruction_id, reasons


def main(work: stage.Work) -> str:
    """Write bootstrapped.jsonl: the seeds, then the new tasks in the order of their making."""
    settings = work.settings
    entry = settings.bootstrap[work.iteration]
    # Not the exam that `seed` writes, which runs later: the file itself.
    task = TaskTemplate.declared(settings.task)
    _, exams = seed_pool.base_exam(settings.exam, settings.seed, settings.random_seed, [], task)
    exams += seed_pool.further_exams(settings.decontaminate, settings.exams)
    seeds, dropped = _seeds(work, entry, exams)
    filters = settings.bootstrap_filters(work.iteration)
    roles: tuple[PromptRole, ...] = ("bootstrap", "safety") if filters.safety else ("bootstrap",)
    grown = bootstrap(
        seeds, exams, settings, entry, filters, work, work.prompts(*roles, good=settings.task.good)
    )
    pool = [*grown.seeds, *grown.new]
    work.files.write(project.BOOTSTRAPPED, pool)
    work.write_dropped([*dropped, *grown.dropped], len(pool) + len(dropped) + len(grown.dropped))
    work.write_metrics(
        BootstrapMetrics(
            rows=len(pool),
            seeds=len(grown.seeds),
            classification_rows=sum(task.kind == "classification" for task in pool),
            classification=grown.funnels["classification"],
            open=grown.funnels["open"],
            dropped=reasons(dropped),
            short={kind: grown.short[kind] for kind in TASK_KINDS},
            generator=grown.usage.generator,
            embedder=grown.usage.embedder,
            safety=grown.usage.safety,
        )
    )
    return _sentence(grown)


def _seeds(
    work: stage.Work, entry: BootstrapSettings, exams: list[Instruction]
) -> tuple[list[BootstrappedTask], list[Dropped]]:
    """Return the usable tasks of the user's files, and what was dropped of them."""
    settings = work.settings
    source = settings.seed.model_copy(update={"source": entry.seeds, "answers": "ask"})
    task = TaskTemplate.declared(settings.task)
    rows, dropped = seed_pool.base_pool(source, settings.random_seed, task)
    tokens = quality.token_counter(settings.quality, settings.student)
    rows, flawed = seed_pool.usable(rows, settings.quality, tokens, task)
    guard = decontamination.guard(exams, settings.decontaminate, task)
    clean, leaked = seed_pool.split_contaminated(rows, guard, settings.seed.on_contaminated, task)
    labelled = _labelled(entry, task)
    seeds = [
        BootstrappedTask(row.id, row.messages, row.id in labelled, (), row.category, row.expected)
        for row in clean
    ]
    return seeds, [*dropped, *flawed, *leaked]


def _labelled(entry: BootstrapSettings, task: TaskTemplate | None) -> set[str]:
    """Return the ids of the rows of the seeds' files that are classification tasks."""
    return {
        instruction_id(row.messages)
        for name in entry.seeds
        for row in files.read_rows(Path(name), task).rows
        if row.classification
    }


def _sentence(grown: Bootstrapped) -> str:
    counted = (
        f"{len(grown.seeds):,} seeds and {len(grown.new):,} new tasks, "
        f"{len(grown.dropped):,} dropped"
    )
    lacking = [f"{count:,} {kind} too few" for kind, count in grown.short.items() if count]
    return f"{counted}; acceptance too low: {', '.join(lacking)}" if lacking else counted


if __name__ == "__main__":
    stage.run("bootstrap", main)
