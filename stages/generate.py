"""generate: new hard and new easy instructions, the Train Pool of this iteration.

Where too little of what the generator writes is kept, or no parent is left, asking for that kind
stops, and the metrics say how many are lacking.
"""

from lion.config import project
from lion.config.settings import Generate
from lion.generation.generate import Generated, History, generate
from lion.metrics.judging import Stop
from lion.metrics.pools import GenerateMetrics
from lion.pipeline import stage
from lion.prompting.templates import PromptRole
from lion.records import jsonl
from lion.records.rows import KINDS, Instruction, Verdict


def main(work: stage.Work) -> str:
    """Write train_pool.jsonl: the new rows only, none where the loop has stopped."""
    stop = work.files.read_metrics(work.data("stop.json"), Stop)
    rules = work.settings.generate_at(work.iteration)
    roles: tuple[PromptRole, ...] = ("generator", "safety") if rules.safety else ("generator",)
    generated = generate(
        _history(work, rules),
        _exams(work),
        work.settings.model_copy(update={"generate": rules}),
        work,
        work.prompts(*roles, good=work.settings.task.good),
        iteration=work.iteration,
        depth=work.depth,
        stopped=stop.stop,
    )
    work.write_rows("train_pool.jsonl", generated.kept)
    work.write_dropped(generated.dropped, len(generated.kept) + len(generated.dropped))
    work.write_metrics(
        GenerateMetrics(
            new=len(generated.kept),
            hard=generated.funnels["hard"],
            easy=generated.funnels["easy"],
            short={kind: generated.short[kind] for kind in KINDS},
            resisting=tuple(generated.resisting),
            stopped=stop.reason,
            generator=generated.usage.generator,
            embedder=generated.usage.embedder,
            safety=generated.usage.safety,
        )
    )
    return f"no new instructions: {stop.reason}" if stop.stop else _sentence(generated)


def _history(work: stage.Work, rules: Generate) -> History:
    read, replayed = work.files.read, frozenset[str]()
    if rules.choice == "progress":
        replayed = frozenset(work.files.read_document(work.before("replayed.json"))["ids"])
    return History(
        cache=read(work.before("cache_pool.jsonl"), Instruction),
        verdicts=read(work.data("verdicts.jsonl"), Verdict),
        before=read(work.before("verdicts.jsonl"), Verdict),
        replayed=replayed,
    )


def _exams(work: stage.Work) -> list[Instruction]:
    further = work.files.read_document(project.FURTHER_EXAMS)["items"]
    exam = work.files.read(project.EXAM, Instruction)
    return exam + [jsonl.parsed(row, Instruction) for row in further]


def _sentence(generated: Generated) -> str:
    hard, easy = (generated.funnels[kind]["kept"] for kind in KINDS)
    counted = f"{hard:,} new hard, {easy:,} new easy, {len(generated.dropped):,} dropped"
    lacking = [f"{count:,} {kind} too few" for kind, count in generated.short.items() if count]
    return f"{counted}; acceptance too low: {', '.join(lacking)}" if lacking else counted


if __name__ == "__main__":
    stage.run("generate", main)
