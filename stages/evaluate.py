"""evaluate: the student of this iteration takes the exam."""

from lion.config import project
from lion.evaluation.evaluate import evaluate, exam_sentence
from lion.inference.respondent import Respondent
from lion.metrics.exams import EvaluateMetrics, HeadlineMetrics
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


if __name__ == "__main__":
    stage.run("evaluate", main)
