"""Figures as text, with their units; what is not known is a dash. Pure."""

from lion.escape import DASH


def share(number: float | None) -> str:
    """Return a share as text, in per cent; a dash where it is not known."""
    return DASH if number is None else percent(100 * number)


def percent(number: float | None) -> str:
    """Return a figure in per cent as text; a dash where it is not known."""
    return DASH if number is None else f"{number:.1f} %"
