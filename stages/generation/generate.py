"""generate: new hard and new easy instructions, the Train Pool of this iteration.

Asked in rounds of a fixed size and judged in the order of the requests, so that concurrency never
shows. Where a round keeps too little, or no parent is left, the well of that kind is dry: asking
stops, and the metrics say how many are lacking. An endpoint that fails is no dry well: above
`generate.max_dropped` the stage stops.
"""

from collections import Counter
from collections.abc import Mapping

from lion import (
    chat,
    counting,
    decontamination,
    embeddings,
    generator,
    jsonl,
    pools,
    project,
    prompts,
    safety,
    stage,
)
from lion.nursery import Nursery
from lion.records import KINDS, Instruction, Kind, Verdict
from lion.safety import Safety
from lion.wire import Failure, Outcome, Request

Asked = tuple[Kind, Instruction, Request]


def generate(work: stage.Work) -> str:
    """Write train_pool.jsonl: the new rows only; empty where the loop has stopped."""
    stop = jsonl.read_document(work.data("stop.json"))
    nursery = _nursery(work)
    used = _fill(work, nursery, list(KINDS) if stop["stop"] else [])
    short = {kind: 0 if stop["stop"] else nursery.wanted(kind) for kind in KINDS}
    jsonl.write(work.data("train_pool.jsonl"), nursery.kept)
    work.write_dropped(nursery.dropped)
    work.write_metrics(
        {
            "new": len(nursery.kept),
            **{kind: nursery.counts(kind) for kind in KINDS},
            "short": short,
            "stopped": stop["reason"],
            **used,
        }
    )
    hard, easy = (nursery.funnel[kind]["kept"] for kind in KINDS)
    if stop["stop"]:
        return f"no new instructions: {stop['reason']}"
    told = f"{hard:,} new hard, {easy:,} new easy, {len(nursery.dropped):,} dropped"
    lacking = [f"{count:,} {kind} too few" for kind, count in short.items() if count]
    return f"{told}; the well is dry: {', '.join(lacking)}" if lacking else told


def _nursery(work: stage.Work) -> Nursery:
    settings = work.settings
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction.from_row)
    verdicts = jsonl.read(work.data("verdicts.jsonl"), Verdict.from_row)
    exams = jsonl.read(project.EXAM, Instruction.from_row)
    further = jsonl.read_document(project.FURTHER_EXAMS)["items"]
    exams += [Instruction.from_row(row) for row in further]
    return Nursery(
        iteration=work.iteration,
        depth=work.depth,
        settings=settings.generate_at(work.iteration),
        parents=pools.parents(cache, verdicts),
        cache=cache,
        guard=decontamination.guard(exams, settings.decontaminate),
        rng=pools.draw(random_seed=settings.random_seed, purpose="generate", depth=work.depth),
        quality=settings.quality,
        tokens=counting.counter(settings.quality, settings.student),
        gaps={one.id: one.gap for one in verdicts if one.gap is not None},
    )


def _fill(work: stage.Work, nursery: Nursery, dry: list[Kind]) -> dict[str, Mapping[str, int]]:
    """Ask round after round until enough is kept, of the kinds that are not `dry`.

    Return what was used in each role.
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
        while asked := _round(nursery, dry, templates):
            allowed = _allowed_failures(nursery, asker.account.failed)
            outcomes = asker.ask([request for _, _, request in asked], max_failed=allowed)
            dry += _judge(nursery, asked, outcomes, guard)
        used: dict[str, Mapping[str, int]] = {"generator": asker.account.versioned()}
        gates = {embeddings.ROLE: near, safety.ROLE: guard}
        return used | {role: gate.used() for role, gate in gates.items() if gate is not None}


def _allowed_failures(nursery: Nursery, failed: int) -> int:
    """Return how many calls may still fail: a share of what the iteration wants in all."""
    settings = nursery.settings
    share = stage.allowed_failures(settings.max_dropped, settings.hard + settings.easy)
    return max(0, share - failed)


def _round(nursery: Nursery, dry: list[Kind], templates: prompts.Prompts) -> list[Asked]:
    return [
        (kind, parent, generator.request(chat.transcript(parent.messages), kind, templates, sample))
        for kind in KINDS
        if kind not in dry
        for parent, sample in nursery.choose(kind)
    ]


def _judge(
    nursery: Nursery, asked: list[Asked], outcomes: list[Outcome], guard: Safety | None
) -> list[Kind]:
    """Judge a round's candidates in the order of their requests; return the kinds found dry."""
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
    least = nursery.settings.min_acceptance
    kept = {kind: nursery.funnel[kind]["kept"] - before[kind] for kind in KINDS}
    return [kind for kind, count in tried.items() if not kept[kind] or kept[kind] < least * count]


if __name__ == "__main__":
    stage.main("generate", generate)
