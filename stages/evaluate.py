"""evaluate: the student of this iteration takes the exam."""

from lion import project, stage
from lion.evaluation import examination
from lion.evaluation.evaluate import evaluate
from lion.inference.respondent import Respondent
from lion.records import Instruction, reasons

_HEADLINE = ("accuracy", "teacher_accuracy", "quality")  # what `dvc metrics` shows


def main(work: stage.Work) -> str:
    """Write exam_responses.jsonl, the headline figures and the details of the exam."""
    settings = work.settings
    respondent = Respondent(
        work.data("student"), work.iteration, settings, work, work.kept_answers, work.progress
    )
    exam = work.files.read(project.EXAM, Instruction)
    evaluated = evaluate(exam, respondent, settings, work, work.prompts("teacher", "referee"))
    work.files.write(work.data("exam_responses.jsonl"), evaluated.answers)
    work.write_dropped(evaluated.dropped)
    figures = {**evaluated.accuracy, **evaluated.quality}
    work.write_metrics({name: figures[name] for name in _HEADLINE}, "exam")
    asked = {"referee": evaluated.referee, "teacher": evaluated.teacher}
    work.write_metrics({**figures, **asked, "dropped": reasons(evaluated.dropped)})
    return examination.sentence(figures)


if __name__ == "__main__":
    stage.run("evaluate", main)
