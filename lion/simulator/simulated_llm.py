"""The simulated LLM as a function: messages and a seed in, a reply out.

It acts as teacher, referee or generator, which it infers from the prompt, as a real model does.
Users edit prompts, so it relies only on the lines that mark the inserted parts, such as
`[Request <fence>]`, and on the word "rarer" outside those parts. It solves each task from its text
(`task_families`, `tickets`). `server` adds the protocol.

The randomness of a reply is a function of messages and seed.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import floor
from random import Random

from lion.records.rows import Message
from lion.simulator.task_families import FAMILIES, FAMILY_NAMED, LEVELS, Task, draw, solve
from lion.simulator.ticket_replies import answer_ticket, generate_ticket, score_ticket
from lion.simulator.tickets import TicketFacts, read_ticket

REFUSAL = "I do not know how to answer this."

_GIVEN = "Given instruction"
_REQUEST = "Request"
_ANSWERS = ("Answer of Assistant 1", "Answer of Assistant 2")
_OPENING = re.compile(
    rf"^\[(?:{'|'.join((_GIVEN, _REQUEST, *_ANSWERS))}) ([^\s\]]+)\][ \t]*$", re.MULTILINE
)
_RARER = re.compile(r"\brarer\b", re.IGNORECASE)
_EXAMPLE = re.compile(r"\[Task ([0-9]{1,6}) ([^\s\]]+)\]")
_MOST_TASKS = 100  # of one reply, whatever a prompt asks for

# For the rarest families, the prompt for a rarer task leads to one of the last few.
_RAREST = 3

_LEAD = re.compile(r"^(?:so |thus )?(?:the |my )?(?:final )?answer(?: is)?:? ")
_DODGE = re.compile(r"^(?:sorry|i'm sorry|i am sorry|i do not know|i don't know|i can(?:not|'t)) ?")
_TOKENS_COMPARED = 64


@dataclass(frozen=True, slots=True)
class Temper:
    """A referee's errors: the standard deviation of a score, and the bonus of the first position.

    Both in points of the scale from 1 to 10.
    """

    noise: float = 0.0
    position_bias: float = 0.0


EXACT = Temper()

# A change of behaviour needs a new name: the ledger keeps replies by the name of the model.
MODELS: Mapping[str, Temper] = {
    "oracle-1": EXACT,
    "oracle-1-noisy": Temper(noise=1.0, position_bias=0.5),
    "oracle-1-rough": Temper(noise=3.0, position_bias=1.5),
}


def reply(
    messages: Sequence[Message],
    seed: int,
    temper: Temper = EXACT,
    keys: Sequence[str] | None = None,
) -> str:
    """Return the reply to a conversation that ends with a user's turn.

    `keys` are those of the requested JSON object: a text, then two integers.
    """
    prompt = messages[-1]["content"]
    parts, frame = _dissect(prompt)
    if _REQUEST in parts and all(mark in parts for mark in _ANSWERS):
        first, second = (parts[mark] for mark in _ANSWERS)
        evidence, scores = _judge(parts[_REQUEST], first, second, temper, _random(messages, seed))
        return _as_json(keys, evidence, scores) if keys else _as_text(evidence, scores)
    if keys:
        return _as_json(keys, _answer(messages, seed), [1, 1])
    if _GIVEN in parts:
        frames = [frame, *(message["content"] for message in messages[:-1])]
        rarer = any(map(_RARER.search, frames))
        return _generate(parts[_GIVEN], _random(messages, seed), rarer=rarer)
    return _continue_list(prompt, _random(messages, seed)) or _answer(messages, seed)


def _random(messages: Sequence[Message], seed: int) -> Random:
    turns = [(message["role"], message["content"]) for message in messages]
    digest = hashlib.sha256(json.dumps([turns, seed]).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - reproducible, no secret


def _dissect(prompt: str) -> tuple[dict[str, str], str]:
    """Split a prompt at its mark lines: return the parts by mark, and the text around them.

    The fence of the first mark is the prompt's; a line with another fence is text.
    """
    opening = _OPENING.search(prompt)
    if opening is None:
        return {}, prompt
    mark = re.compile(rf"^\[(.+) {re.escape(opening[1])}\][ \t]*$", re.MULTILINE)
    before, *rest = mark.split(prompt)
    parts: dict[str, str] = {}
    frame = [before]
    for label, text in zip(rest[::2], rest[1::2], strict=True):
        if label in (_GIVEN, _REQUEST, *_ANSWERS):
            parts.setdefault(label, text.strip())
        else:
            frame.append(text)
    return parts, "\n".join(frame)


# Teacher


def _answer(messages: Sequence[Message], seed: int) -> str:
    task = solve(messages[-1]["content"])
    if task is not None:
        return task.answer
    return answer_ticket(messages, _random(messages, seed)) or REFUSAL


# Generator


def _generate(given: str, random: Random, *, rarer: bool) -> str:
    """Return another task of the same family, or of a rarer one; never a held-out item."""
    task = solve(given)
    if task is None:
        ticket = generate_ticket(given, random, rarer=rarer)
        return ticket or draw(random.choice(FAMILIES), LEVELS[0], random).instruction
    family = FAMILY_NAMED[task.family]
    if rarer:
        family = random.choice(FAMILIES[min(family.rank, len(FAMILIES) - _RAREST) :])
    while True:
        new = draw(family, task.level, random)
        if new.key != task.key:
            return new.instruction


def _continue_list(prompt: str, random: Random) -> str | None:
    """Return the tasks that a bootstrap prompt asks for; None where the prompt is no such list.

    Its examples stand after mark lines; the highest number of a mark is the last task asked for.
    """
    marks = _EXAMPLE.findall(prompt)
    if len(marks) < 2:
        return None
    code = marks[0][1]
    line = re.compile(rf"^\[(Task [0-9]+|End) {re.escape(code)}\][ \t]*$", re.MULTILINE)
    _, *pieces = line.split(prompt)
    examples = [
        text.strip()
        for label, text in zip(pieces[::2], pieces[1::2], strict=True)
        if label != "End"
    ]
    readable = [text for text in examples if solve(text) or read_ticket(text)]
    if not readable:
        return None
    first = len(examples) + 1
    last = min(max(int(number) for number, _ in marks), first + _MOST_TASKS - 1)
    return "\n\n".join(
        f"[Task {number} {code}]\n"
        + _generate(random.choice(readable), random, rarer=random.random() < 0.5)
        for number in range(first, last + 1)
    )


# Referee


def _as_json(keys: Sequence[str], evidence: str, scores: Sequence[int]) -> str:
    return json.dumps(dict(zip(keys, (evidence, *scores), strict=True)))


def _as_text(evidence: str, scores: Sequence[int]) -> str:
    lines = [
        f"Score of Assistant {number}: {score}" for number, score in enumerate(scores, start=1)
    ]
    return "\n".join([evidence, *lines])


def _judge(
    request: str, first: str, second: str, temper: Temper, random: Random
) -> tuple[str, list[int]]:
    """Return the evidence and the two scores."""
    task = solve(request) or read_ticket(request)
    if task is None:
        evidence = [
            "I cannot work this request out; I compare only whether each answer is one at all."
        ]
        scores = [_form_score(request, answer) for answer in (first, second)]
    else:
        evidence = [f"Worked out, the answer is: {task.answer}"]
        scores = [_score(task, answer) for answer in (first, second)]
        evidence += [
            f"Assistant {number} {_finding(score)}" for number, score in enumerate(scores, start=1)
        ]
    scores = [
        _erring(scores[0] + temper.position_bias, temper, random),
        _erring(scores[1], temper, random),
    ]
    return "\n".join(evidence), scores


def _finding(score: int) -> str:
    """Return a score in words; answers are not quoted, because they may imitate a score line."""
    if score == 10:
        return "is right."
    if score == 9:
        return "is right, in another form than was asked for."
    return "is wrong, but close." if score > 2 else "is wrong."


def _erring(score: float, temper: Temper, random: Random) -> int:
    """Return an integer score from 1 to 10, with the noise of `temper`.

    Rounding is random, so half a point of bias is half a point on average.
    """
    if temper.noise:
        score = random.gauss(score, temper.noise)
    if not float(score).is_integer():
        score = floor(score + random.random())
    return min(max(int(score), 1), 10)


def _score(task: Task | TicketFacts, answer: str) -> int:
    """Return the score of an answer: 10 right, 9 right in another form, else 1 to 6."""
    if isinstance(task, TicketFacts):
        return score_ticket(task, answer)
    right, given = _plain(task.answer), _plain(answer)
    if given == right:
        return 10
    given = _LEAD.sub("", given)
    if given == right or (" " in right and _packed(given) == _packed(right)):
        return 9
    return 1 + round(4 * _closeness(right, given))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`*")


def _packed(text: str) -> str:
    return re.sub("[ ,;-]", "", text)


def _closeness(right: str, given: str) -> float:
    """Return the similarity of a wrong answer, 0 to 1, by its symbols and their kinds."""
    expected, actual = _symbols(right), _symbols(given)
    if not actual:
        return 0.0
    same_kind = len(expected) == len(actual) and all(
        a.isdigit() == b.isdigit() and (len(a) == 1) == (len(b) == 1)
        for a, b in zip(expected, actual, strict=True)
    )
    ratio = SequenceMatcher(None, expected, actual, autojunk=False).ratio()
    return max(ratio, 0.25 if same_kind else 0.0)


def _symbols(text: str) -> list[str]:
    """Return an answer's words and digits."""
    return re.findall(r"[0-9]|[^\W\d]+", text)[:_TOKENS_COMPARED]


def _form_score(request: str, answer: str) -> int:
    """Return the score where the task is unknown: empty, evasive, off topic, on topic."""
    plain = _plain(answer)
    if not plain:
        return 1
    if _DODGE.match(plain):
        return 3
    shared = {*_symbols(plain)} & {word for word in _symbols(_plain(request)) if len(word) > 3}
    return 6 if shared else 5
