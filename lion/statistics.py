"""What marks and scores say together: accuracy, quality, and how sure that is. Pure numbers.

Closed forms wherever there is one, since a bootstrap of rows that all agree has no width: 0 of 20
right answers are 0 to 16.8 %, not 0 to 0. Where there is nothing to measure the answer is None,
never a number. Does not mark answers (see `scorers`) nor draw curves.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lion.errors import DataError

# Numbers that a bootstrap holds in memory at a time, 16 MiB of them.
_BATCH = 2_000_000
_NONE = 1e-9  # of a row, or of a score: rounding
_LEAST_QUALITY, _MOST_QUALITY = 10.0, 1000.0  # per cent: scores are 1 to 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and the interval around it, in the same unit; `count` rows made it.

    The bounds are None where the rows tell nothing of their spread: there is one, or all agree in a
    figure that is no share.
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
    marked = [mark for mark in marks if mark is not None]
    if not marked:
        return None
    low, high = _wilson(sum(marked), len(marked), confidence)
    return Estimate(sum(marked) / len(marked), low, high, len(marked))


def _wilson(right: int, rows: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval, to the bit as scipy's binomtest has it, 100 times as fast."""
    from scipy.special import ndtri  # slow to import

    z, share = float(ndtri(0.5 + 0.5 * confidence)), right / rows
    scale = 2 * (rows + z**2)
    centre = (2 * rows * share + z**2) / scale
    half = z / scale * math.sqrt(4 * rows * share * (1 - share) + z**2)
    return centre - half if right else 0.0, centre + half if right < rows else 1.0


def accuracy_by_category(
    rows: Sequence[tuple[str | None, bool | None]], confidence: float
) -> dict[str, Estimate]:
    """Return the accuracy of each category, in alphabetical order, from (category, mark) rows.

    Rows without a category or a mark are ignored. A category without a marked row is left out.
    """
    marks = _by_category(rows)
    estimates = {category: accuracy(marks[category], confidence) for category in sorted(marks)}
    return {category: value for category, value in estimates.items() if value is not None}


def macro_accuracy(
    rows: Sequence[tuple[str | None, bool | None]], confidence: float
) -> Estimate | None:
    """Return the mean of the categories' accuracies, 0 to 1, from (category, mark) rows.

    The paper's averages over AGIEval and BBH are of this kind: a task counts as one, whatever its
    size. Rows without a category or a mark do not count; None where none is left. The interval is
    Clopper and Pearson's at the effective number of rows (Korn and Graubard 1998, Survey
    Methodology 24): exact for one category, at its level for 20 to 1,000 rows in up to 30.
    """
    marks = _by_category(rows)
    if not marks:
        return None
    counts = [(sum(marks[category]), len(marks[category])) for category in sorted(marks)]
    value = sum(right / count for right, count in counts) / len(counts)
    low, high = _clopper_pearson(value, _effective_rows(counts), confidence)
    return Estimate(value, low, high, sum(count for _, count in counts))


def _effective_rows(counts: Sequence[tuple[int, int]]) -> float:
    """Return how many rows of one category would say as much as (right, count) of several.

    The variance of the mean is estimated with (right + 1) / (count + 2), which no category makes 0.
    It is never less than Kish's number, which takes the categories for alike.
    """
    kish = len(counts) ** 2 / sum(1 / count for _, count in counts)
    shares = [(right + 1) / (count + 2) for right, count in counts]
    mean_share = sum(shares) / len(shares)
    variance = (
        sum(share * (1 - share) / count for share, (_, count) in zip(shares, counts, strict=True))
        / len(counts) ** 2
    )
    return max(kish, mean_share * (1 - mean_share) / variance)


def _clopper_pearson(share: float, rows: float, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a share of `rows`, which need not be a whole number."""
    from scipy.special import betaincinv  # slow to import

    right, tail = share * rows, (1 - confidence) / 2
    wrong = rows - right
    low = float(betaincinv(right, wrong + 1, tail)) if right > _NONE else 0.0
    high = float(betaincinv(right + 1, wrong, 1 - tail)) if wrong > _NONE else 1.0
    return min(low, share), max(high, share)


def guess_share(answers: Iterable[tuple[str, str]]) -> float | None:
    """Return the share that the commonest answer of each category has, a mean over categories.

    `answers` are pairs of category and answer. One that occurs once is no guess. None without any.
    """
    counts: dict[str, Counter[str]] = {}
    for category, text in answers:
        counts.setdefault(category, Counter())[text] += 1
    most = [(max(counted.values()), counted.total()) for counted in counts.values()]
    return fmean(count / total if count > 1 else 0.0 for count, total in most) if most else None


def difference(
    pairs: Sequence[tuple[bool | None, bool | None]], confidence: float
) -> Estimate | None:
    """Return accuracy of the student minus the teacher's, -1 to 1, from (student, teacher) marks.

    Paired, over rows that have both marks; None where none is left. The interval is Newcombe's
    for paired shares (1998, Statistics in Medicine 17:2635, method 10): two Wilson intervals,
    joined by the correlation of the marks.
    """
    marked = [
        (student, teacher)
        for student, teacher in pairs
        if student is not None and teacher is not None
    ]
    if not marked:
        return None
    students, teachers = (accuracy(column, confidence) for column in zip(*marked, strict=True))
    assert students is not None and teachers is not None
    correlation = _corrected_correlation(marked)
    return Estimate(
        students.value - teachers.value,
        max(-1.0, students.value - teachers.value - _joined(students, teachers, correlation)),
        min(1.0, students.value - teachers.value + _joined(teachers, students, correlation)),
        len(marked),
    )


def group_difference(
    first: Sequence[tuple[bool, float]], second: Sequence[tuple[bool, float]], confidence: float
) -> Estimate | None:
    """Return the share of `first` less that of `second`, -1 to 1, from (mark, weight) rows.

    The groups are of different rows; None where one is empty. The interval is Agresti and Caffo's
    (2000, The American Statistician 54:280), at Kish's effective numbers of rows.
    """
    from scipy.special import ndtri  # slow to import

    if not first or not second:
        return None
    (value, middle, variance), (other, other_middle, other_variance) = map(_padded, (first, second))
    half = float(ndtri(0.5 + 0.5 * confidence)) * math.sqrt(variance + other_variance)
    centre = middle - other_middle
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(value - other, low, high, len(first) + len(second))


def _padded(group: Sequence[tuple[bool, float]]) -> tuple[float, float, float]:
    """Return a weighted share; it and its variance with one right and one wrong row added."""
    total = sum(weight for _, weight in group)
    share = sum(weight for mark, weight in group if mark) / total
    rows = total**2 / sum(weight**2 for _, weight in group)
    padded = (share * rows + 1) / (rows + 2)
    return share, padded, padded * (1 - padded) / (rows + 2)


def _joined(lower: Estimate, upper: Estimate, correlation: float) -> float:
    """Return how far the difference may lie: `lower`'s share below its value, `upper`'s above."""
    assert lower.low is not None and upper.high is not None
    below, above = lower.value - lower.low, upper.high - upper.value
    return math.sqrt(max(0.0, below**2 - 2 * correlation * below * above + above**2))


def _corrected_correlation(marked: Sequence[tuple[bool, bool]]) -> float:
    """Return the correlation of two columns of marks, corrected for continuity where positive."""
    counts = Counter(marked)
    both, neither = counts[True, True], counts[False, False]
    first, second = counts[True, False], counts[False, True]
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not margins:
        return 0.0
    product = float(both * neither - first * second)
    if product > 0:
        product = max(0.0, product - len(marked) / 2)
    return product / math.sqrt(margins)


def quality(pairs: Sequence[tuple[float, float]], confidence: float) -> Estimate | None:
    """Return relative response quality in percent, from (student, teacher) scores.

    100 * sum(student) / sum(teacher), the paper's measure of open-ended answers; 100 is the
    teacher's level. None where there are no rows. The interval is that of a ratio estimator, by
    Student's t (Cochran 1977, Sampling Techniques, section 6.4); none where all rows agree.
    Raises DataError for a score that is not a positive finite number: a failed review is not one.
    """
    for score in (score for pair in pairs for score in pair):
        if not math.isfinite(score) or score <= 0:
            raise DataError(f"quality: a score above 0 is expected, found {score!r}")
    if not pairs:
        return None
    students, teachers = (sum(column) for column in zip(*pairs, strict=True))
    ratio = students / teachers
    half = _ratio_half_width(pairs, ratio, confidence)
    if not half:
        return Estimate(100 * ratio, None, None, len(pairs))
    least, most = min(_LEAST_QUALITY, 100 * ratio), max(_MOST_QUALITY, 100 * ratio)
    low, high = max(least, 100 * (ratio - half)), min(most, 100 * (ratio + half))
    return Estimate(100 * ratio, low, high, len(pairs))


def _ratio_half_width(pairs: Sequence[tuple[float, float]], ratio: float, level: float) -> float:
    """Return half the width of a ratio's interval; 0 where the rows tell nothing of the spread."""
    from scipy.special import stdtrit  # slow to import

    count = len(pairs)
    rests = [student - ratio * teacher for student, teacher in pairs]
    if count < 2 or max(map(abs, rests)) < _NONE:
        return 0.0
    spread = math.sqrt(sum(rest**2 for rest in rests) / (count - 1) / count)
    quantile = float(stdtrit(count - 1, (1 + level) / 2))
    return quantile * spread * count / sum(teacher for _, teacher in pairs)


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


def gain_per_doubling(
    rows: Sequence[int], marks: Sequence[Sequence[bool]], bootstrap: Bootstrap
) -> Estimate | None:
    """Return the slope of accuracy (0 to 1) over log2 of `rows`, by least squares.

    `marks` are those of the same exam rows at each number of rows, which are paired: the slope is
    the mean over exam rows of each one's own slope. None with fewer than two different numbers.
    """
    places = [math.log2(count) for count in rows]
    middle = sum(places) / len(places) if places else 0.0
    spread = sum((place - middle) ** 2 for place in places)
    if not spread:
        return None
    weights = [(place - middle) / spread for place in places]
    slopes = [
        sum(weight * mark for weight, mark in zip(weights, row, strict=True))
        for row in zip(*marks, strict=True)
    ]
    return mean(slopes, bootstrap)


def auc(
    positives: Sequence[float], negatives: Sequence[float], bootstrap: Bootstrap
) -> Estimate | None:
    """Return the chance that a positive's score is above a negative's, a tie counting half.

    The area under the ROC curve, from ranks (Hanley and McNeil 1982). The two columns' rows are
    resampled together. None without rows.
    """
    return paired(positives, negatives, _area, bootstrap)


def auc_of_groups(
    positives: Sequence[float], negatives: Sequence[float], bootstrap: Bootstrap
) -> Estimate | None:
    """Return `auc` of two groups of different rows, each resampled by itself. None without rows."""
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


def _bootstrapped(
    samples: Sequence[Sequence[float]],
    statistic: Callable[..., Any],
    bootstrap: Bootstrap,
    *,
    paired: bool,
) -> Estimate | None:
    """Return the statistic of `samples` with its percentile interval; None where one is empty.

    Where all rows agree there is no interval: resampled, they say nothing of their spread.
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
    low, high = float(interval.low), float(interval.high)
    if high - low < _NONE:
        return Estimate(value, None, None, count)
    return Estimate(value, low, high, count)
