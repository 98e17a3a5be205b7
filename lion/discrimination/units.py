"""Units of quantities in answers, their spellings, and what they are in the base of a dimension.

Exact factors: of the SI, of the international yard and pound (1959), of a price in cents. A word of
no table is no unit: 12 apples are 12. Nor is one that has two meanings (pounds, degrees).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Unit:
    """What is measured, and how many of the dimension's base unit this is."""

    dimension: str
    factor: Fraction = Fraction(1)


# dimension -> (factor, spellings); spellings of up to two letters are read as they stand
_TABLE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "length": (
        ("1", "m meter meters metre metres Meter"),
        ("1/1000", "mm millimeter millimeters millimetre millimetres"),
        ("1/100", "cm centimeter centimeters centimetre centimetres"),
        ("1000", "km kilometer kilometers kilometre kilometres"),
        ("0.0254", "inch inches"),
        ("0.3048", "ft foot feet"),
        ("0.9144", "yd yard yards"),
        ("1609.344", "mile miles"),
    ),
    "mass": (
        ("1", "kg kilogram kilograms"),
        ("1/1000", "g gram grams"),
        ("1/1000000", "mg milligram milligrams"),
        ("0.45359237", "lb lbs"),
    ),
    "duration": (
        ("1", "s sec secs second seconds Sekunden"),
        ("60", "min mins minute minutes Minuten"),
        ("3600", "h hr hrs hour hours Stunden"),
        ("86400", "day days"),
        ("604800", "week weeks"),
    ),
    "length/duration": (("0.44704", "mph"), ("5/18", "kph kmh kmph")),
    "volume": (
        ("1", "l L liter liters litre litres Liter"),
        ("1/1000", "ml mL milliliter milliliters millilitre millilitres"),
    ),
    "percent": (("1", "% percent per\\scent Prozent"),),
    "per mille": (("1", "\u2030"),),
    "percentage points": (("1", "percentage\\spoints"),),
    "celsius": (("1", "\u00b0C \u2103 degrees\\sCelsius"),),
    "fahrenheit": (("1", "\u00b0F \u2109 degrees\\sFahrenheit"),),
    "dollar": (("1", "dollar dollars USD $"), ("1/100", "cent cents \u00a2")),
    "euro": (("1", "euro euros EUR \u20ac"),),
    "pound sterling": (("1", "GBP \u00a3"),),
    "yen": (("1", "yen JPY"),),
    "rupee": (("1", "rupee rupees INR"),),
    "am": (("1", "am AM a\\.m\\."),),
    "pm": (("1", "pm PM p\\.m\\."),),
}
_BY_SPELLING = {
    spelling.replace("\\s", " ").replace("\\", ""): Unit(dimension, Fraction(factor))
    for dimension, entries in _TABLE.items()
    for factor, spellings in entries
    for spelling in spellings.split()
}
_LONG = {spelling.lower(): unit for spelling, unit in _BY_SPELLING.items() if len(spelling) > 2}
PREFIXES: Mapping[str, Unit] = MappingProxyType(
    {
        "$": Unit("dollar"),
        "us$": Unit("dollar"),
        "usd": Unit("dollar"),
        "\u20ac": Unit("euro"),
        "eur": Unit("euro"),
        "\u00a3": Unit("pound sterling"),
        "\u00a5": Unit("yen"),
        "\u20b9": Unit("rupee"),
        "rs.": Unit("rupee"),
    }
)
"""What stands before an amount, in lower case."""

SCALES: Mapping[str, int] = MappingProxyType(
    {
        "thousand": 10**3,
        "million": 10**6,
        "billion": 10**9,
        "trillion": 10**12,
        "lakh": 10**5,
        "crore": 10**7,
        "mio": 10**6,
        "mrd": 10**9,
        "millionen": 10**6,
        "milliarden": 10**9,
    }
)


def _exactly(spelling: str) -> str:
    """Return the pattern of a spelling; the case of a short one counts: 10 M are no metres."""
    return f"(?-i:{re.escape(spelling)})" if len(spelling) <= 2 else re.escape(spelling)


_SPELLINGS = "|".join(
    spelling if "\\" in spelling else _exactly(spelling)
    for spelling in sorted(
        (word for entries in _TABLE.values() for _, words in entries for word in words.split()),
        key=len,
        reverse=True,
    )
)
UNIT = (
    rf"(?:[\s\u202f]?(?P<power>square |cubic |sq\.? )?(?P<unit>{_SPELLINGS})(?!\w)"
    rf"(?:\^(?P<exponent>[23]))?(?:(?:\s?/\s?|\sper\s)(?P<per>{_SPELLINGS})(?!\w)"
    r"(?:\^(?P<per_exponent>[23]))?)?)?"
)
"""The pattern of a unit behind a numeral, with its groups."""


def unit_of(match: re.Match[str]) -> Unit | None:
    """Return the unit of a match of `UNIT`; None where there is none."""
    unit = _named(match["unit"])
    if unit is None:
        return None
    words = {"s": 2, "c": 3}
    exponent = words.get((match["power"] or " ")[0].lower(), int(match["exponent"] or 1))
    unit = _raised(unit, exponent)
    per = _named(match["per"])
    if per is None:
        return unit
    per = _raised(per, int(match["per_exponent"] or 1))
    return Unit(f"{unit.dimension}/{per.dimension}", unit.factor / per.factor)


def _named(spelling: str | None) -> Unit | None:
    if spelling is None:
        return None
    words = " ".join(spelling.split())
    return _BY_SPELLING.get(words) or _LONG.get(words.lower())


def _raised(unit: Unit, exponent: int) -> Unit:
    if exponent == 1:
        return unit
    return Unit(f"{unit.dimension}^{exponent}", unit.factor**exponent)
