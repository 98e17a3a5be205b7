"""bootstrap: a base pool grown from a few tasks of the user's own (optional).

The generator is shown tasks and goes on with new ones (self-instruct; Wang et al., ACL 2023), in
rounds of a fixed size that are judged in the order of the requests. Where a round keeps too little
of a kind, that well is dry: asking stops, and the metrics say how many are lacking. An endpoint
that fails is no dry well: above `generate.max_dropped` the stage stops.
"""

from math import ceil
from pathlib import Path

from lion import base, jsonl, project, prompts, stage
from lion.instructions import decontamination, embeddings, pools, safety, selfinstruct, sources
from lion.instructions.safety import Safety
from lion.instructions.seedbed import Draw, Seedbed, Task
from lion.instructions.selfinstruct import TASK_KINDS, TaskKind
from lion.instructions.wells import Well
from lion.metrics.pools import BootstrapMetrics
from lion.metrics.units import Embedded, Funnel, RoleUsage
from lion.model import counting
from lion.records import Dropped, instruction_id, reasons
from lion.settings import Bootstrap
from lion.wire import Failure, Outcome


def bootstrap(work: stage.Work) -> str:
    """Write bootstrapped.jsonl: the seeds, then the new tasks in the order of their making."""
    bed, dropped = _seedbed(work)
    generator, embedder, guard = _fill(work, bed)
    short: dict[str, int] = {kind: bed.wanted(kind) for kind in TASK_KINDS}
    pool = [*bed.seeds, *bed.made]
    jsonl.write(project.BOOTSTRAPPED, pool)
    work.write_dropped([*dropped, *bed.dropped])
    work.write_metrics(
        BootstrapMetrics(
            rows=len(pool),
            seeds=len(bed.seeds),
            classification_rows=sum(task.classification for task in pool),
            **{kind: Funnel(sorted(bed.funnel[kind].items())) for kind in TASK_KINDS},
            dropped=reasons(dropped),
            short=short,
            generator=generator,
            embedder=embedder,
            safety=guard,
        )
    )
    told = f"{len(bed.seeds):,} seeds and {len(bed.made):,} new tasks, {len(bed.dropped):,} dropped"
    lacking = [f"{count:,} {kind} too few" for kind, count in short.items() if count]
    return f"{told}; the well is dry: {', '.join(lacking)}" if lacking else told


def _seedbed(work: stage.Work) -> tuple[Seedbed, list[Dropped]]:
    settings = work.settings
    entry = settings.bootstrap[work.iteration]
    source = settings.seed.model_copy(update={"source": entry.seeds, "answers": "ask"})
    found, dropped = base.pool(source, settings.random_seed)
    tokens = counting.counter(settings.quality, settings.student)
    found, flawed = base.usable(found, settings.quality, tokens)
    # Not the exam that `seed` writes, which runs later: the file itself.
    _, exam = base.exam(settings.exam, settings.seed, settings.random_seed, [])
    exam += base.further_exams(settings.decontaminate, settings.exams)
    guard = decontamination.guard(exam, settings.decontaminate)
    clean, leaked = base.clean(found, guard, settings.seed.on_contaminated)
    kinds = _kinds(entry)
    seeds = [
        Task(
            row.id,
            row.messages,
            kinds[row.id] == "classification",
            category=row.category,
            expected=row.expected,
        )
        for row in clean
    ]
    rngs = {
        kind: pools.draw(
            random_seed=settings.random_seed, purpose=f"bootstrap/{kind}", depth=work.depth
        )
        for kind in TASK_KINDS
    }
    filters = settings.bootstrap_filters(work.iteration)
    bed = Seedbed(entry, filters, seeds, guard, rngs, settings.quality, tokens)
    return bed, [*dropped, *flawed, *leaked]


def _kinds(entry: Bootstrap) -> dict[str, TaskKind]:
    """Return which kind each row of the seeds' files is; one that does not say so is open."""
    return {
        instruction_id(row.messages): "classification" if row.classification else "open"
        for name in entry.seeds
        for row in sources.read_rows(Path(name)).rows
    }


def _fill(work: stage.Work, bed: Seedbed) -> tuple[RoleUsage, Embedded | None, RoleUsage | None]:
    """Ask round after round until the size is reached, of the kinds that are not dry.

    Return what the generator, the gate of near-duplicates and that of safety used.
    """
    templates = prompts.load(project.PROMPTS / "bootstrap", "bootstrap")
    count = bed.settings.per_call
    allowed = stage.allowed_failures(bed.filters.max_dropped, ceil(bed.settings.size / count))
    dry: list[TaskKind] = []
    wanted = sum(bed.wanted(kind) for kind in TASK_KINDS)
    sown = [(task.id, task.text) for task in bed.seeds]
    with (
        work.asker("generator", work.settings.generator) as asker,
        embeddings.gate(work, bed.filters, sown, wanted) as near,
        safety.gate(work, bed.filters, wanted) as guard,
    ):
        bed.near = near
        wells = {kind: Well(bed.filters.min_acceptance) for kind in TASK_KINDS}
        while draws := bed.choose(dry):
            requests = [
                selfinstruct.request(draw.texts, draw.kind, count, templates, draw.sample)
                for draw in draws
            ]
            left = max(0, allowed - asker.account.failed)
            tried, kept = _judge(bed, draws, asker.ask(requests, max_failed=left), guard)
            dry += [kind for kind in tried if wells[kind].is_dry(tried[kind], kept[kind])]
        return (
            asker.account.versioned(),
            None if near is None else near.used(),
            None if guard is None else guard.used(),
        )


def _judge(
    bed: Seedbed, draws: list[Draw], outcomes: list[Outcome], guard: Safety | None
) -> tuple[dict[TaskKind, int], dict[TaskKind, int]]:
    """Judge a round's replies in the order of their requests; count by kind tried and kept."""
    before = {kind: bed.funnel[kind]["kept"] for kind in TASK_KINDS}
    known = len(bed.made)
    found = [
        selfinstruct.candidates(outcome, draw.texts, bed.settings.per_call, bed.filters)
        for draw, outcome in zip(draws, outcomes, strict=True)
    ]
    if bed.near is not None:
        bed.near.expect([one for some in found for one in some if isinstance(one, str)])
    tried: dict[TaskKind, int] = {}
    for draw, outcome, some in zip(draws, outcomes, found, strict=True):
        bed.judge(draw, some)
        if not isinstance(outcome, Failure):  # an endpoint that fails says nothing of the well
            tried[draw.kind] = tried.get(draw.kind, 0) + len(some)
    if guard is not None:
        bed.withdraw(guard.flaws(bed.made[known:]))
    return tried, {kind: bed.funnel[kind]["kept"] - before[kind] for kind in TASK_KINDS}


if __name__ == "__main__":
    stage.main("bootstrap", bootstrap)
