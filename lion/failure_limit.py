"""The number of rows or calls of a phase that may be dropped before the phase stops. Pure."""

from collections import Counter
from collections.abc import Sequence

from lion.errors import TooManyDroppedError
from lion.records.rows import Dropped

_FEW = 2
"""Rows that may always be dropped, where they are at most a quarter: a small run does not stop for
one row. A share of 0 allows none."""


def allowed_failures(share: float, count: int) -> int:
    """Return how many of `count` rows may be dropped: `share` (0 to 1) of them, or a few."""
    if share == 0:
        return 0
    return max(int(share * count + 1e-9), min(_FEW, count // 4))  # 0.29 * 100 is below 29


_MANY = 0.2
"""The share of a stage's rows from which one reason is the first thing that the stage says."""


def frequent_reason(dropped: Sequence[Dropped], count: int) -> str:
    """Return a first word for a stage of `count` rows or calls: the reason of too many drops.

    As `truncated: 43 of 84; `; empty where no reason has dropped more than a fifth.
    """
    ((reason, number),) = Counter(row.reason for row in dropped).most_common(1) or [("", 0)]
    return f"{reason}: {number:,} of {count:,}; " if number > _MANY * count else ""


def check_dropped(dropped: Sequence[Dropped], share: float, count: int, parameter: str) -> None:
    """Raise TooManyDroppedError where more than `share` of `count` rows were dropped.

    `parameter` is the name of the share in params.yaml, for the message.
    """
    allowed = allowed_failures(share, count)
    if len(dropped) <= allowed:
        return
    reasons = Counter(row.reason for row in dropped).most_common()
    counts = ", ".join(f"{reason} {number}" for reason, number in reasons)
    example = dropped[0].detail or dropped[0].text or ""
    raise TooManyDroppedError(
        f"{len(dropped)} of {count} rows dropped ({counts}), {parameter} = {share:g} allows "
        f"{allowed}; the first: {dropped[0].id}: {example[:200]}. "
        f"Fix the cause or raise {parameter}; every reply is kept, so running again is free."
    )
