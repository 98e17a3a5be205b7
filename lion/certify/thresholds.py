"""The threshold below which a student may answer, by fixed-sequence testing. Pure numbers.

The promise: of the requests whose uncertainty is at most the limit, the student agrees with its
teacher on at least the share `agreement`, with probability `confidence` over the draw of the
certification rows. It holds for whatever order the uncertainties have: a poor order costs coverage,
never the promise.

1. The grid of limits and the first of them follow from *other* rows (the exam's headline).
2. From strict to loose, a limit passes if P(Bin(accepted, 1 - agreement) <= disagreements) is at
   most delta, on the certification rows. The first failure ends the walk; the last pass is the
   limit.

Learn-then-Test (Angelopoulos et al. 2021) with exact binomial tails; fixed sequences need no
correction for the number of limits (Bauer 1991; Wiens 2003). bench/certificate.py measures it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite

GRID = 40
"""Limits at most, in steps of 2.5 % of the other rows."""
_OF_ESTIMATE = 0.5
"""Expected coverage of the first limit, over what the other rows estimate to be attainable.

Measured: at 0.7 and above the first limit fails too often, below 0.4 a floor of errors stops it.
"""
_SPARE, _OF_ROWS = 5, 0.4
"""Where they estimate nothing: room for five disagreements, or for what 40 % of the rows allow."""
_MARGIN = 1.1
"""Expected over needed rows at the first limit: how many it accepts is up to the draw."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """An answered row: its uncertainty (None: never the student's), and whether teacher agrees."""

    uncertainty: float | None
    agrees: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised: at least `agreement`, except with probability `delta`; both 0 to 1."""

    agreement: float
    delta: float


@dataclass(frozen=True, slots=True)
class LimitTest:
    """A limit, and what the certification rows say of it.

    `most` is the largest number of disagreements with which it would pass, None where none is.
    """

    limit: float
    accepted: int
    disagreements: int
    most: int | None

    @property
    def passes(self) -> bool:
        """Whether the limit keeps the promise."""
        return self.most is not None and self.disagreements <= self.most


@dataclass(frozen=True, slots=True)
class Walk:
    """The limits that were tested, in their order; all but perhaps the last pass.

    `loosest` is the last of the grid, tested or not.
    """

    tested: tuple[LimitTest, ...]
    loosest: LimitTest | None

    @property
    def passed(self) -> LimitTest | None:
        """The limit to deploy, or None."""
        return next((test for test in reversed(self.tested) if test.passes), None)


def limit_grid(others: Sequence[float | None]) -> list[float]:
    """Return the limits, strict first: quantiles of the other rows' uncertainties, each once.

    A row without an uncertainty counts as one that no limit accepts.
    """
    ranked = sorted(inf if value is None else value for value in others)
    cuts = (-(-len(ranked) * step // GRID) for step in range(1, GRID + 1))
    values = {ranked[cut - 1] for cut in cuts if cut}
    return sorted(value for value in values if isfinite(value))


def rows_needed(promise: Promise, disagreements: int) -> int:
    """Return the least number of accepted rows that pass with so many disagreements.

    Of 97 % and delta 0.05: 99, 157, 208, 257, 303, 348 for none to five.
    """
    from scipy.stats import binom  # slow to import

    low, high = 0, 1
    while binom.cdf(disagreements, high, 1 - promise.agreement) > promise.delta:
        low, high = high, 2 * high
    while high - low > 1:  # fails at low, passes at high
        middle = (low + high) // 2
        passes = binom.cdf(disagreements, middle, 1 - promise.agreement) <= promise.delta
        low, high = (low, middle) if passes else (middle, high)
    return high


def most_disagreements(promise: Promise, accepted: int) -> int | None:
    """Return the most disagreements with which `accepted` rows pass; None where none do."""
    if accepted < rows_needed_table(promise)[0]:
        return None
    from scipy.stats import binom

    most = int(binom.ppf(promise.delta, accepted, 1 - promise.agreement))
    while most >= 0 and binom.cdf(most, accepted, 1 - promise.agreement) > promise.delta:
        most -= 1
    return most if most >= 0 else None


@lru_cache(maxsize=64)
def rows_needed_table(promise: Promise) -> tuple[int, ...]:
    """Return the rows needed for 0 to 5 disagreements."""
    return tuple(rows_needed(promise, count) for count in range(_SPARE + 1))


def first_limit(
    limits: Sequence[float], others: Sequence[LabelledRow], rows: int, promise: Promise
) -> int:
    """Return where in `limits` the walk over `rows` certification rows starts.

    At half the coverage that the other rows estimate to be attainable, where passing is likeliest.
    By the other rows alone: a start that looks at the certification rows would break the promise.
    """
    tests = [limit_test(others, limit, promise) for limit in limits]
    needed, scale = rows_needed_table(promise), rows / max(1, len(others))
    kept = [
        test.accepted
        for test in tests
        if test.disagreements <= (1 - promise.agreement) * test.accepted
    ]
    least = _MARGIN * needed[0]
    if kept:
        least = max(least, _OF_ESTIMATE * scale * kept[-1])
    else:
        least = _MARGIN * max((n for n in needed if n <= _OF_ROWS * rows), default=needed[0])
    enough = (place for place, test in enumerate(tests) if scale * test.accepted >= least)
    return next(enough, max(0, len(limits) - 1))


def limit_test(rows: Sequence[LabelledRow], limit: float, promise: Promise) -> LimitTest:
    """Return what the certification rows say of one limit."""
    accepted = [row for row in rows if is_accepted(row.uncertainty, limit)]
    disagreements = sum(not row.agrees for row in accepted)
    most = most_disagreements(promise, len(accepted))
    return LimitTest(limit, len(accepted), disagreements, most)


def is_accepted(uncertainty: float | None, limit: float | None) -> bool:
    """Return whether a student may answer: never without an uncertainty, or without a limit."""
    return (
        uncertainty is not None
        and limit is not None
        and isfinite(uncertainty)
        and uncertainty <= limit
    )


def walk(rows: Sequence[LabelledRow], others: Sequence[LabelledRow], promise: Promise) -> Walk:
    """Test the limits on the certification `rows` from strict to loose, up to the first failure.

    `others` are other rows of the same traffic.
    """
    limits = limit_grid([row.uncertainty for row in others])
    tested: list[LimitTest] = []
    for limit in limits[first_limit(limits, others, len(rows), promise) :]:
        tested.append(limit_test(rows, limit, promise))
        if not tested[-1].passes:
            break
    loosest = limit_test(rows, limits[-1], promise) if limits else None
    return Walk(tuple(tested), loosest)


def lower_bound(accepted: int, disagreements: int, delta: float) -> float | None:
    """Return the one-sided bound of the agreement, 0 to 1 (Clopper and Pearson); None: no rows.

    Of one limit that was fixed before; of the best of several it says too much.
    """
    from scipy.stats import binomtest

    if not accepted:
        return None
    interval = binomtest(accepted - disagreements, accepted, alternative="greater").proportion_ci(
        1 - delta, method="exact"
    )
    return float(interval.low)


def spent_delta(confidence: float, place: int | None) -> float:
    """Return the delta of a certificate: all of it, or that of the `place`-th student, from 1.

    6 delta / (pi i)^2 sums to delta over all i, so the rows may serve any number of students.
    """
    from math import pi

    delta = 1 - confidence
    return delta if place is None else 6 * delta / (pi * place) ** 2
