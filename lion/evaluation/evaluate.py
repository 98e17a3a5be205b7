"""The phase `evaluate`: a student takes the exam.

Its answers are marked by the exam's scorer, beside the teacher's own; the referee compares the two
on `evaluate.quality` rows. Where a row carries no checkable answer there is no accuracy. Writes no
file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from lion import pools
from lion.config.settings import Settings
from lion.discrimination import pairwise
from lion.evaluation import exam_marks
from lion.failure_limit import allowed_failures, check_dropped
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.metrics.exams import ExamMarks, ExamQuality
from lion.metrics.units import RoleUsage
from lion.prompting import teacher
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Answer, Dropped, Instruction


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The student's answers, its marks, its quality, and what could not be used.

    `teacher` and `referee` count what these were asked.
    """

    answers: list[Answer]
    accuracy: ExamMarks
    quality: ExamQuality
    dropped: list[Dropped]
    teacher: RoleUsage
    referee: RoleUsage


def evaluate(
    exam: Sequence[Instruction],
    respondent: Respondent,
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
) -> Evaluated:
    """Let the student take `exam`; `templates` are the prompts of teacher and referee.

    Raises TooManyDroppedError where more than `evaluate.max_dropped` of the teacher's answers or of
    the reviews fail.
    """
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="quality", depth=0)
    compared = pools.sample(exam, settings.evaluate.quality, rng)  # the same in every iteration
    if settings.exam.scorer.kind == "referee":
        exam = compared  # nothing else can be marked, and each of the teacher's answers is paid
    taught, untaught, asked = _teacher(exam, settings, clients, templates["teacher"])
    answers = respondent.respond(exam, settings.random_seed)
    marks = exam_marks.mark(exam, taught, answers, settings.exam.scorer)
    known = [teacher.taught(row, taught[row.id]) for row in compared if row.id in taught]
    quality, unread, judged = _quality(known, answers, settings, clients, templates["referee"])
    return Evaluated(
        answers=answers,
        accuracy=exam_marks.exam_marks(marks, settings.evaluate, settings.random_seed),
        quality=quality,
        dropped=untaught + unread,
        teacher=asked,
        referee=judged,
    )


def _teacher(
    exam: Sequence[Instruction], settings: Settings, clients: Clients, templates: Prompts
) -> tuple[dict[str, Answer], list[Dropped], RoleUsage]:
    """Return the teacher's answers by id: asked once, in the ledger for every later iteration."""
    requests = [teacher.answer_request(row, templates) for row in exam]
    share = settings.evaluate.max_dropped
    with clients.open("teacher", settings.teacher) as client:
        outcomes = client.ask(requests, max_failed=allowed_failures(share, len(exam)))
        asked = client.account.versioned()
    answers = [teacher.parse_answer(*pair, "keep") for pair in zip(exam, outcomes, strict=True)]
    dropped = [replace(row, stage="evaluate") for row in answers if isinstance(row, Dropped)]
    check_dropped(dropped, share, len(exam), "evaluate.max_dropped")
    return {row.id: row for row in answers if isinstance(row, Answer)}, dropped, asked


def _quality(
    rows: Sequence[Instruction],
    answers: Sequence[Answer],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> tuple[ExamQuality, list[Dropped], RoleUsage]:
    """Return the quality on `rows`, and the reviews that cannot be read."""
    by_id = {answer.id: answer for answer in answers}
    wanted = pairwise.in_both_orders([pairwise.pair(row, by_id[row.id]) for row in rows])
    share = settings.evaluate.max_dropped
    with clients.open("referee", settings.referee) as client:
        reviews = pairwise.ask(client, wanted, templates, settings.referee.form, share)
        asked = client.account.versioned()
    dropped = pairwise.dropped(reviews, "evaluate")
    check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
    quality = exam_marks.exam_quality(reviews, settings.evaluate, settings.random_seed)
    return quality, dropped, asked
