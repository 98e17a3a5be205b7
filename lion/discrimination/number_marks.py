"""The values of expected answers and of answers, for the scorer `number`.

An expected answer has a single value of one kind, or is refused with a reason: a text of several
numbers is never cut to its last one. An answer's value is in the part that it marks, or else it is
the last value.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from lion.discrimination.number_text import SYMBOL, TIMES, marked_answers, plain
from lion.discrimination.numbers import Kind, Readings, Token, Value, range_of, scan

NO_NUMBER = "no number in the expected answer"

_ADVICE = "write the answer alone in `expected`, or use the scorer `math`, `exact` or `referee`"
# What may stand between a mark of the answer and its value.
_LEAD = re.compile(
    r"(?:[\s:=\u2248~*_(\"'$]|(?:approximately|approx\.|about|around|roughly|nearly|simply|just|exactly"
    r"|indeed|equal\sto|a\stotal\sof|also|therefore|thus|now|only|still)\b|[A-Za-z]\w{0,2}\s?(?==))*",
    re.IGNORECASE,
)
_OPERATOR = re.compile(rf"\)?\s?[-+*/{TIMES}]\s?[(]?")
_EQUATION = re.compile(
    rf"[^,;:(.=]{{0,80}}[-+*/{TIMES}](?:[^,;:(.]|\.(?=[0-9])){{0,120}}[=\u2248]\s{{0,3}}"
)
_RESULT_OF = re.compile(r"\s{0,3}[=\u2248]\s{0,3}(?=[-+0-9.$])")  # of 5! = 120
# A value that stands in an expression, an inequality or a name is none of its own.
_UNEVALUATED = re.compile(rf"[{SYMBOL}^=<>\u2264\u2265\u00b1+*{TIMES}|0-9]|/(?![A-Za-z])")
_ASSIGNMENT = re.compile(r"\s*(?:[A-Za-z]\w?\s?[=\u2248]\s?)?")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)
_BETWEEN = re.compile(
    r"\s?(?:[,;]|,?\s(?:and|or|und|oder))\s?(?:[A-Za-z]\w?\s?=\s?)?", re.IGNORECASE
)
_TO = re.compile(
    r"\s(?:to|through|until|bis|and)\s|\s?(?:\u2013|\u2014|\.\.\.?|-)\s?", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_CONCLUSION = re.compile(r"=|\b(?:is|are|equals|be)\b", re.IGNORECASE)
_RESULT = re.compile(
    r"\b(?:so|thus|hence|therefore|total|altogether|in all|result|finally|also|insgesamt|daher)\b",
    re.IGNORECASE,
)
_MONTHS = (
    "jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|m\u00e4rz|apr(?:il)?|may|mai|june?|juni|july?|juli"
    "|aug(?:ust)?|sep(?:t(?:ember)?)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?"
)
_MONTH_NUMBERS = {
    "jan": 1, "feb": 2, "mar": 3, "m\u00e4r": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7,
    "aug": 8, "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
_NAMED_DATE = re.compile(
    rf"\b(?:(?P<first>{_MONTHS})\.?[ ](?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?\b"
    rf"|(?P<later_day>[0-3]?[0-9])(?:st|nd|rd|th|\.)?[ ](?:of[ ])?(?P<second>{_MONTHS})\b\.?)"
    r"(?:,?[ ](?P<year>[0-9]{4}))?(?![\w:])",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def expected_readings(expected: str) -> Readings | str:
    """Return the possible values of an expected answer, or the reason why it has none.

    The value is read from the part marked as the answer (behind `####`, or in a box). Without a
    mark it is read from the last sentence of a worked solution, or else from all of the text.
    """
    for part in marked_answers(expected):
        if re.search(r"[0-9\u00bc-\u00be]", plain(part)):
            return _single(plain(part), expected)
    text = plain(expected)
    sentences = [part for part in _SENTENCE_END.split(text) if re.search(r"[0-9]", part)]
    if sentences and _concludes(sentences):
        readings = _single(text, expected) if len(sentences) == 1 else NO_NUMBER
        if not isinstance(readings, str):
            return readings
        return _single(_conclusion(sentences[-1]), expected)
    return _single(text, expected)


def _concludes(sentences: Sequence[str]) -> bool:
    """Return whether the sentences work out a result that the last of them states.

    Two facts side by side do not: nothing says which of their numbers is the answer.
    """
    last = sentences[-1]
    if re.search(r"[0-9].*=", last) or len(sentences) == 1:
        return True
    names = [name for name in map(_variable, sentences) if name is not None]
    if _variable(last) is not None:
        return len(names) == 1
    words = re.findall(r"[^\W\d_]{2,}", last)
    worked_out = any("=" in sentence for sentence in sentences) or _RESULT.search(last) is not None
    return len(words) > 1 and worked_out


def _variable(sentence: str) -> str | None:
    """Return the name that a line such as `x = 8` gives a value."""
    match = re.fullmatch(r"\W*([A-Za-z])\s?=\s?[^=A-Za-z]*", sentence)
    return match[1] if match else None


def _conclusion(sentence: str) -> str:
    """Return what follows the last `=`, else the only verb, where a value does."""
    places = list(_CONCLUSION.finditer(sentence))
    equals = [place for place in places if place[0] == "="]
    if not equals and len(places) != 1:
        return sentence
    end = sentence[(equals or places)[-1].end() :]
    return end if any(True for _ in scan(end)) else sentence


def _single(text: str, expected: str) -> Readings | str:
    """Return the readings of a text that is a single value beside words, or why it is none.

    The reason quotes `expected`, of which `text` is the plain form or a part.
    """
    text = text.strip()
    date = _NAMED_DATE.search(text)
    if date is not None and not re.search(r"[0-9]", text[: date.start()] + text[date.end() :]):
        return (_named(date),)
    body = text[_ASSIGNMENT.match(text).end() :]  # type: ignore[union-attr]  # it may be empty
    tokens = list(scan(body))
    if not tokens:
        return NO_NUMBER
    if len(tokens) == 2 and _is_range(body, tokens):
        return (range_of(tokens[0].readings[0], tokens[1].readings[0]),)
    rest = _outside(body, tokens)
    if len(tokens) > 1:
        listed = _listed(body, tokens)
        return (listed,) if listed and len(_runs(body, tokens)) == 1 else _refused(expected)
    if not tokens[0].readings or _UNEVALUATED.search(rest) or _named_number(body, tokens[0]):
        return _refused(expected)
    return tokens[0].readings


def _outside(text: str, tokens: Sequence[Token]) -> str:
    """Return what stands around and between the tokens."""
    ends = [0, *(token.end for token in tokens)]
    starts = [*(token.start for token in tokens), len(text)]
    return " ".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _named_number(text: str, token: Token) -> bool:
    """Say whether letters run on before or behind, as in B12, GPT-4 and 3x; an ordinal is none."""
    before, behind = text[: token.start], text[token.end : token.end + 3]
    return re.search(r"[A-Za-z]-?$", before) is not None or (
        re.match(r"[A-Za-z]", behind) is not None and _ORDINAL.match(behind) is None
    )


def _refused(expected: str) -> str:
    shown = expected if len(expected) <= 60 else f"{expected[:57]}..."
    return f"expected {shown!r} is no single number, time, date, tuple or range: {_ADVICE}"


# --- of several tokens -------------------------------------------------------------------------


def _is_range(text: str, tokens: Sequence[Token]) -> bool:
    low, high = tokens
    between = text[low.end : high.start]
    joined = _TO.fullmatch(between)
    if joined is None or {low.kind, high.kind} != {"number"}:
        return False
    from_to = re.search(r"\bbetween\s*$", text[max(0, low.start - 12) : low.start], re.IGNORECASE)
    ascending = low.readings[0].parts < high.readings[0].parts
    return ascending and ("and" not in between or from_to is not None)


def _runs(text: str, tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the tokens in runs; within a run only commas, semicolons, `and` or `or` separate."""
    runs: list[list[Token]] = []
    for token in tokens:
        between = text[runs[-1][-1].end : token.start] if runs else ""
        if runs and _BETWEEN.fullmatch(between):
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


def _listed(text: str, tokens: Sequence[Token]) -> Value | None:
    """Return the tuple of the last run of numbers; None where that is a single one."""
    runs = _runs(text, tokens)
    if not runs or len(runs[-1]) < 2 or any(token.kind != "number" for token in runs[-1]):
        return None
    return Value("tuple", tuple(token.readings[0].parts[0] for token in runs[-1]))


def _named(match: re.Match[str]) -> Value:
    month = (match["first"] or match["second"])[:3].lower()
    day = Fraction(match["day"] or match["later_day"])
    year = [Fraction(match["year"])] if match["year"] else []
    return Value("date", (*year, Fraction(_MONTH_NUMBERS[month]), day))


# --- answers -----------------------------------------------------------------------------------


def answer_readings(answer: str, kind: Kind) -> Readings | None:
    """Return the possible values of a student's or teacher's answer; None if it has none.

    The value is read from the part marked as the answer. Without a mark it is the last value: of
    any kind if `kind` is a number, else of that kind.
    """
    for part in marked_answers(answer):
        text = plain(part)
        start = _LEAD.match(text)
        if start is None:
            continue
        readings = _first(text, start.end(), kind)
        if readings is not None:
            return readings
    text = plain(answer)
    return _last(text) if kind == "number" else _last_of(text, kind)


def _first(text: str, start: int, kind: Kind) -> Readings | None:
    """Return the value that begins a marked part: of 5 + 7 = 12 the 12; none of 5 + 7."""
    if kind != "number":
        return _last_of(text, kind)
    tokens = [token for token in scan(text) if token.end > start]
    if not tokens or tokens[0].start > start:
        return None
    if (equation := _EQUATION.match(text, tokens[0].end)) is not None:
        return next((token.readings for token in tokens if token.start >= equation.end()), None)
    if not tokens[0].readings and (result := _RESULT_OF.match(text, tokens[0].end)) is not None:
        return next((token.readings for token in tokens if token.start >= result.end()), ())
    return () if len(tokens) > 1 and _is_sum(text, *tokens[:2]) else tokens[0].readings


def _is_sum(text: str, first: Token, second: Token) -> bool:
    """Say whether nothing but an operator stands between two tokens."""
    between = text[first.end : second.start]
    signed = not between and text[second.start] in "+-"
    return signed or _OPERATOR.fullmatch(between) is not None


def _last(text: str) -> Readings | None:
    """Return the last value of the last line that has one; a value does not run over lines."""
    for line in reversed(text.splitlines()):
        tokens = list(scan(line)) if re.search(r"[0-9]", line) else []
        if tokens:
            return tokens[-1].readings
    return None


def _last_of(text: str, kind: Kind) -> Readings | None:
    values = list(_values(text, kind))
    return values[-1] if values else None


def _values(text: str, kind: Kind) -> Iterator[Readings]:
    """Yield the values of a kind that several words or tokens may make, in no certain order."""
    tokens = list(scan(text))
    if kind == "tuple" and (listed := _listed(text, tokens)) is not None:
        yield (listed,)
    if kind == "range":
        for pair in itertools.pairwise(tokens):
            if _is_range(text, pair):
                yield (range_of(pair[0].readings[0], pair[1].readings[0]),)
    if kind == "date":
        yield from ((_named(match),) for match in _NAMED_DATE.finditer(text))
    for token in tokens:
        if any(reading.kind == kind for reading in token.readings):
            yield token.readings
