"""Text that a model wrote, made safe to look at: what would act on a screen is shown instead.

Control characters move cursors and colour terminals; bidirectional ones turn a line round. Both
become their escape, as Python writes it. Pure.
"""

import re

DASH = "-"  # stands for what is not known

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides, isolates
    "\u2028\u2029\ufeff]"
)


def inert(text: str) -> str:
    """Return `text` with every character that would act on a screen written as its escape."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def clipped(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`; an ellipsis is the last where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def line(text: str, limit: int) -> str:
    """Return `text` on one line, inert, at most `limit` characters."""
    return clipped(inert(" ".join(text[: 4 * limit].split())), limit)
