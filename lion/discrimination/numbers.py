"""Numbers, times, dates, tuples and ranges in normalised text, each compared as what it is.

A quantity is an exact fraction with a unit where the text gives one; 1/2 is no 2, and 10:45 no 45.
Where a numeral can be read in two manners (1,5: a decimal comma or a pair), a token has both
readings. Does not look for the part of an answer that counts (see `number_marks`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from lion.discrimination.number_text import NARROW, SYMBOL, TIMES
from lion.discrimination.units import PREFIXES, SCALES, UNIT, Unit, unit_of

Kind = Literal["number", "time", "ratio", "date", "version", "tuple", "range"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of one kind: its numbers, and its unit, brackets or half of the day, if given.

    date: year, month, day (without a year: month, day). time, ratio, version: the parts as written.
    """

    kind: Kind
    parts: tuple[Fraction, ...]
    unit: Unit | None = None

    def equals(self, other: "Value", tolerance: Fraction = Fraction(0)) -> bool:
        """Return whether both are the same value, up to `tolerance` in the unit of `other`.

        If both have a unit, this value is converted exactly: 5 km equals 5000 m. A value without a
        unit equals one with any unit: 50 % equals 50.
        """
        if self.kind != other.kind or len(self.parts) != len(other.parts):
            return False
        scale = Fraction(1)
        if self.unit is not None and other.unit is not None:
            if self.unit.dimension != other.unit.dimension:
                return False
            scale = self.unit.factor / other.unit.factor
        pairs = zip(self.parts, other.parts, strict=True)
        return all(abs(part * scale - right) <= tolerance for part, right in pairs)


Readings = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A value in a text, from `start` to `end`; without readings where it is not evaluated."""

    start: int
    end: int
    readings: Readings

    @property
    def kind(self) -> Kind | None:
        """The kind of the first reading."""
        return self.readings[0].kind if self.readings else None


# --- numerals ----------------------------------------------------------------------------------

_GROUPED = "|".join(
    rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}}){{1,12}}(?![0-9])(?:[.,][0-9]+)?"
    for mark in (" ", NARROW, "'", "\u2019", "_")
)
_NUMERAL = (
    r"(?:(?<![0-9])(?:"
    rf"(?!0[0-9]{{0,2}}[ ,.'\u2019_{NARROW}])(?:{_GROUPED}"
    r"|[0-9]{1,3}(?:\.[0-9]{3}){1,12},[0-9]+(?![0-9]|\.[0-9])"  # 1.234,5
    r"|[0-9]{1,3}(?:\.[0-9]{3}){2,12}(?![0-9]|\.[0-9])"  # 1.234.567
    r"|[0-9]{1,3}(?:,[0-9]{3}){1,12}(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,2}(?:,[0-9]{2}){1,12},[0-9]{3}(?![0-9])(?:\.[0-9]+)?)"  # 12,34,567
    # a decimal comma: alone, and not before three digits, which are a group or a list's
    r"|(?<![0-9],)(?:[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})|0,[0-9]{3})(?![0-9])(?!,[0-9]|\.[0-9])"
    r"|[0-9]+(?:\.[0-9]+)?)"
    r"|(?<![\w.])\.[0-9]+)"
    r"(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
)
_POWER = (
    rf"(?:(?P<times>{_NUMERAL})\s?[*xX{TIMES}]\s?)?(?P<base>(?<![0-9.,])[0-9]{{1,6}})(?:\^|\*\*)"
    r"(?P<raised>[-+]?[0-9]{1,3}(?![0-9]))"
)
_DIVISION = (
    rf"(?:(?P<whole>[0-9]{{1,9}})(?:[ {NARROW}]|\sand\s))?"
    rf"(?P<over>\(-?[0-9.]{{1,20}}\)|{_NUMERAL})\s?/\s?(?P<under>\(-?[0-9.]{{1,20}}\)|{_NUMERAL})"
)
_CURRENCY = "|".join(re.escape(prefix) for prefix in sorted(PREFIXES, key=len, reverse=True))
_QUANTITY = re.compile(
    rf"(?P<sign>(?<![\w.)])[-+])?(?P<currency>(?:{_CURRENCY})\s?)?(?P<inner>(?<=[\s$\u20ac\u00a3])-)?"
    rf"(?:{_DIVISION}|{_POWER}|(?P<numeral>{_NUMERAL}))"
    rf"(?:\s?(?P<scale>{'|'.join(SCALES)})\b)?{UNIT}",
    re.IGNORECASE,
)
# A numeral that goes on is none: a third division, a base, a symbol that is not evaluated.
_GOES_ON = re.compile(
    rf"(?:[)\s]{{0,4}}/\s?[0-9.]{{1,20}}|_\{{?[0-9]{{1,9}}\}}?|\s?{SYMBOL}|\^[^\s,;]{{0,20}})+"
)
_FACTORIAL = re.compile(r"(?<=[0-9])!+")
# An exclamation ends a sentence with words before its number, as in "That makes 5!"; 5! is none.
_WORD_BEFORE = re.compile(r"[^\W\d_]{2,}[\s:*_\"'(]{0,4}$")
_SENTENCE_AFTER = re.compile(r"[\"')*_]{0,4}(?:\s+[A-Z\u00c0-\u00de]|\s*$)", re.MULTILINE)
_SYMBOL_BEFORE = re.compile(rf"[{SYMBOL}\u00b1][\s({{]{{0,3}}$")


def _decimal(numeral: str) -> Fraction:
    """Return the value of a numeral; which mark begins the decimals, its grammar has decided."""
    mantissa, _, exponent = numeral.lower().partition("e")
    digits = re.sub(f"[ '\u2019_{NARROW}]", "", mantissa)
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif digits.count(",") == 1 and not _groups_thousands(digits, digits == mantissa):
        digits = digits.replace(",", ".")
    digits = digits.replace(",", "")
    return Fraction(Decimal(f"{digits}e{exponent}" if exponent else digits))


def _groups_thousands(digits: str, only_mark: bool) -> bool:
    return only_mark and re.fullmatch(r"[1-9][0-9]{0,2},[0-9]{3}(?:\.[0-9]+)?", digits) is not None


def _core(match: re.Match[str]) -> Fraction | None:
    """Return the value of a quantity's numeral, None where it is none."""
    if match["under"] is not None:
        over, under = (_decimal_in_brackets(match[name]) for name in ("over", "under"))
        if under == 0:
            return None
        if match["whole"] is None:
            return over / under
        # 4 10/3 is no mixed number
        return int(match["whole"]) + over / under if 0 < over < under else None
    if match["base"] is not None:
        base, raised = int(match["base"]), int(match["raised"])
        if base == 0 and raised < 0:
            return None
        power = Fraction(base) ** raised
        return power if match["times"] is None else _decimal(match["times"]) * power
    return _decimal(match["numeral"])


def _decimal_in_brackets(text: str) -> Fraction:
    sign = -1 if text.startswith("(-") else 1
    return sign * _decimal(text.strip("(-)"))


def _quantity(match: re.Match[str]) -> Readings | None:
    value = _core(match)
    if value is None:
        divides_by_zero = match["under"] and not _decimal_in_brackets(match["under"])
        return () if divides_by_zero else None
    if match["scale"]:
        value *= SCALES[match["scale"].lower()]
    sign = -1 if "-" in (match["sign"], match["inner"]) else 1
    unit = PREFIXES[match["currency"].strip().lower()] if match["currency"] else unit_of(match)
    readings = [Value("number", (sign * value,), unit)]
    pair = re.fullmatch(r"([0-9]+),([0-9]+)", match["numeral"] or "")
    if pair and unit is None and not (match["sign"] or _groups_thousands(pair[0], True)):
        readings.append(Value("tuple", (Fraction(pair[1]), Fraction(pair[2]))))
    if unit is not None and unit.dimension in ("am", "pm") and value.denominator == 1:
        readings += _clock((value, Fraction(0)), unit)
    return tuple(readings)


# --- other kinds -------------------------------------------------------------------------------

_COLON = re.compile(
    r"(?<![\w.:])(?P<parts>[0-9]{1,9}(?:\.[0-9]{1,9})?"
    r"(?:(?::| : )[0-9]{1,9}(?:\.[0-9]{1,9})?){1,4})(?!:?[0-9])"
    r"(?:\s?(?P<half>[ap])\.?m\b\.?)?",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<![\w.-])(?:(?P<iso>[0-9]{4}([-/.])[0-9]{1,2}\2[0-9]{1,2})"
    r"|(?P<dotted>[0-9]{1,2}\.\s?[0-9]{1,2}\.\s?[0-9]{4})"
    r"|(?P<slashed>[0-9]{1,2}([/-])[0-9]{1,2}\5[0-9]{4}))(?![\w-]|[./][0-9])"
)
_VERSION = re.compile(r"(?:(?<![\w.])|(?<=\b[vV]))[0-9]{1,9}(?:\.[0-9]{1,9}){2,7}(?![\w]|\.[0-9])")
_BRACKETED = re.compile(r"(?P<open>[(\[{])(?P<items>[^()\[\]{}\n]{3,400})(?P<close>[)\]}])")
_RANGE = re.compile(r"\s?(?P<dash>[\u2013\u2014]|--|-)\s?(?=[0-9.$\u20ac\u00a3])")


def _clock(parts: tuple[Fraction, ...], half: Unit | None) -> list[Value]:
    """Return a time as written, and on the 24-hour clock where the half of the day is given."""
    if half is None:
        return [Value("time", parts)]
    afternoon = 12 if half.dimension == "pm" else 0
    hours = parts[0] % 12 + afternoon
    return [Value("time", parts, half), Value("time", (hours, *parts[1:]), Unit("24h"))]


def _colon(match: re.Match[str]) -> Readings:
    written = re.split(r"\s?:\s?", match["parts"])
    parts = tuple(Fraction(part) for part in written)
    clock = all(re.fullmatch("[0-5][0-9]", part) for part in written[1:]) and len(parts) < 4
    if not clock or " " in match["parts"]:
        return (Value("ratio", parts),)
    half = Unit(f"{match['half'].lower()}m") if match["half"] else None
    return tuple(_clock(parts, half))


def _date(match: re.Match[str]) -> Readings:
    """Return the date; none of 03/04/2024, where day and month may be either."""
    parts = [int(part) for part in re.split(r"[-/.]\s?", match[0])]
    if match["iso"]:
        year, month, day = parts
    elif match["dotted"]:
        day, month, year = parts
    else:
        (month, day), year = parts[:2], parts[2]
        if month > 12:
            month, day = day, month
        elif day <= 12 and day != month:
            return ()
    return (Value("date", (Fraction(year), Fraction(month), Fraction(day))),)


def _version(match: re.Match[str]) -> Readings | None:
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{3}){2,}", match[0]):
        return None  # thousands
    return (Value("version", tuple(Fraction(part) for part in match[0].split("."))),)


def _bracketed(match: re.Match[str]) -> Readings | None:
    """Return the tuple, interval or set; (1,234) is also 1234, and (x, 2) nothing."""
    unit = Unit(match["open"] + match["close"])
    mark = ";" if ";" in match["items"] else ","
    items = [item(text) for text in match["items"].split(mark)]
    parts = [reading.parts[0] for reading in items if reading is not None]
    if len(parts) < 2 or len(parts) < len(items):
        return None
    ordered = sorted(parts) if match["open"] == "{" else parts
    pair = Value("tuple", tuple(ordered), unit)
    number = item(match["items"]) if _groups_thousands(match["items"], True) else None
    return (pair,) if number is None else (pair, number)


def item(text: str) -> Value | None:
    """Return the number that `text` is, `x = ` before it apart; None where it is none."""
    match = _QUANTITY.fullmatch(re.sub(r"^\s*(?:[A-Za-z]\w?\s?=\s?)?", "", text).rstrip())
    readings = _quantity(match) if match else None
    return readings[0] if readings else None


_GRAMMAR: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], Readings | None]]] = (
    (_BRACKETED, _bracketed),
    (_DATE, _date),
    (_VERSION, _version),
    (_COLON, _colon),
    (_QUANTITY, _quantity),
)
_START = re.compile(
    rf"[(\[{{]|(?<![\w.)])[-+](?=[0-9.$\u20ac\u00a3])|{_CURRENCY}|\.?[0-9]", re.IGNORECASE
)


def scan(text: str) -> Iterator[Token]:
    """Yield the values of a normalised text, from left to right; an exponent is none."""
    place = 0
    while (start := _START.search(text, place)) is not None:
        token = _token_at(text, start.start())
        place = start.start() + 1 if token is None else token.end
        if token is not None and not text[: token.start].endswith("^"):
            yield token


def _token_at(text: str, start: int) -> Token | None:
    for pattern, read in _GRAMMAR:
        match = pattern.match(text, start)
        readings = read(match) if match else None
        if match is None or readings is None:
            continue
        token = Token(start, match.end(), readings)
        if pattern is not _QUANTITY:
            return token
        goes_on = _GOES_ON.match(text, token.end) or _factorial(text, token)
        if goes_on or _SYMBOL_BEFORE.search(text[max(0, start - 5) : start]):
            return Token(start, goes_on.end() if goes_on else token.end, ())
        return _range(text, token) or token
    return None


def _factorial(text: str, token: Token) -> re.Match[str] | None:
    marks = _FACTORIAL.match(text, token.end)
    if marks is None:
        return None
    before = text[max(0, token.start - 40) : token.start]
    ends = _WORD_BEFORE.search(before) and _SENTENCE_AFTER.match(text, marks.end())
    return None if ends else marks


def _range(text: str, first: Token) -> Token | None:
    """Return the range that begins with `first`; 10-4 is none, for it descends."""
    dash = _RANGE.match(text, first.end)
    match = _QUANTITY.match(text, dash.end()) if dash else None
    readings = _quantity(match) if match else None
    if dash is None or match is None or not readings:
        return None
    low, high = first.readings[0], readings[0]
    spaced_hyphen = dash["dash"] == "-" and dash[0] != "-"
    if spaced_hyphen or low.parts[0] >= high.parts[0]:
        return None
    return Token(first.start, match.end(), (range_of(low, high),))


def range_of(low: Value, high: Value) -> Value:
    """Return the range between two numbers, in the unit of either."""
    return Value("range", (low.parts[0], high.parts[0]), high.unit or low.unit)
