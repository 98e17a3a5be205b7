"""Can an instruction be used at all? Each gate is a pure function of the text, with a reason.

Control characters and broken encoding, the wrong script, too many tokens for the student, words
that point at something that is not there. Says nothing of novelty or of the exam (see `novelty`,
`decontamination`), nor which row goes where a gate speaks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import regex

from lion.config.settings import Quality

# C0 and C1 but tab and the ends of lines; noncharacters and halves of surrogate pairs; the mark
# that a decoder leaves where it could not read.
_CONTROL = regex.compile(r"[\p{Cc}--[\t\n\r\x85]]|[\p{Cn}&&\p{NChar}]|\p{Cs}|\uFFFD", regex.V1)
# UTF-8 that was read as Latin-1 or Windows-1252: two such pairs are no accident.
_MOJIBAKE = regex.compile(
    r"(?:[\u00C2\u00C3][\u0080-\u00BF\u0152-\u02DC\u2018-\u2122]|\u00E2\u20AC)"
)
_LETTER = regex.compile(r"\p{L}")
_POINTS = regex.compile(
    r"\b(?:(?:the|this|these|that|those)\s+(?:following|given|provided|attached|above|below)|"
    r"(?:text|passage|paragraph|sentences?|table|image|picture|article|code|list|data|input)\s+"
    r"(?:below|above|attached|provided|given))\b",
    regex.IGNORECASE,
)
_BROUGHT = regex.compile(r"[:\n\"\u201c\u2018\u00ab`{\[<|]|\d")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why an instruction cannot be used: a reason that is counted, and what was found."""

    reason: str
    detail: str


def flaw(text: str, settings: Quality, tokens: Callable[[str], int] | None = None) -> Flaw | None:
    """Return the first flaw of `text` that params ask for, or None.

    `tokens` counts the tokens of the student; without it length is not looked at.
    """
    found = encoding(text) if settings.encoding else None
    if found is None and settings.scripts is not None:
        found = script(text, settings.scripts)
    if found is None and settings.absent_input:
        found = absent_input(text)
    if found is None and settings.max_tokens is not None and tokens is not None:
        found = length(tokens(text), settings.max_tokens)
    return found


def encoding(text: str) -> Flaw | None:
    """`control`: a control character, or the mark of a lost one. `mojibake`: UTF-8 read wrongly."""
    if text.isascii() and text.isprintable():
        return None
    control = _CONTROL.search(text)
    if control is not None:
        return Flaw("control", f"U+{ord(control[0]):04X} at {control.start()}")
    broken = _MOJIBAKE.findall(text)
    return Flaw("mojibake", f"{broken[0]!r}") if len(broken) > 1 else None


def script(text: str, allowed: list[str]) -> Flaw | None:
    """`script`: fewer than half of the letters are of the Unicode scripts `allowed`.

    A stand-in for the language, which no rule tells apart within a script. No letters, no flaw.
    """
    letters = _LETTER.findall(text)
    known = regex.compile("|".join(rf"\p{{Script={name}}}" for name in allowed))
    fitting = sum(1 for letter in letters if known.match(letter))
    if not letters or 2 * fitting >= len(letters):
        return None
    return Flaw("script", f"{fitting} of {len(letters)} letters are {' or '.join(allowed)}")


def absent_input(text: str) -> Flaw | None:
    """`absent_input`: English words point at an input (`the following text`), and none is there.

    It counts as there where the text has another line, a colon, a quotation, code, or a figure.
    """
    found = _POINTS.search(text)
    if found is None or _BROUGHT.search(text):
        return None
    return Flaw("absent_input", found[0])


def length(tokens: int, most: int) -> Flaw | None:
    """`too_long`: more than `most` tokens of the student."""
    return Flaw("too_long", f"{tokens} tokens") if tokens > most else None
