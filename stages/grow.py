"""grow: the rows of a baseline, at the spend of the iteration that it is made like."""

from lion.config import project
from lion.config.settings import Baseline
from lion.discrimination.answer_filter import answer_filter
from lion.errors import SettingsError
from lion.generation.baselines import (
    Grown,
    Spend,
    at_equal_spend,
    grow_baseline,
    spend_of,
    weighted_tokens,
)
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, GrowMetrics, TeachMetrics
from lion.pipeline import stage
from lion.prompting.templates import PromptRole
from lion.records import jsonl
from lion.records.rows import KINDS, Instruction, reasons


def main(work: stage.Work) -> str:
    """Write train_pool.jsonl and cache_pool.jsonl of the baseline."""
    baseline = work.baseline
    if baseline is None:
        raise SettingsError(f"{work.iteration} is no baseline of params.yaml")
    spend = _spend(work, baseline)
    rules = at_equal_spend(work.settings.generate_at(work.iteration), spend.affordable_rows)
    roles: tuple[PromptRole, ...] = ("generator", "teacher")
    if rules.safety:
        roles = (*roles, "safety")
    grown = grow_baseline(
        baseline,
        work.files.read(work.before("cache_pool.jsonl"), Instruction),
        _exams(work),
        work.settings.model_copy(update={"generate": rules}),
        work,
        work.prompts(*roles, good=work.settings.task.good),
        name=work.iteration,
        depth=work.depth,
        reject=answer_filter(work.settings.teach, work.settings.exam.scorer),
    )
    own = weighted_tokens(grown.usages, baseline.completion_price)
    _write(work, grown, own, spend.total)
    return _sentence(baseline, len(grown.new), own, spend.total)


def _sentence(baseline: Baseline, rows: int, own: float, like: float) -> str:
    if baseline.rows == "given":
        return f"the {rows:,} given rows again; nothing is asked"
    if not like:
        return f"no rows: iteration {baseline.like} spent nothing"
    share = f"at {100 * own / like:.0f} % of what iteration {baseline.like} spent"
    return f"{rows:,} rows of {baseline.rows} parents, {share}"


def _spend(work: stage.Work, baseline: Baseline) -> Spend:
    """Return what the loop's iteration took; nothing where nothing will be asked."""
    if baseline.rows == "given":
        return Spend(judging=0, growing=0, rows=0)
    return spend_of(
        work.metrics(ReviewMetrics, baseline.like),
        work.metrics(GenerateMetrics, baseline.like),
        work.metrics(TeachMetrics, baseline.like),
        baseline.completion_price,
    )


def _exams(work: stage.Work) -> list[Instruction]:
    further = work.files.read_document(project.FURTHER_EXAMS)["items"]
    exam = work.files.read(project.EXAM, Instruction)
    return exam + [jsonl.parsed(row, Instruction) for row in further]


def _write(work: stage.Work, grown: Grown, own: float, like: float) -> None:
    work.write_rows("train_pool.jsonl", grown.new)
    work.files.write(work.data("cache_pool.jsonl"), grown.cache)
    generated, taught = grown.generated, grown.taught
    dropped = [
        *(generated.dropped if generated else ()),
        *(taught.dropped if taught else ()),
    ]
    work.write_dropped(dropped, len(grown.new) + len(dropped))
    work.write_metrics(
        GrowMetrics(
            rows=len(grown.new),
            cache_pool=len(grown.cache),
            weighted_tokens=own,
            like_weighted_tokens=like,
            dropped=reasons(dropped),
            short={kind: generated.short[kind] for kind in KINDS} if generated else {},
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
