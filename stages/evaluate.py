"""evaluate: the student of this iteration sits the exam.

Its answers are marked by the exam's scorer, beside the teacher's own; the referee compares the two
on `evaluate.quality` rows. Where a row carries no checkable answer there is no accuracy.
"""

from msgspec.structs import replace

from lion import jsonl, project, prompts, stage, teacher
from lion.evaluation import examination
from lion.instructions import pools
from lion.judgement import judging
from lion.metrics.exams import EvaluateMetrics, ExamQuality, HeadlineMetrics
from lion.metrics.units import RoleUsage
from lion.model import sitting
from lion.records import Answer, Dropped, Instruction, reasons


def evaluate(work: stage.Work) -> str:
    """Write exam_responses.jsonl, the headline figures and the details of the exam."""
    settings = work.settings
    exam = jsonl.read(project.EXAM, Instruction)
    compared = _drawn(work, exam)
    if settings.exam.scorer.kind == "referee":
        exam = compared  # nothing else can be marked, and each of the teacher's answers is paid
    taught, untaught, asked = _teacher(work, exam)
    seed = settings.random_seed
    answers = sitting.answers(work, exam, work.data("student"), work.iteration, seed)
    jsonl.write(work.data("exam_responses.jsonl"), answers)
    marks = examination.mark(exam, taught, answers, settings.exam.scorer)
    accuracy = examination.accuracy(marks, settings.evaluate, settings.random_seed)
    compared = [row for row in compared if row.id in taught]
    quality, used, unread = _quality(work, compared, taught, answers)
    dropped = untaught + unread
    work.write_dropped(dropped)
    found = EvaluateMetrics.of(
        accuracy, quality, referee=used, teacher=asked, dropped=reasons(dropped)
    )
    work.write_metrics(HeadlineMetrics.of(found))
    work.write_metrics(found)
    return examination.sentence(found)


def _drawn(work: stage.Work, exam: list[Instruction]) -> list[Instruction]:
    """Return the rows that the referee compares: the same in every iteration."""
    settings = work.settings
    rng = pools.draw(random_seed=settings.random_seed, purpose="quality", depth=0)
    return pools.sample(exam, settings.evaluate.quality, rng)


def _teacher(
    work: stage.Work, exam: list[Instruction]
) -> tuple[dict[str, Answer], list[Dropped], RoleUsage]:
    """Return the teacher's answers by id: asked once, in the ledger for every later iteration."""
    templates = prompts.load(project.PROMPTS / "teacher", "teacher")
    requests = [teacher.request(row, templates) for row in exam]
    share = work.settings.evaluate.max_dropped
    limit = stage.allowed_failures(share, len(exam))
    with work.asker("teacher", work.settings.teacher) as asker:
        outcomes = asker.ask(requests, max_failed=limit)
        used = asker.account.versioned()
    found = [
        replace(one, stage="evaluate") if isinstance(one, Dropped) else one
        for one in (teacher.answer(*pair, "keep") for pair in zip(exam, outcomes, strict=True))
    ]
    dropped = [row for row in found if isinstance(row, Dropped)]
    stage.check_dropped(dropped, share, len(exam), "evaluate.max_dropped")
    return {row.id: row for row in found if isinstance(row, Answer)}, dropped, used


def _quality(
    work: stage.Work, rows: list[Instruction], taught: dict[str, Answer], answers: list[Answer]
) -> tuple[ExamQuality, RoleUsage, list[Dropped]]:
    """Return the quality on `rows`, what it needed, and the reviews that cannot be read."""
    settings = work.settings
    by_id = {answer.id: answer for answer in answers}
    pairs = [judging.pair(teacher.taught(row, taught[row.id]), by_id[row.id]) for row in rows]
    reviews, used = judging.by_referee(work, pairs, settings.evaluate.max_dropped)
    dropped = judging.dropped(reviews, "evaluate")
    share = settings.evaluate.max_dropped
    stage.check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
    return examination.quality(reviews, settings.evaluate, settings.random_seed), used, dropped


if __name__ == "__main__":
    stage.main("evaluate", evaluate)
