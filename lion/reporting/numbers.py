"""Figures as text, with their units; what is not known is a dash. Pure."""

from lion.escape import DASH


def share(found: float | None) -> str:
    """Return a share as text, in per cent; a dash where it is not known."""
    return DASH if found is None else percent(100 * found)


def percent(found: float | None) -> str:
    """Return a figure in per cent as text; a dash where it is not known."""
    return DASH if found is None else f"{found:.1f} %"
