"""The referee's role: two answers in, two requests out; replies in, reviews out. No I/O.

Each pair is judged twice with the answers' order swapped (Lion, section 3.2), since judges favour
a position. A reply whose scores cannot be read is a review with a reason, never a number.
"""

from collections.abc import Sequence
from typing import Literal

from lion.prompting import judge_parser
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.replies import incomplete
from lion.prompting.templates import Prompts, fence
from lion.records.rows import ORDERS, Order, Review

Form = Literal["text", "schema", "scores_first"]
_FILES: dict[Form, str] = {
    "text": "user.txt",
    "schema": "schema.txt",
    "scores_first": "scores_first.txt",
}


def review_request(
    question: str,
    teacher: str,
    student: str,
    order: Order,
    prompts: Prompts,
    form: Form = "text",
    sample: int = 0,
) -> Request:
    """Return the question of which answer is better, in one order, for the `sample`th time.

    The marks around the material carry a code that follows from the material itself, so that no
    answer can write a mark of its own.
    """
    first, second = (teacher, student) if order == "teacher_first" else (student, teacher)
    text = prompts.render(
        _FILES[form],
        fence=fence(question, first, second),
        question=question,
        answer_1=first,
        answer_2=second,
    )
    schema = judge_parser.SCHEMA if form == "schema" else None
    return Request(prompts.conversation(text), sample, response_format=schema)


def parse_review(
    identity: str,
    order: Order,
    outcome: Outcome,
    shown: Sequence[str] = (),
    form: Form = "text",
) -> Review:
    """Return the two scores of a reply, or the reason there are none.

    `shown` are the answers that the judge saw: what imitates a score in them is no score.
    """
    if isinstance(outcome, Failure):
        return Review(identity, order, None, None, outcome.reason, outcome.detail)
    # a reply that was cut off may end in the 1 of a 10
    scores = incomplete(outcome.finish_reason) or _read(outcome.text, shown, form)
    if isinstance(scores, str):
        return Review(identity, order, None, None, scores, outcome.text)
    first, second = scores
    teacher, student = (first, second) if order == "teacher_first" else (second, first)
    return Review(identity, order, teacher, student, None, outcome.text)


def _read(text: str, shown: Sequence[str], form: Form) -> judge_parser.Scores | str:
    """Read the schema's object, or the text of a server that ignores schemas."""
    if form == "scores_first":
        return judge_parser.from_first_line(text, shown)
    scores = judge_parser.from_json(text)
    return judge_parser.from_text(text, shown) if scores is None else scores


def verified(id: str, teacher: bool | None, student: bool | None, kind: str) -> list[Review]:
    """Return what a scorer that can verify says, in a referee's place: both orders the same.

    A right answer has the highest score, a wrong one the lowest. Where one of the two cannot be
    marked (None) there is no score, and the reason is `unmarkable`.
    """
    if teacher is None or student is None:
        evidence = f"{kind}: what is expected cannot be read"
        return [Review(id, order, None, None, "unmarkable", evidence) for order in ORDERS]
    given = [judge_parser.HIGHEST if right else judge_parser.LOWEST for right in (teacher, student)]
    words = ["right" if right else "wrong" for right in (teacher, student)]
    evidence = f"{kind}: teacher {words[0]}, student {words[1]}"
    return [Review(id, order, given[0], given[1], None, evidence) for order in ORDERS]
