"""examine: a student takes BBH and AGIEval, where params say so."""

from lion import console
from lion.evaluation import multiple_choice
from lion.metrics.exams import ExamineMetrics, ReasoningMetrics
from lion.pipeline import stage
from lion.statistics import Bootstrap


def main(work: stage.Work) -> str:
    """Write what the student chose, and each exam's macro average and tasks."""
    settings = work.settings
    items = multiple_choice.read_exams(settings.exams)
    with console.progress(f"examine@{work.iteration}: student") as update:
        taken = multiple_choice.take_exams(
            items,
            student=work.data("student"),
            settings=settings.student,
            exams=settings.exams,
            answering=settings.answering,
            random_seed=settings.random_seed,
            keep=work.unfinished,
            progress=update,
        )
    evaluate = settings.evaluate
    accuracies = multiple_choice.exam_accuracies(
        taken.choices, Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
    )
    work.write_rows(
        "examine_responses.jsonl", taken.answers or []
    )  # none where letters were scored
    work.write_metrics(ExamineMetrics(scoring=settings.exams.scoring, exams=accuracies))
    work.write_metrics(ReasoningMetrics.of(accuracies))
    return "; ".join(
        multiple_choice.sentence(exam, accuracy) for exam, accuracy in accuracies.items()
    )


if __name__ == "__main__":
    stage.run("examine", main)
