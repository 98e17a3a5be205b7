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


def count(number: float | None) -> str:
    """Return a count, or seconds, as a whole number."""
    return DASH if number is None else f"{number:,.0f}"
