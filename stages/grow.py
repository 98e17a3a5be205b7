"""grow: the rows of a baseline, at the spend of the iteration that it is made like."""

from lion.config import project
from lion.errors import SettingsError
from lion.generation.baselines import (
    Grown,
    Spend,
    at_equal_spend,
    grow_baseline,
    weighted_tokens,
)
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, GrowMetrics, TeachMetrics
from lion.pipeline import stage
from lion.prompting.templates import PromptRole
from lion.records import jsonl
from lion.records.rows import Instruction, reasons


def main(work: stage.Work) -> str:
    """Write train_pool.jsonl and cache_pool.jsonl of the baseline."""
    baseline = work.baseline
    if baseline is None:
        raise SettingsError(f"{work.iteration} is no baseline of params.yaml")
    spend = _spend(work, baseline.like, baseline.completion_price)
    rules = at_equal_spend(work.settings.generate_at(work.iteration), spend.affordable_rows)
    roles: tuple[PromptRole, ...] = ("generator", "teacher")
    grown = grow_baseline(
        baseline,
        work.files.read(work.before("cache_pool.jsonl"), Instruction),
        _exams(work),
        work.settings.model_copy(update={"generate": rules}),
        work,
        work.prompts(
            *roles, *(["safety"] if rules.safety else []), good=work.settings.task.good
        ),
        name=work.iteration,
        depth=work.depth,
    )
    own = weighted_tokens(grown.usages.values(), baseline.completion_price)
    _write(work, grown, own, spend.total)
    if baseline.rows == "given":
        return f"the {len(grown.new):,} given rows again; nothing is asked"
    return (
        f"{len(grown.new):,} rows of {baseline.rows} parents, at {own / spend.total:.0%} of what "
        f"iteration {baseline.like} spent"
        if spend.total
        else f"no rows: iteration {baseline.like} spent nothing"
    )


def _spend(work: stage.Work, like: str, price: float) -> Spend:
    review = work.metrics(ReviewMetrics, like)
    generate = work.metrics(GenerateMetrics, like)
    teach = work.metrics(TeachMetrics, like)
    return Spend(
        judging=weighted_tokens(review.used.values(), price),
        growing=weighted_tokens([*generate.used.values(), *teach.used.values()], price),
        rows=generate.new,
    )


def _exams(work: stage.Work) -> list[Instruction]:
    further = work.files.read_document(project.FURTHER_EXAMS)["items"]
    exam = work.files.read(project.EXAM, Instruction)
    return exam + [jsonl.parsed(row, Instruction) for row in further]


def _write(work: stage.Work, grown: Grown, own: float, like: float) -> None:
    work.files.write(work.data("train_pool.jsonl"), grown.new)
    work.files.write(work.data("cache_pool.jsonl"), grown.cache)
    generated, taught = grown.generated, grown.taught
    dropped = [
        *(generated.dropped if generated else ()),
        *(taught.dropped if taught else ()),
    ]
    work.write_dropped(dropped)
    work.write_metrics(
        GrowMetrics(
            rows=len(grown.new),
            cache_pool=len(grown.cache),
            weighted_tokens=own,
            like_weighted_tokens=like,
            dropped=reasons(dropped),
            short=dict(generated.short) if generated else {},
            hard=generated.funnels["hard"] if generated else None,
            easy=generated.funnels["easy"] if generated else None,
            generator=grown.usages.get("generator"),
            teacher=grown.usages.get("teacher"),
            embedder=generated.usage.embedder if generated else None,
            safety=grown.usages.get("safety"),
        )
    )


if __name__ == "__main__":
    stage.run("grow", main)
