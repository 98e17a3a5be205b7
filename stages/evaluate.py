"""evaluate: the student of this iteration takes the exam."""

from typing import Any

from lion.config import project
from lion.config.settings import Settings
from lion.evaluation.evaluate import evaluate, exam_sentence
from lion.inference.respondent import Respondent
from lion.metrics.exams import EvaluateMetrics, HeadlineMetrics
from lion.metrics.units import RoleUsage
from lion.pipeline import stage
from lion.records.rows import Instruction, reasons

EVALUATED = {"note": "The next iteration begins after this exam. Always the same: reruns nothing."}


def main(work: stage.Work) -> str:
    """Write exam_responses.jsonl, the headline figures and the details of the exam."""
    settings = work.settings.with_exam_of(work.iteration)
    respondent = Respondent(
        work.data("student"), work.iteration, settings, work, work.unfinished, work.progress
    )
    exam = work.files.read(project.EXAM, Instruction)
    prompts = work.prompts("teacher", "referee", good=settings.task.good)
    evaluated = evaluate(exam, respondent, settings, work, prompts)
    work.files.write(work.data("exam_responses.jsonl"), evaluated.answers)
    work.files.write_document(work.data("evaluated.json"), EVALUATED)
    work.files.write_document(work.data("exam_basis.json"), basis(settings, evaluated.teacher))
    requests = evaluated.referee.requests + evaluated.teacher.requests
    work.write_dropped(evaluated.dropped, requests)
    figures = EvaluateMetrics.of(
        evaluated.accuracy,
        evaluated.quality,
        referee=evaluated.referee,
        teacher=evaluated.teacher,
        dropped=reasons(evaluated.dropped),
        fields=evaluated.fields,
        prompt=evaluated.prompt,
    )
    work.write_metrics(HeadlineMetrics.of(figures))
    work.write_metrics(figures)
    return exam_sentence(figures)


def basis(settings: Settings, teacher: RoleUsage) -> dict[str, Any]:
    """Return what certificates and the exams of baselines depend on, beside the answers.

    The grader is in it only where it is the exam's scorer: else its change reruns none of them.
    """
    grader = {
        "referee": settings.exam_referee.model_dump(mode="json", exclude={"api_key_env"}),
        "quality": settings.evaluate.quality,
        "samples": settings.evaluate.samples,
    }
    return {
        "teacher": {
            "requests": teacher.requests,
            "prompt_tokens": teacher.prompt_tokens,
            "completion_tokens": teacher.completion_tokens,
        },
        "grader": grader if settings.exam.scorer.kind == "referee" else None,
    }


if __name__ == "__main__":
    stage.run("evaluate", main)
