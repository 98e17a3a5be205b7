"""Filters of usability: pure functions of a text that return a reason to reject it, or None.

Control characters and broken encoding, the wrong script, too many tokens for the student, words
that refer to a missing input; and the counter of the student's tokens, which needs no torch.
Novelty and overlap with exams are other modules' (`novelty`, `decontamination`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import regex

from lion.config.settings import Quality, Student
from lion.errors import ModelError

Count = Callable[[str], int]
"""Counts the tokens of a text."""

# C0 and C1 except tab and line ends; noncharacters; lone surrogates; the replacement character.
_CONTROL = regex.compile(r"[\p{Cc}--[\t\n\r\x85]]|[\p{Cn}&&\p{NChar}]|\p{Cs}|\uFFFD", regex.V1)
# UTF-8 decoded as Latin-1 or Windows-1252; two such pairs are needed to reject a text.
_MOJIBAKE = regex.compile(
    r"(?:[\u00C2\u00C3][\u0080-\u00BF\u0152-\u02DC\u2018-\u2122]|\u00E2\u20AC)"
)
_LETTER = regex.compile(r"\p{L}")
# Words that point at an input, unless they speak of time (the following day), of a place (the
# picture above the sofa) or of who provides it. `that` is left out: that given enough time, ...
_TIME = (
    r"(?:moments?|seconds?|minutes?|hours?|days?|nights?|mornings?|noon|afternoons?|evenings?|weeks?"
    r"|weekends?|fortnights?|months?|quarters?|seasons?|semesters?|terms?|years?|decades?|centur(?:y|ies)"
    r"|generations?|spring|summer|autumn|fall|winter|easter|christmas"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
    r"|january|february|march|april|june|july|august|september|october|november|december)\b"
)
_REFERENCE = regex.compile(
    r"\b(?:(?:the|this|these|those)\s+(?:"
    rf"following(?!\s+(?:\w+\s+){{0,2}}?{_TIME})"
    r"|given(?!\s+(?:moment|names?)\b)|provided"
    r"|attached(?!\s+(?:garage|bathroom|house|apartment|kitchen)\b)"
    r"|(?:above|below)(?![\s-]+(?:average|normal|zero|freezing|ground|sea|market)\b))\b"
    r"|(?:text|passage|paragraph|sentences?|table|image|picture|article|code|list|data|input)\s+(?:"
    r"(?:below|above)(?!\s+(?:the|a|an|my|your|his|her|its|our|their|it|them|which|sea)\b)"
    r"|(?:attached|provided|given)(?!\s+(?:by|to|that)\b))\b)",
    regex.IGNORECASE,
)
# A quotation in single marks opens behind a space; a dash with spaces stands for a colon.
_INPUT = regex.compile(r"[:\n\"\u201c\u2018\u00ab`{\[<|]|\d|(?<!\w)'\w|\s[-\u2013\u2014]\s")


@dataclass(frozen=True, slots=True)
class RejectReason:
    """Why a text is rejected: a reason that is counted, and its detail."""

    reason: str
    detail: str


def reject_reason(text: str, settings: Quality, tokens: Count | None = None) -> RejectReason | None:
    """Return the first reason against `text` among the tests that params ask for, or None.

    `tokens` counts the tokens of the student; without it, length is not tested.
    """
    reason = encoding(text) if settings.encoding else None
    if reason is None and settings.scripts is not None:
        reason = script(text, settings.scripts)
    if reason is None and settings.absent_input:
        reason = absent_input(text)
    if reason is None and settings.max_tokens is not None and tokens is not None:
        reason = length(tokens(text), settings.max_tokens)
    return reason


def encoding(text: str) -> RejectReason | None:
    """`control`: a control or replacement character. `mojibake`: UTF-8 decoded as Latin-1."""
    if text.isascii() and text.isprintable():
        return None
    control = _CONTROL.search(text)
    if control is not None:
        return RejectReason("control", f"U+{ord(control[0]):04X} at {control.start()}")
    broken = _MOJIBAKE.findall(text)
    return RejectReason("mojibake", f"{broken[0]!r}") if len(broken) > 1 else None


def script(text: str, allowed: list[str]) -> RejectReason | None:
    """`script`: fewer than half of the letters are of the Unicode scripts `allowed`.

    An approximation of the language. A text without letters passes.
    """
    letters = _LETTER.findall(text)
    in_script = regex.compile("|".join(rf"\p{{Script={name}}}" for name in allowed))
    fitting = sum(1 for letter in letters if in_script.match(letter))
    if not letters or 2 * fitting >= len(letters):
        return None
    return RejectReason("script", f"{fitting} of {len(letters)} letters are {' or '.join(allowed)}")


def absent_input(text: str) -> RejectReason | None:
    """`absent_input`: English words refer to an input (`the following text`) that is missing.

    A second line, a colon, a quotation, a dash, code or a digit counts as the input.
    """
    reference = _REFERENCE.search(text)
    if reference is None or _INPUT.search(text):
        return None
    return RejectReason("absent_input", reference[0])


def length(tokens: int, most: int) -> RejectReason | None:
    """`too_long`: more than `most` tokens of the student."""
    return RejectReason("too_long", f"{tokens} tokens") if tokens > most else None


def token_counter(quality: Quality, student: Student) -> Count | None:
    """Return a counter of the student's tokens, or None where `quality.max_tokens` is null.

    Counts the text without what a chat template adds. Raises ModelError where the student's
    tokenizer.json cannot be read.
    """
    if quality.max_tokens is None:
        return None
    from tokenizers import Tokenizer

    path = _tokenizer_file(student)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no type of its own
        raise ModelError(
            f"{path}: not readable as a tokenizer ({error}); check student.model"
        ) from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _tokenizer_file(student: Student) -> Path:
    folder = Path(student.model).expanduser()
    if folder.is_dir():
        return folder / "tokenizer.json"
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(student.model, "tokenizer.json", revision=student.revision))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"{student.model}: its tokenizer.json is not to be had ({error}). Set "
            "quality.max_tokens: null, or student.model to a folder that has it."
        ) from error
