"""curve: accuracy against rows; a student is tuned on a nested part of the given rows.

Its weights are not kept. The exam's rows, the steps and the seed are those of the base student.
"""

from pathlib import Path

from lion import statistics
from lion.config import project
from lion.evaluation.evaluate import evaluate
from lion.inference.respondent import Respondent
from lion.metrics.exams import CurveMetrics
from lion.metrics.pools import TeachMetrics
from lion.metrics.units import ShareEstimate
from lion.pipeline import stage
from lion.pools import nested_rows
from lion.records.rows import Instruction
from lion.training.finetune_job import fine_tuning
from lion.training.tune import Tuned, tune


def main(work: stage.Work) -> str:
    """Write exam_responses.jsonl and the figures of one point."""
    wanted = int(work.iteration.removeprefix(project.CURVE_PREFIX))
    cache = work.files.read(project.data(project.BASE, "cache_pool.jsonl"), Instruction)
    rules = work.settings.tune_at(project.BASE)
    new = nested_rows(cache, rules.validation_share, wanted)
    out = work.unfinished / "student"
    tuned = tune(
        cache,
        {row.id for row in new},
        project.BASE_STUDENT,
        out,
        work.settings,
        rules.model_copy(update={"replay": 0.0, "replay_choice": "uniform"}),
        fine_tuning(work.settings, work.name),
        depth=0,
    )
    assert tuned is not None
    return _examined(work, out, tuned)


def _examined(work: stage.Work, student: Path, tuned: Tuned) -> str:
    settings = work.settings.with_exam_of(work.iteration)
    respondent = Respondent(student, work.iteration, settings, work, work.unfinished, work.progress)
    exam = work.files.read(project.EXAM, Instruction)
    prompts = work.prompts("teacher", "referee", good=settings.task.good)
    evaluated = evaluate(exam, respondent, settings, work, prompts)
    marks = [row.student for row in evaluated.marks]
    correct = statistics.accuracy(marks, settings.evaluate.confidence)
    taught = work.metrics(TeachMetrics, project.BASE)
    prompt_tokens, completion_tokens = taught.tokens_of(tuned.new)
    work.files.write(work.data("exam_responses.jsonl"), evaluated.answers)
    work.write_dropped(evaluated.dropped, len(exam))
    work.write_metrics(
        CurveMetrics(
            rows=tuned.new,
            steps=tuned.report.steps,
            correct=ShareEstimate.of(correct),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            teacher=evaluated.teacher,
        )
    )
    share = "no row could be marked" if correct is None else f"{100 * correct.value:.1f} % right"
    return f"{share} after {tuned.report.steps:,} steps on {tuned.new:,} rows"


if __name__ == "__main__":
    stage.run("curve", main)
