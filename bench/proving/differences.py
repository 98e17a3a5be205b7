"""Paired differences over seeds, with Student's interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from proving.arms import Comparison
from proving.results import Results

CONFIDENCE = 0.95
Figure = Callable[[Mapping[str, Any]], float]
"""Takes a figure from a result."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of paired differences over seeds, with Student's t interval (None: one seed)."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def __str__(self) -> str:
        """Return it in points of accuracy."""
        if self.low is None or self.high is None:
            return f"{100 * self.mean:+.1f} (one seed)"
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"

    @property
    def side(self) -> str:
        """`ahead` or `behind` where the interval lies on one side of zero, else `undecided`."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "undecided"
        return "ahead" if self.low > 0 else "behind"


def last(result: Mapping[str, Any]) -> float:
    """Return the macro accuracy after the last iteration."""
    return float(result["iterations"][-1]["accuracy"])


def pool_weighted(result: Mapping[str, Any]) -> float:
    """Return the last accuracy, with families weighted as in the base pool."""
    counts = result["base"]["pool_by_family"]
    families = result["iterations"][-1]["families"]
    weighted = sum(families[name] * count for name, count in counts.items())
    return float(weighted / sum(counts.values()))


def difference(
    results: Results, compared: Comparison, regime: str, skew: float, figure: Figure = last
) -> Difference | None:
    """Return the paired difference of a figure; None without common seeds."""
    ours, others = (
        results.get((regime, skew, arm.name), {}) for arm in (compared.ours, compared.others)
    )
    return of_pairs([(figure(ours[seed]), figure(others[seed])) for seed in ours if seed in others])


def of_pairs(pairs: Sequence[tuple[float, float]]) -> Difference | None:
    """Return the difference of pairs; None without any."""
    values = [first - second for first, second in pairs]
    if not values:
        return None
    if len(values) == 1:
        return Difference(values[0], None, None, 1)
    from scipy import stats

    interval = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return Difference(fmean(values), float(interval.low), float(interval.high), len(values))
