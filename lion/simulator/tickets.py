"""Simulated support tickets, the narrow task: pools, exams, and reading a ticket from its text.

The answer to a ticket is one line of JSON: `label` (six), `urgency` (low, normal, high) and `order`
(as 46A, or null). Level 1 names its matter; level 2 describes it, has typos, other numbers and
signatures; level 3 adds a matter that is settled or an older mail, which do not count.

A ticket's `key` is its content without wording, digits and noise. A hash of the key decides whether
it is held out for exams, as for `task_families`. Every draw is a function of its seed.
"""

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from lion.errors import DataError
from lion.simulator.task_families import LEVEL_WEIGHTS, LEVELS, held_out
from lion.simulator.ticket_phrasing import (
    CUES,
    GREETINGS,
    NO_ORDER,
    ORDERS,
    OTHER_NUMBERS,
    QUOTED,
    SETTLED,
    SIGNATURES,
    THINGS,
    TICKET_KINDS,
    TYPOS,
    URGENCY_WEIGHTS,
    VAGUE_SUBJECTS,
    TicketKind,
)

FIELDS = ("subject", "body")
NUMBER_LETTERS = "ABCDEFGHKLMNPRSTUVWX"
"""The last symbol of an order's number; those that look like digits are left out."""
LONGEST_TEXT = 4000
"""Characters; longer texts are not searched for a ticket."""
_TRIES = 2000
_RAREST = 3


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """What a ticket says: its kind, urgency and order, and how hard it is to tell."""

    kind: TicketKind
    urgency: str
    order: str | None
    level: int

    @property
    def answer(self) -> str:
        """The right answer: one line of JSON."""
        return ticket_answer(self.kind.label, self.urgency, self.order)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket's two fields, its facts, and `key`, its content."""

    subject: str
    body: str
    facts: TicketFacts
    key: str

    @property
    def fields(self) -> dict[str, str]:
        """The variable part, by the names of a declared task."""
        return {"subject": self.subject, "body": self.body}


def ticket_answer(label: str, urgency: str, order: str | None) -> str:
    """Return an answer in the form that the task's prompt asks for."""
    return json.dumps({"label": label, "urgency": urgency, "order": order}, separators=(",", ":"))


# Drawing


def ticket_pool(size: int, *, random_seed: int, skew: float) -> list[Ticket]:
    """Draw a base pool: kinds by 1 / rank ** skew, no ticket twice, none held out.

    Raises DataError where a kind has no more new tickets.
    """
    random = Random(f"tickets {random_seed}")  # noqa: S311 - reproducible draws, no secrets
    cumulative = list(accumulate(kind.rank**-skew for kind in TICKET_KINDS))
    seen: set[str] = set()
    kinds = random.choices(TICKET_KINDS, cum_weights=cumulative, k=size)
    return [_new(kind, random, seen, held=False) for kind in kinds]


def ticket_exam(size: int, *, random_seed: int) -> list[Ticket]:
    """Draw an exam: held-out tickets only, balanced over the kinds, no content twice.

    Raises DataError where a kind has no more new tickets.
    """
    random = Random(f"ticket exam {random_seed}")  # noqa: S311 - as above
    seen: set[str] = set()
    kinds = (TICKET_KINDS[index % len(TICKET_KINDS)] for index in range(size))
    return [_new(kind, random, seen, held=True) for kind in kinds]


def draw_ticket(kind: TicketKind, level: int, random: Random, *, held: bool = False) -> Ticket:
    """Draw a ticket of a kind and level, held out or not."""
    while True:
        ticket = _draw(kind, level, random)
        if held_out(ticket.key) is held:
            return ticket


def similar_ticket(given: TicketFacts, random: Random, *, rarer: bool) -> Ticket:
    """Draw another ticket of the same level: of the same kind, or of a rarer one."""
    kind = given.kind
    if rarer:
        kind = random.choice(TICKET_KINDS[min(kind.rank, len(TICKET_KINDS) - _RAREST) :])
    return draw_ticket(kind, given.level, random)


def _new(kind: TicketKind, random: Random, seen: set[str], *, held: bool) -> Ticket:
    for _ in range(_TRIES):
        level = random.choices(LEVELS, LEVEL_WEIGHTS)[0]
        ticket = draw_ticket(kind, level, random, held=held)
        identity = ticket.key if held else ticket.body
        if identity not in seen:
            seen.add(identity)
            return ticket
    raise DataError(
        f"the kind of ticket `{kind.name}` has no more new ones after {len(seen)} in all; "
        "ask for a smaller seed.size or exam.size, or a smaller seed.skew"
    )


def _draw(kind: TicketKind, level: int, random: Random) -> Ticket:
    thing = random.choice(THINGS)
    urgency = random.choices(list(URGENCY_WEIGHTS), list(URGENCY_WEIGHTS.values()))[0]
    cue = random.choice(CUES[urgency])
    order = _number(random) if random.random() < 0.7 else None
    other = random.choice([other for other in TICKET_KINDS if other.label != kind.label])
    key = "|".join(
        (kind.name, thing, cue, str(order is not None), other.name if level == LEVELS[-1] else "")
    )
    matter = random.choice(kind.plain if level == LEVELS[0] else kind.indirect).format(thing=thing)
    sentences = [matter, _order_sentence(order, random), cue]
    if level > LEVELS[0]:
        sentences.append(random.choice(OTHER_NUMBERS).format(number=_number(random)))
    distractor = _distractor(other, random) if level == LEVELS[-1] else ""
    if distractor and not distractor.startswith(">"):
        sentences.append(distractor)
    random.shuffle(sentences)
    body = " ".join(f"{_capital(text)}." for text in sentences if text)
    if level > LEVELS[0]:
        body = _with_noise(body, random)
    if distractor.startswith(">"):
        body += f"\n\n{distractor}"
    names_matter = level == LEVELS[0] and random.random() < 0.7
    subject = kind.subject.format(thing=thing) if names_matter else random.choice(VAGUE_SUBJECTS)
    facts = TicketFacts(kind, urgency, order, level)
    return Ticket(_capital(subject), body, facts, key)


def _number(random: Random) -> str:
    return f"{random.randrange(10, 100)}{random.choice(NUMBER_LETTERS)}"


def _order_sentence(order: str | None, random: Random) -> str:
    return random.choice(NO_ORDER if order is None else ORDERS).format(number=order)


def _distractor(other: TicketKind, random: Random) -> str:
    """Return a sentence on a settled matter, or an older mail: neither counts."""
    values = {
        "matter": random.choice(other.plain).format(thing=random.choice(THINGS)),
        "number": _number(random),
        "cue": random.choice(CUES["high"]),
    }
    return random.choice((SETTLED, QUOTED)).format_map(values)


def _with_noise(body: str, random: Random) -> str:
    """Return the body with greeting, signature, typos and lower case, each by chance."""
    words = [
        TYPOS[word] if word in TYPOS and random.random() < 0.15 else word
        for word in body.split(" ")
    ]
    body = " ".join(words)
    if random.random() < 0.2:
        body = " ".join(word if word[:1].isdigit() else word.lower() for word in body.split(" "))
    if random.random() < 0.5:
        body = f"{random.choice(GREETINGS)}\n\n{body}"
    if random.random() < 0.5:
        body = f"{body}\n\n{random.choice(SIGNATURES)}"
    return body


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# Reading


def read_ticket(text: str) -> TicketFacts | None:
    """Return the facts of the ticket in `text`, or None where there is not exactly one matter.

    Whatever stands around it: a prompt, labels of turns, or the JSON object of its fields.
    """
    if len(text) > LONGEST_TEXT:
        return None
    live, settled = _live_part(_normal(_joined_fields(text)))
    kinds = [kind for kind, wordings in _MATTERS if wordings.search(live)]
    if len(kinds) != 1:
        return None
    order = _ORDER.search(live)
    return TicketFacts(
        kinds[0],
        _urgency(live),
        order and order["number"].upper(),
        _level(kinds[0], live, settled),
    )


def _joined_fields(text: str) -> str:
    """Return the values of a JSON object of fields as text; other texts unchanged."""
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    return "\n".join(value for value in values.values() if isinstance(value, str))


def _normal(text: str) -> str:
    """Return the text in lower case without typos."""
    return _TYPO.sub(lambda match: _MENDED[match[0]], text.casefold())


def _live_part(text: str) -> tuple[str, bool]:
    """Return the text without what does not count, and whether there was any."""
    unquoted = "\n".join(line for line in text.splitlines() if not line.startswith(">"))
    live = _OVER.sub("", unquoted)
    return live, live != text


def _urgency(live: str) -> str:
    return next((urgency for urgency, cues in _URGENT if cues.search(live)), "normal")


def _level(kind: TicketKind, live: str, settled: bool) -> int:
    if settled:
        return LEVELS[-1]
    plain = any(_sentence(wording).search(live) for wording in kind.plain)
    return LEVELS[0] if plain else LEVELS[1]


def _sentence(*wordings: str) -> re.Pattern[str]:
    """Return the pattern of any of the wordings, as words of their own."""
    thing = f"(?:{'|'.join(THINGS)})"
    patterns = [re.escape(text.lower()).replace(r"\{thing\}", thing) for text in wordings if text]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])")


_MENDED = {typo: word for word, typo in TYPOS.items()}
_TYPO = re.compile(rf"\b(?:{'|'.join(_MENDED)})\b")
_OVER = re.compile(
    re.escape(SETTLED).replace(r"\{matter\}", "[^.]*").replace(r"\{number\}", "[0-9]{2}[a-z]")
)
_MATTERS = [(kind, _sentence(*kind.plain, *kind.indirect)) for kind in TICKET_KINDS]
_URGENT = [(urgency, _sentence(*CUES[urgency])) for urgency in ("high", "low")]
_ORDER = re.compile(
    rf"\b(?:{'|'.join(text.format(number='') for text in ORDERS)})(?P<number>[0-9]{{2}}[a-z])\b"
)
