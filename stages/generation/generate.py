"""generate: new hard and new easy instructions, the Train Pool of this iteration.

Asked in rounds of a fixed size and judged in the order of the requests, so that concurrency never
shows. A kind whose round keeps too little is dry: asking stops, and the metrics say so.
"""

from lion import chat, decontamination, generator, jsonl, pools, project, prompts, stage
from lion.nursery import Nursery
from lion.records import KINDS, Instruction, Kind, Verdict
from lion.wire import Outcome, Request

Asked = tuple[Kind, Instruction, Request]


def generate(work: stage.Work) -> str:
    """Write train_pool.jsonl: the new rows only; empty where the loop has stopped."""
    stop = jsonl.read_document(work.data("stop.json"))
    nursery = _nursery(work)
    dry: list[Kind] = [] if not stop["stop"] else list(KINDS)
    used = _fill(work, nursery, dry)
    jsonl.write(work.data("train_pool.jsonl"), nursery.kept)
    work.write_dropped(nursery.dropped)
    work.write_metrics(
        {
            "new": len(nursery.kept),
            **{kind: dict(sorted(nursery.funnel[kind].items())) for kind in KINDS},
            "dry": dry,
            "stopped": stop["reason"],
            "generator": used,
        }
    )
    hard, easy = (nursery.funnel[kind]["kept"] for kind in KINDS)
    told = f"{hard:,} new hard, {easy:,} new easy, {len(nursery.dropped):,} dropped"
    if stop["stop"]:
        return f"no new instructions: {stop['reason']}"
    return told if not dry else f"{told}; the well is dry: {', '.join(dry)}"


def _nursery(work: stage.Work) -> Nursery:
    settings = work.settings
    cache = jsonl.read(work.before("cache_pool.jsonl"), Instruction.from_row)
    verdicts = jsonl.read(work.data("verdicts.jsonl"), Verdict.from_row)
    exam = jsonl.read(project.EXAM, Instruction.from_row)
    return Nursery(
        iteration=work.iteration,
        depth=work.depth,
        settings=settings.generate_at(work.iteration),
        parents=pools.parents(cache, verdicts),
        cache=cache,
        guard=decontamination.guard(exam, settings.decontaminate),
        rng=pools.draw(random_seed=settings.random_seed, purpose="generate", depth=work.depth),
    )


def _fill(work: stage.Work, nursery: Nursery, dry: list[Kind]) -> dict[str, int]:
    """Ask round after round until enough is kept; add to `dry` the kinds whose well is dry."""
    templates = prompts.load(project.PROMPTS / "generator", "generator")
    with work.asker("generator", work.settings.generator) as asker:
        while asked := _round(nursery, dry, templates):
            outcomes = asker.ask([request for _, _, request in asked])
            dry += _judge(nursery, asked, outcomes)
        return asker.account.versioned()


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
        tried.setdefault(kind, []).append(nursery.judge(kind, parent, found))
    least = nursery.settings.min_acceptance
    return [kind for kind, kept in tried.items() if sum(kept) < least * len(kept)]


if __name__ == "__main__":
    stage.main("generate", generate)
