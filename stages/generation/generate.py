"""generate: new hard and new easy instructions, the Train Pool of this iteration.

Asked in rounds of a fixed size and judged in the order of the requests, so that concurrency never
shows. Where a round keeps too little, or no parent is left, the well of that kind is dry: asking
stops, and the metrics say how many are lacking. An endpoint that fails is no dry well: above
`generate.max_dropped` the stage stops.
"""

from collections import Counter
from dataclasses import dataclass

from lion import jsonl, project, prompts, stage
from lion.instructions import decontamination, embeddings, generator, pools, progress, safety
from lion.instructions.nursery import Nursery
from lion.instructions.safety import Safety
from lion.instructions.wells import Well
from lion.metrics import files
from lion.metrics.judging import Stop
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Embedded, RoleUsage
from lion.model import chat, counting
from lion.records import KINDS, Instruction, Kind, Verdict
from lion.wire import Failure, Outcome, Request

Asked = tuple[Kind, Instruction, Request]


def generate(work: stage.Work) -> str:
    """Write train_pool.jsonl: the new rows only; empty where the loop has stopped."""
    stop = files.read(work.data("stop.json"), Stop)
    history = _history(work)
    nursery = _nursery(work, history)
    generator, embedder, guard = _fill(work, nursery, list(KINDS) if stop.stop else [])
    short: dict[str, int] = {kind: 0 if stop.stop else nursery.wanted(kind) for kind in KINDS}
    jsonl.write(work.data("train_pool.jsonl"), nursery.kept)
    work.write_dropped(nursery.dropped)
    work.write_metrics(
        GenerateMetrics(
            new=len(nursery.kept),
            **{kind: nursery.counts(kind) for kind in KINDS},
            short=short,
            resisting=tuple(progress.resisting(history.before, history.now)),
            stopped=stop.reason,
            generator=generator,
            embedder=embedder,
            safety=guard,
        )
    )
    hard, easy = (nursery.funnel[kind]["kept"] for kind in KINDS)
    if stop.stop:
        return f"no new instructions: {stop.reason}"
    told = f"{hard:,} new hard, {easy:,} new easy, {len(nursery.dropped):,} dropped"
    lacking = [f"{count:,} {kind} too few" for kind, count in short.items() if count]
    return f"{told}; the well is dry: {', '.join(lacking)}" if lacking else told


@dataclass(frozen=True, slots=True)
class _History:
    """The Cache Pool, the verdicts on it, and the rows with a gap now and an iteration before."""

    cache: list[Instruction]
    verdicts: list[Verdict]
    before: list[progress.Judged]
    now: list[progress.Judged]


def _history(work: stage.Work) -> _History:
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction)
    verdicts = jsonl.read(work.data("verdicts.jsonl"), Verdict)
    earlier = jsonl.read(work.before("verdicts.jsonl"), Verdict)
    before, now = (progress.judged(cache, found) for found in (earlier, verdicts))
    return _History(cache, verdicts, before, now)


def _nursery(work: stage.Work, history: _History) -> Nursery:
    settings = work.settings
    generate = settings.generate_at(work.iteration)
    parents = pools.parents(history.cache, history.verdicts, generate.feedback)
    weights: dict[str, float] = {}
    if generate.choice == "progress":
        weights = progress.weights(parents["hard"], history.before, history.now)
    exams = jsonl.read(project.EXAM, Instruction)
    further = jsonl.read_document(project.FURTHER_EXAMS)["items"]
    exams += [jsonl.parsed(row, Instruction) for row in further]
    return Nursery(
        iteration=work.iteration,
        depth=work.depth,
        settings=generate,
        parents=parents,
        cache=history.cache,
        guard=decontamination.guard(exams, settings.decontaminate),
        rng=pools.draw(random_seed=settings.random_seed, purpose="generate", depth=work.depth),
        quality=settings.quality,
        tokens=counting.counter(settings.quality, settings.student),
        gaps={one.row.id: one.gap for one in history.now},
        progress=weights,
    )


def _fill(
    work: stage.Work, nursery: Nursery, dry: list[Kind]
) -> tuple[RoleUsage, Embedded | None, RoleUsage | None]:
    """Ask round after round until enough is kept, of the kinds that are not `dry`.

    Return what the generator, the gate of near-duplicates and that of safety used.
    """
    templates = prompts.load(project.PROMPTS / "generator", "generator")
    wanted = sum(nursery.wanted(kind) for kind in KINDS if kind not in dry)
    pool = [(row.id, chat.transcript(row.messages)) for row in nursery.cache]
    with (
        work.asker("generator", work.settings.generator) as asker,
        embeddings.gate(work, nursery.settings, pool, wanted) as near,
        safety.gate(work, nursery.settings, wanted) as guard,
    ):
        nursery.near = near
        wells = {kind: Well(nursery.settings.min_acceptance) for kind in KINDS}
        while asked := _round(nursery, dry, templates):
            allowed = _allowed_failures(nursery, asker.account.failed)
            outcomes = asker.ask([request for _, _, request in asked], max_failed=allowed)
            tried, kept = _judge(nursery, asked, outcomes, guard)
            dry += [kind for kind in tried if wells[kind].is_dry(tried[kind], kept[kind])]
        return (
            asker.account.versioned(),
            None if near is None else near.used(),
            None if guard is None else guard.used(),
        )


def _allowed_failures(nursery: Nursery, failed: int) -> int:
    """Return how many calls may still fail: a share of what the iteration wants in all."""
    settings = nursery.settings
    share = stage.allowed_failures(settings.max_dropped, settings.hard + settings.easy)
    return max(0, share - failed)


def _round(nursery: Nursery, dry: list[Kind], templates: prompts.Prompts) -> list[Asked]:
    return [
        (kind, parent, _request(parent, nursery.prompt(kind), templates, sample))
        for kind in KINDS
        if kind not in dry
        for parent, sample in nursery.choose(kind)
    ]


def _request(parent: Instruction, prompt: Kind, templates: prompts.Prompts, sample: int) -> Request:
    return generator.request(chat.transcript(parent.messages), prompt, templates, sample)


def _judge(
    nursery: Nursery, asked: list[Asked], outcomes: list[Outcome], guard: Safety | None
) -> tuple[Counter[Kind], dict[Kind, int]]:
    """Judge a round's candidates in the order of their requests; count by kind tried and kept."""
    before = {kind: nursery.funnel[kind]["kept"] for kind in KINDS}
    known = len(nursery.kept)
    found = [
        generator.candidate(outcome, parent.id, nursery.settings)
        for (_, parent, _), outcome in zip(asked, outcomes, strict=True)
    ]
    if nursery.near is not None:
        nursery.near.expect([one for one in found if isinstance(one, str)])
    for (kind, parent, _), one in zip(asked, found, strict=True):
        nursery.judge(kind, parent, one)
    if guard is not None:
        nursery.withdraw(guard.flaws(nursery.kept[known:]))
    # an endpoint that fails says nothing of the well
    answered = (not isinstance(outcome, Failure) for outcome in outcomes)
    tried = Counter(kind for (kind, _, _), one in zip(asked, answered, strict=True) if one)
    return tried, {kind: nursery.funnel[kind]["kept"] - before[kind] for kind in KINDS}


if __name__ == "__main__":
    stage.main("generate", generate)
