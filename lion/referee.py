"""The referee's role: two answers in, two requests out; replies in, reviews out. No I/O.

Each pair is judged twice with the answers' order swapped (Lion, section 3.2), since judges favour
a position. A reply whose scores cannot be read is a review with a reason, never a number.
"""

import re

from lion.prompts import Prompts, fence
from lion.records import ORDERS, Order, Review
from lion.wire import Failure, Outcome, Request

LOWEST, HIGHEST = 1.0, 10.0

# A hyphen between label and number is a dash where spaces surround it, else a minus. What follows
# the number must not go on with it: 7-8, 8.5.1 and 1e1 are no scores.
_SCORE = re.compile(
    r"(?P<label>scores?\s+(?:of|for)\s+(?:the\s+)?)?assistant\s*(?P<who>[12])(?:['\u2019]s\s+score)?"
    r"(?:[^\w+-]{1,8}|[^\w+-]{0,8}(?:\bis|\bgets|\s-\s)[^\w+-]{0,8})"
    r"(?P<score>[+-]?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of)\s*(?P<scale>\d+)|\s*(?P<share>%))?"
    r"(?![\w%]|[.,]\d|\s*/|\s*[-\u2013\u2014]\s*\d|\s+(?:to|or)\s+\d)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"scores?\s+(?:of|for)\s+(?:the\s+)?assistant", re.IGNORECASE)
_OPENING = re.compile(r"\W*(?:\d+[.)])?\W*(?:(?:the|my|final|overall)\s+)*", re.IGNORECASE)


def request(question: str, teacher: str, student: str, order: Order, prompts: Prompts) -> Request:
    """Return the question of which answer is better, in one order.

    The marks around the material carry a code that follows from the material itself, so that no
    answer can write a mark of its own.
    """
    first, second = (teacher, student) if order == "teacher_first" else (student, teacher)
    asked = prompts.render(
        "user.txt",
        fence=fence(question, first, second),
        question=question,
        answer_1=first,
        answer_2=second,
    )
    return Request(prompts.conversation(asked))


def review(identity: str, order: Order, outcome: Outcome) -> Review:
    """Return the two scores of a reply, or the reason there are none."""
    if isinstance(outcome, Failure):
        return Review(identity, order, None, None, outcome.reason, outcome.detail)
    # a reply that the token cap cut off may end in the 1 of a 10
    cut = outcome.finish_reason == "length"
    scores = "truncated" if cut else read_scores(outcome.text)
    if isinstance(scores, str):
        return Review(identity, order, None, None, scores, outcome.text)
    first, second = scores
    teacher, student = (first, second) if order == "teacher_first" else (second, first)
    return Review(identity, order, teacher, student, None, outcome.text)


def read_scores(text: str) -> tuple[float, float] | str:
    """Return the scores of assistants 1 and 2 from the reply's last score lines, or a reason.

    Reasons: `no_scores`, `one_score`, `out_of_range` (not 1 to 10, or on another scale).
    """
    found: dict[str, re.Match[str]] = {}
    plain = re.sub(r"[*_`#]", "", text)
    labelled = _LABEL.search(plain) is not None
    for line in reversed(plain.splitlines()):
        for match in reversed(_line_scores(line, labelled)):
            found.setdefault(match["who"], match)
        if len(found) == 2:
            break
    if len(found) < 2:
        return "one_score" if found else "no_scores"
    if any(match["share"] or match["scale"] not in (None, "10") for match in found.values()):
        return "out_of_range"
    first, second = (float(found[who]["score"].replace(",", ".")) for who in "12")
    if not all(LOWEST <= score <= HIGHEST for score in (first, second)):
        return "out_of_range"
    return first, second


def _line_scores(line: str, labelled: bool) -> list[re.Match[str]]:
    """Return the scores that a line gives: of both assistants, or one that opens the line.

    One inside a sentence is quoted. Where the words `Score of Assistant` stand anywhere in the
    reply, only they count; else `Assistant 1: 8` does, where nothing follows it.
    """
    found = list(_SCORE.finditer(line))
    if labelled:
        found = [match for match in found if match["label"]]
    elif found and re.search(r"\w", line[found[-1].end() :]):
        return []
    if len({match["who"] for match in found}) == 2:
        return found
    return [match for match in found if _OPENING.fullmatch(line[: match.start()])]


def verified(id: str, teacher: bool | None, student: bool | None, kind: str) -> list[Review]:
    """Return what a scorer that can verify says, in a referee's place: both orders the same.

    A right answer has the highest score, a wrong one the lowest. Where one of the two cannot be
    marked (None) there is no score, and the reason is `unmarkable`.
    """
    if teacher is None or student is None:
        evidence = f"{kind}: what is expected cannot be read"
        return [Review(id, order, None, None, "unmarkable", evidence) for order in ORDERS]
    scores = [HIGHEST if right else LOWEST for right in (teacher, student)]
    words = ["right" if right else "wrong" for right in (teacher, student)]
    evidence = f"{kind}: teacher {words[0]}, student {words[1]}"
    return [Review(id, order, scores[0], scores[1], None, evidence) for order in ORDERS]
