"""generate: new hard and new easy instructions, the Train Pool of this iteration.

Asked in rounds of a fixed size and judged in the order of the requests, so that concurrency never
shows. Where a round keeps too little, or no parent is left, the well of that kind is dry: asking
stops, and the metrics say how many are lacking. An endpoint that fails is no dry well: above
`generate.max_dropped` the stage stops.
"""

from lion import chat, counting, decontamination, generator, jsonl, pools, project, prompts, stage
from lion.nursery import Nursery
from lion.records import KINDS, Instruction, Kind, Verdict
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
            "generator": used,
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


def _fill(work: stage.Work, nursery: Nursery, dry: list[Kind]) -> dict[str, int]:
    """Ask round after round until enough is kept, of the kinds that are not `dry`."""
    templates = prompts.load(project.PROMPTS / "generator", "generator")
    with work.asker("generator", work.settings.generator) as asker:
        while asked := _round(nursery, dry, templates):
            allowed = _allowed_failures(nursery, asker.account.failed)
            outcomes = asker.ask([request for _, _, request in asked], max_failed=allowed)
            dry += _judge(nursery, asked, outcomes)
        return asker.account.versioned()


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


def _judge(nursery: Nursery, asked: list[Asked], outcomes: list[Outcome]) -> list[Kind]:
    """Judge a round's candidates in the order of their requests; return the kinds found dry."""
    tried: dict[Kind, list[bool]] = {}
    for (kind, parent, _), outcome in zip(asked, outcomes, strict=True):
        found = generator.candidate(outcome, parent.id, nursery.settings)
        kept = nursery.judge(kind, parent, found)
        if not isinstance(outcome, Failure):  # an endpoint that fails says nothing of the well
            tried.setdefault(kind, []).append(kept)
    least = nursery.settings.min_acceptance
    return [kind for kind, kept in tried.items() if sum(kept) < least * len(kept)]


if __name__ == "__main__":
    stage.main("generate", generate)
