"""A student less another one, over runs: what another run would give, not another exam."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from proving.differences import CONFIDENCE, Difference, of_pairs

from lion import statistics

Marks = Mapping[str, bool]
"""Right or wrong, by row."""


def of_runs(runs: Sequence[tuple[Marks, Marks]]) -> Difference:
    """Return the mean of a student's accuracy less another's, over runs on the same rows.

    The interval is Student's over runs: students of two seeds differ by more than chance among the
    rows of an exam. Of a single run it is that of its paired rows.
    """
    if any(ours.keys() != others.keys() for ours, others in runs):
        raise ValueError("two students of a run were marked on other rows")
    if len(runs) == 1:
        ours, others = runs[0]
        found = statistics.difference([(ours[row], others[row]) for row in ours], CONFIDENCE)
        if found is None:
            raise ValueError("no row has both marks")
        return Difference(found.value, found.low, found.high, 1)
    difference = of_pairs([(fmean(ours.values()), fmean(others.values())) for ours, others in runs])
    if difference is None:
        raise ValueError("there is no run")
    return difference


def shown(found: Difference) -> str:
    """Return a difference in points, as documents write it."""
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.1f}"
    return f"{100 * found.mean:+.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"
