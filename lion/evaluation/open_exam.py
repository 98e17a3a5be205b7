"""An open-ended exam: two sides answer the questions, the referee compares them, figures come out.

The paper's two settings: the Vicuna protocol (scores on the first line, one order, the reference
first) and the calibrated one (evidence first, both orders averaged). Asks through the ledger.
"""

from collections.abc import Sequence
from pathlib import Path

from lion import console, project, prompts, stage, teacher
from lion.errors import DataError
from lion.evaluation import open_ended, vicuna
from lion.evaluation.open_ended import Compared
from lion.evaluation.vicuna import Question
from lion.judgement import discrimination, judging
from lion.judgement.judging import Pair
from lion.judgement.measures import Bootstrap
from lion.model import answering, student
from lion.records import ORDERS, Answer, Dropped, Instruction, Review, Row, reasons

TEACHER = "teacher"


def sit(
    work: stage.Work,
    asked: Sequence[Question],
    reference: str,
    candidate: str,
    scores_first: bool,
) -> Row:
    """Return the figures of `candidate` against `reference`, and why reviews have no scores.

    A side is a file of answers, a student's folder, or `teacher`. Raises DataError where a side is
    none of these, and what asking raises.
    """
    settings = work.settings
    sides = [_texts(work, asked, side) for side in (reference, candidate)]
    pairs = [
        Pair(one.key, one.text, first, Answer(one.key, second, "stop", None), "")
        for one, first, second in zip(asked, *sides, strict=True)
    ]
    orders = ORDERS[:1] if scores_first else ORDERS
    share = settings.evaluate.max_dropped
    with work.asker("referee", settings.referee) as asker:
        wanted = [(one, order) for one in pairs for order in orders]
        reviews = judging.ask(asker, wanted, share, "scores_first" if scores_first else None)
        used = asker.account.versioned()
    dropped = judging.dropped(reviews, "exam")
    stage.check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
    evaluate = settings.evaluate
    bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
    rows = _compared(asked, pairs, reviews, len(orders))
    return {
        "setting": 1 if scores_first else 2,
        "figures": open_ended.figures(rows, bootstrap),
        "dropped": reasons(dropped),
        "referee": used,
    }


def _texts(work: stage.Work, asked: Sequence[Question], side: str) -> list[str]:
    path = Path(side)
    if side == TEACHER:
        return _taught(work, asked)
    if path.is_file():
        return vicuna.join(asked, vicuna.answers(path), path)
    if path.is_dir():
        return _written(work, asked, path)
    raise DataError(
        f"{side}: neither a file of answers nor a student's folder. Name one, or `{TEACHER}`."
    )


def _instructions(asked: Sequence[Question]) -> list[Instruction]:
    return [
        Instruction.new([{"role": "user", "content": one.text}], origin="exam", iteration="0")
        for one in asked
    ]


def _taught(work: stage.Work, asked: Sequence[Question]) -> list[str]:
    templates = prompts.load(project.PROMPTS / "teacher", "teacher")
    rows = _instructions(asked)
    with work.asker("teacher", work.settings.teacher) as asker:
        outcomes = asker.ask([teacher.request(row, templates) for row in rows], max_failed=0)
    found = [teacher.answer(*pair, "keep") for pair in zip(rows, outcomes, strict=True)]
    failed = [one for one in found if isinstance(one, Dropped)]
    stage.check_dropped(failed, 0.0, len(found), "an exam's reference")
    return [one.text for one in found if isinstance(one, Answer)]


def _written(work: stage.Work, asked: Sequence[Question], folder: Path) -> list[str]:
    student.load_libraries()
    settings = work.settings
    task = answering.Task(
        folder, settings.student, settings.answering, settings.random_seed, str(folder)
    )
    keep = project.kept_answers("exam")
    with console.progress("exam: student") as update:
        answers = answering.answer(_instructions(asked), task, keep, update)
    return [one.text for one in answers]


def _compared(
    asked: Sequence[Question], pairs: Sequence[Pair], reviews: Sequence[Review], orders: int
) -> list[Compared]:
    """Return the questions with scores in all their orders, averaged over them."""
    found = discrimination.means(reviews, orders)
    return [
        Compared(
            question.category,
            found[one.id][1],
            found[one.id][0],
            (len(one.student.text), len(one.teacher)),
        )
        for question, one in zip(asked, pairs, strict=True)
        if one.id in found
    ]
