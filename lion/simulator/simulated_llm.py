"""The embedded teacher as a function: messages and a seed in, one reply out.

It plays teacher, referee or generator, and is told which one only by the prompt that it is sent,
as a real model is. Users edit prompts, so it relies on two things alone: the lines that mark the
inserted parts, such as `[Request <fence>]`, and the word "rarer" outside those parts. It works
each task out of its text (see `families`); it has no protocol and no port (see `application`).

The randomness of a reply is a function of messages and seed alone.
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

REFUSAL = "I do not know how to answer this."

_GIVEN = "Given instruction"
_REQUEST = "Request"
_ANSWERS = ("Answer of Assistant 1", "Answer of Assistant 2")
_OPENING = re.compile(
    rf"^\[(?:{'|'.join((_GIVEN, _REQUEST, *_ANSWERS))}) ([^\s\]]+)\][ \t]*$", re.MULTILINE
)
_RARER = re.compile(r"\brarer\b", re.IGNORECASE)

# From the rarest families the easy prompt leads to one of the last few.
_RAREST = 3

_LEAD = re.compile(r"^(?:so |thus )?(?:the |my )?(?:final )?answer(?: is)?:? ")
_DODGE = re.compile(r"^(?:sorry|i'm sorry|i am sorry|i do not know|i don't know|i can(?:not|'t)) ?")
_TOKENS_COMPARED = 64


@dataclass(frozen=True, slots=True)
class Temper:
    """How a referee errs: the deviation of each score, and what the first place is worth.

    Both are in points of the scale from 1 to 10.
    """

    noise: float = 0.0
    position_bias: float = 0.0


EXACT = Temper()

# A model's name changes whenever its behaviour does: replies already paid for are kept by it.
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
    """Reply to a conversation that ends with a user's turn, in the role its prompt asks for.

    `keys` are those of the JSON object that was asked for: a text, then two whole numbers.
    """
    prompt = messages[-1]["content"]
    parts, frame = _dissect(prompt)
    if _REQUEST in parts and all(mark in parts for mark in _ANSWERS):
        first, second = (parts[mark] for mark in _ANSWERS)
        evidence, scores = _judge(parts[_REQUEST], first, second, temper, _random(messages, seed))
        return _as_json(keys, evidence, scores) if keys else _as_text(evidence, scores)
    if keys:
        return _as_json(keys, _answer(prompt), [1, 1])
    if _GIVEN in parts:
        frames = [frame, *(message["content"] for message in messages[:-1])]
        rarer = any(map(_RARER.search, frames))
        return _generate(parts[_GIVEN], _random(messages, seed), rarer=rarer)
    return _answer(prompt)


def _random(messages: Sequence[Message], seed: int) -> Random:
    turns = [(message["role"], message["content"]) for message in messages]
    digest = hashlib.sha256(json.dumps([turns, seed]).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - reproducible, no secret


def _dissect(prompt: str) -> tuple[dict[str, str], str]:
    """Split a prompt at its mark lines: the parts by their mark, and the text around them.

    The fence of the first mark is the prompt's; a mark that carries another one is mere text.
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


def _answer(instruction: str) -> str:
    task = solve(instruction)
    return REFUSAL if task is None else task.answer


# Generator


def _generate(given: str, random: Random, *, rarer: bool) -> str:
    """Write another task of the same family, or of a rarer one; never a held-out item."""
    task = solve(given)
    if task is None:
        return draw(random.choice(FAMILIES), LEVELS[0], random).instruction
    family = FAMILY_NAMED[task.family]
    if rarer:
        family = random.choice(FAMILIES[min(family.rank, len(FAMILIES) - _RAREST) :])
    while True:
        new = draw(family, task.level, random)
        if new.key != task.key:
            return new.instruction


# Referee


def _as_json(keys: Sequence[str], evidence: str, scores: Sequence[int]) -> str:
    return json.dumps(dict(zip(keys, (evidence, *scores), strict=True)))


def _as_text(evidence: str, scores: Sequence[int]) -> str:
    lines = [f"Score of Assistant {number}: {one}" for number, one in enumerate(scores, start=1)]
    return "\n".join([evidence, *lines])


def _judge(
    request: str, first: str, second: str, temper: Temper, random: Random
) -> tuple[str, list[int]]:
    """Return the evidence and the two scores."""
    task = solve(request)
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
    """Say a score in words; the answers are not quoted, for they may imitate a score line."""
    if score == 10:
        return "is right."
    if score == 9:
        return "is right, in another form than was asked for."
    return "is wrong, but close." if score > 2 else "is wrong."


def _erring(score: float, temper: Temper, random: Random) -> int:
    """Return a whole score from 1 to 10, off by the temper's noise.

    Rounding is by lot, so that half a point of bias is worth half a point on average.
    """
    if temper.noise:
        score = random.gauss(score, temper.noise)
    if not float(score).is_integer():
        score = floor(score + random.random())
    return min(max(int(score), 1), 10)


def _score(task: Task, answer: str) -> int:
    """Score an answer: 10 right, 9 right in another form, else 1 to 5 by closeness."""
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
    """Return from 0 to 1 how near a wrong answer comes: common order of its symbols, its kind."""
    wanted, found = _symbols(right), _symbols(given)
    if not found:
        return 0.0
    same_kind = len(wanted) == len(found) and all(
        a.isdigit() == b.isdigit() and (len(a) == 1) == (len(b) == 1)
        for a, b in zip(wanted, found, strict=True)
    )
    ratio = SequenceMatcher(None, wanted, found, autojunk=False).ratio()
    return max(ratio, 0.25 if same_kind else 0.0)


def _symbols(text: str) -> list[str]:
    """Return an answer's words, a number by its digits."""
    return re.findall(r"[0-9]|[^\W\d]+", text)[:_TOKENS_COMPARED]


def _form_score(request: str, answer: str) -> int:
    """Score an answer to a request that is not understood: empty, a dodge, or to the matter."""
    plain = _plain(answer)
    if not plain:
        return 1
    if _DODGE.match(plain):
        return 3
    shared = {*_symbols(plain)} & {word for word in _symbols(_plain(request)) if len(word) > 3}
    return 6 if shared else 5
