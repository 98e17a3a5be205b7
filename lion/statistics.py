"""What marks and scores say together: accuracy, quality, and how sure that is. Pure numbers.

Wilson's interval for a share, the percentile bootstrap for the rest. Where there is nothing to
measure the answer is None, never a number. Does not mark answers (see `scorers`) nor draw curves.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lion.errors import DataError

# Numbers that a bootstrap holds in memory at a time, 16 MiB of them.
_BATCH = 2_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and the interval around it, in the same unit; `count` rows made it.

    The bounds are None where the rows are too few for an interval: a bootstrap needs two of them
    (in every category), since one row resampled is always itself.
    """

    value: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn: `confidence` in (0, 1), number of `resamples`, random `seed`."""

    confidence: float
    resamples: int
    seed: int


def accuracy(marks: Sequence[bool | None], confidence: float) -> Estimate | None:
    """Return the share of right answers, 0 to 1 (micro: over rows), with Wilson's interval.

    Rows that could not be marked (None) do not count, neither as right nor as wrong. None where
    no row was marked.
    """
    from scipy.stats import binomtest  # slow to import

    marked = [mark for mark in marks if mark is not None]
    if not marked:
        return None
    interval = binomtest(sum(marked), len(marked)).proportion_ci(confidence, method="wilson")
    share = sum(marked) / len(marked)
    return Estimate(share, float(interval.low), float(interval.high), len(marked))


def accuracy_by_category(
    rows: Sequence[tuple[str | None, bool | None]], confidence: float
) -> dict[str, Estimate]:
    """Return the accuracy of each category, in alphabetical order, from (category, mark) rows.

    Rows without a category or a mark do not count; a category of none but those is absent.
    """
    marks = _by_category(rows)
    estimates = {category: accuracy(marks[category], confidence) for category in sorted(marks)}
    return {category: value for category, value in estimates.items() if value is not None}


def macro_accuracy(
    rows: Sequence[tuple[str | None, bool | None]], bootstrap: Bootstrap
) -> Estimate | None:
    """Return the mean of the categories' accuracies, 0 to 1, from (category, mark) rows.

    The paper's averages over AGIEval and BBH are of this kind: a task counts as one, whatever its
    size. Rows are resampled within their category. Rows without a category or a mark do not count;
    None where none is left.
    """
    marks = _by_category(rows)
    if not marks:
        return None
    samples = [[float(mark) for mark in marks[category]] for category in sorted(marks)]
    return _bootstrapped(samples, _mean_of_means, bootstrap, paired=False)


def difference(
    pairs: Sequence[tuple[bool | None, bool | None]], bootstrap: Bootstrap
) -> Estimate | None:
    """Return accuracy of the student minus the teacher's, -1 to 1, from (student, teacher) marks.

    Paired: a row is resampled with both of its marks, and one without both does not count. None
    where none is left.
    """
    gaps = [
        float(student) - float(teacher)
        for student, teacher in pairs
        if student is not None and teacher is not None
    ]
    return _bootstrapped([gaps], _mean_of_means, bootstrap, paired=True)


def quality(pairs: Sequence[tuple[float, float]], bootstrap: Bootstrap) -> Estimate | None:
    """Return relative response quality in percent, from (student, teacher) scores.

    100 * sum(student) / sum(teacher), the paper's measure of open-ended answers; 100 is the
    teacher's level. Rows are resampled with both of their scores. None where there are no rows.
    Raises DataError for a score that is not a positive finite number: a failed review is not one.
    """
    for score in (score for pair in pairs for score in pair):
        if not math.isfinite(score) or score <= 0:
            raise DataError(f"quality: a score above 0 is expected, found {score!r}")
    students = [student for student, _ in pairs]
    teachers = [teacher for _, teacher in pairs]
    return _bootstrapped([students, teachers], _relative, bootstrap, paired=True)


def mean(values: Sequence[float], bootstrap: Bootstrap) -> Estimate | None:
    """Return the mean, in the values' unit; None where there are none."""
    return _bootstrapped([values], _mean_of_means, bootstrap, paired=True)


def paired(
    first: Sequence[float],
    second: Sequence[float],
    statistic: Callable[..., Any],
    bootstrap: Bootstrap,
) -> Estimate | None:
    """Return a statistic of two columns, whose rows are resampled together; None without rows.

    `statistic(first, second, axis=-1)` takes arrays (..., rows) and returns (...).
    """
    return _bootstrapped([first, second], statistic, bootstrap, paired=True)


def auc(
    positives: Sequence[float], negatives: Sequence[float], bootstrap: Bootstrap
) -> Estimate | None:
    """Return the chance that a positive's score is above a negative's, a tie counting half.

    The area under the ROC curve, from ranks (Hanley and McNeil 1982). The two columns' rows are
    resampled together. None without rows.
    """
    return paired(positives, negatives, _area, bootstrap)


def separation(
    positives: Sequence[float], negatives: Sequence[float], bootstrap: Bootstrap
) -> Estimate | None:
    """Return the same of two samples that are drawn apart from each other; None if one is empty."""
    return _bootstrapped([positives, negatives], _area, bootstrap, paired=False)


def _area(positives: Any, negatives: Any, axis: int) -> Any:
    import numpy as np
    from scipy.stats import rankdata

    count, other = positives.shape[axis], negatives.shape[axis]
    ranks = rankdata(np.concatenate([positives, negatives], axis=axis), axis=axis)
    least = count * (count + 1) / 2
    own = np.take(ranks, np.arange(count), axis=axis).sum(axis=axis)
    return (own - least) / (count * other)


def _by_category(rows: Sequence[tuple[str | None, bool | None]]) -> Mapping[str, list[bool]]:
    marks: dict[str, list[bool]] = {}
    for category, mark in rows:
        if category is not None and mark is not None:
            marks.setdefault(category, []).append(mark)
    return marks


def _mean_of_means(*samples: Any, axis: int) -> Any:
    return sum(sample.mean(axis=axis) for sample in samples) / len(samples)


def _relative(students: Any, teachers: Any, axis: int) -> Any:
    return 100 * students.sum(axis=axis) / teachers.sum(axis=axis)


def _bootstrapped(
    samples: Sequence[Sequence[float]],
    statistic: Callable[..., Any],
    bootstrap: Bootstrap,
    *,
    paired: bool,
) -> Estimate | None:
    """Return the statistic of `samples` with its percentile interval; None where one is empty.

    Percentile, not scipy's default BCa, which is undefined where all rows agree, as they do when
    a student gets everything right.
    """
    import numpy as np
    from scipy import stats  # slow to import

    smallest = min(len(sample) for sample in samples)
    if smallest == 0:
        return None
    data = tuple(np.asarray(sample, dtype=float) for sample in samples)
    value = float(statistic(*data, axis=-1))
    count = len(data[0]) if paired else sum(len(sample) for sample in data)
    if smallest < 2:
        return Estimate(value, None, None, count)
    interval = stats.bootstrap(
        data,
        statistic,
        n_resamples=bootstrap.resamples,
        batch=max(1, _BATCH // count),
        vectorized=True,
        paired=paired,
        confidence_level=bootstrap.confidence,
        method="percentile",
        rng=np.random.default_rng(bootstrap.seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), count)
