"""Figures as text, with their units; an unknown figure is a dash."""

from lion.escape import DASH


def share(number: float | None) -> str:
    """Return a share (0 to 1) in per cent."""
    return DASH if number is None else percent(100 * number)


def percent(number: float | None) -> str:
    """Return a figure in per cent."""
    return DASH if number is None else f"{decimal(number)} %"


def decimal(number: float | None) -> str:
    """Return a figure without a unit, to the tenth."""
    return DASH if number is None else f"{number:.1f}"


def interval(bounds: tuple[float, float] | None, scale: float = 1.0, sign: str = "") -> str:
    """Return "low to high", each times `scale`, to the tenth; `sign` "+" shows it. Else empty."""
    if bounds is None:
        return ""
    low, high = (f"{scale * bound:{sign}.1f}" for bound in bounds)
    return f"{low} to {high}"


def count(number: float | None) -> str:
    """Return a count, or seconds, as a whole number."""
    return DASH if number is None else f"{number:,.0f}"
