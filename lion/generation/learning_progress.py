"""Learning progress: weights that separate hard instructions from unlearnable ones. Pure.

The paper draws parents uniformly from all hard instructions, so those that the student never learns
take a growing share of the budget. Here the weight of a parent is the *learning progress* of its
relatives: the decrease of their gap since the iteration before (Schmidhuber 1991; Oudeyer, Kaplan
and Hafner 2007; for language models LILO, NeurIPS 2025, which samples by learnability p(1 - p)).
p(1 - p) alone does not suffice: a family that is answered right by chance, a third of the time,
always looks learnable.

Where the likelihood judges, the gap is nats per token, known of each row before and after: the
progress of a parent is the mean fall of its relatives, of rows that the student was not tuned on
in between, for a replayed row's fall is memory.

Relatives are rows with a gap and similar words: the cosine of their idf-weighted sets of words,
without rare words, is at least 0.6. This needs no label, no model and no number of clusters. In the
simulator, whose topic labels mix families, 98.9 % of such pairs are of one family.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lion.records.rows import Instruction, Verdict
from lion.words import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 0.6  # the least cosine of relatives
COMMON = 5  # rows with a word for it to count: numbers and names do not make relatives
PRIOR = 4.0  # weight of the mean progress, in relatives
FLOOR = 0.25  # weight without progress, where the mean is 1: every parent can still be drawn
_BATCH = 512  # rows per matrix product

_MIN_VERDICTS = 5  # in each of the two iterations, for a domain to be named
_MAX_NAMED = 5  # domains


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with its gap: points of score, or nats per token where the likelihood judged."""

    row: Instruction
    gap: float


def rows_with_gaps(rows: Iterable[Instruction], verdicts: Iterable[Verdict]) -> list[Judged]:
    """Return the rows whose verdict has a gap or nats, in their order."""
    measured = [
        (verdict.id, verdict.nats if verdict.gap is None else verdict.gap) for verdict in verdicts
    ]
    gaps = {identity: gap for identity, gap in measured if gap is not None}
    return [Judged(row, gaps[row.id]) for row in rows if row.id in gaps]


def falls(
    before: Iterable[Judged], now: Iterable[Judged], replayed: Collection[str]
) -> list[Judged]:
    """Return the fall of each row that was judged twice and not replayed in between."""
    earlier = {judged.row.id: judged.gap for judged in before if judged.row.id not in replayed}
    return [
        Judged(judged.row, earlier[judged.row.id] - judged.gap)
        for judged in now
        if judged.row.id in earlier
    ]


def weights(
    parents: Sequence[Instruction], before: Sequence[Judged], now: Sequence[Judged]
) -> dict[str, float]:
    """Return the weight of each parent, by id; all are 1 where there is no history.

    progress(x) = mean gap of x's relatives before - mean gap of its relatives now (without x),
    shrunk to the parents' mean by PRIOR relatives, and 0 where negative;
    weight(x) = FLOOR + (1 - FLOOR) * progress(x) / its mean over the parents.
    """
    if not parents or not before or not now:
        return {row.id: 1.0 for row in parents}
    import numpy as np

    index = _index([*parents, *(judged.row for judged in before), *(judged.row for judged in now)])
    ends = np.cumsum([len(parents), len(before), len(now)])
    parts = (index[: ends[0]], index[ends[0] : ends[1]], index[ends[1] :])
    old_count, old_gap = _relatives(parts[0], parts[1], [judged.gap for judged in before])
    count, gap = _relatives(parts[0], parts[2], [judged.gap for judged in now])
    own = {judged.row.id: judged.gap for judged in now}
    count -= np.array([row.id in own for row in parents])
    gap -= np.array([own.get(row.id, 0.0) for row in parents])
    fall = old_gap / np.maximum(old_count, 1) - gap / np.maximum(count, 1)
    return _floored(parents, _shrunk(fall, np.minimum(old_count, count)))


def weights_by_falls(parents: Sequence[Instruction], falls: Sequence[Judged]) -> dict[str, float]:
    """Return the weight of each parent, by id; all are 1 where there is no history.

    progress(x) = mean fall of x's relatives (without x), shrunk as in `weights`, 0 where negative.
    """
    if not parents or not falls:
        return {row.id: 1.0 for row in parents}
    import numpy as np

    index = _index([*parents, *(judged.row for judged in falls)])
    parts = (index[: len(parents)], index[len(parents) :])
    count, total = _relatives(*parts, [judged.gap for judged in falls])
    own = {judged.row.id: judged.gap for judged in falls}
    count -= np.array([row.id in own for row in parents])
    total -= np.array([own.get(row.id, 0.0) for row in parents])
    return _floored(parents, _shrunk(total / np.maximum(count, 1), count))


def resisting(before: Sequence[Judged], now: Sequence[Judged]) -> list[str]:
    """Return the domains with a mean gap above the overall mean that has not fallen, largest first.

    At most five, each with at least five verdicts in both iterations.
    """
    overall = fmean(judged.gap for judged in now) if now else 0.0
    old, new = _by_domain(before), _by_domain(now)
    means = {
        name: fmean(gaps)
        for name, gaps in new.items()
        if len(gaps) >= _MIN_VERDICTS
        and len(old.get(name, ())) >= _MIN_VERDICTS
        and fmean(gaps) > overall
        and fmean(gaps) >= fmean(old[name])
    }
    return sorted(means, key=lambda name: (-means[name], name))[:_MAX_NAMED]


def _by_domain(rows: Sequence[Judged]) -> Mapping[str, list[float]]:
    gaps: defaultdict[str, list[float]] = defaultdict(list)
    for judged in rows:
        if judged.row.domain is not None:
            gaps[judged.row.domain].append(judged.gap)
    return gaps


def _floored(parents: Sequence[Instruction], progress: "NDArray[Any]") -> dict[str, float]:
    """Return each parent's weight: FLOOR, and the rest in proportion to its progress."""
    import numpy as np

    relative = progress / progress.mean() if progress.any() else np.ones(len(parents))
    values = FLOOR + (1 - FLOOR) * relative
    return {row.id: float(weight) for row, weight in zip(parents, values, strict=True)}


def _shrunk(raw: "NDArray[Any]", pairs: "NDArray[Any]") -> "NDArray[Any]":
    """Return each parent's progress, shrunk to the mean, and 0 where it is negative.

    `raw` is the fall of its relatives, `pairs` their number.
    """
    import numpy as np

    mean = max(0.0, float(np.average(raw, weights=pairs))) if pairs.any() else 0.0
    shrunk: NDArray[Any] = np.maximum(0.0, (pairs * raw + PRIOR * mean) / (pairs + PRIOR))
    return shrunk


def _relatives(
    rows: Any, others: Any, gaps: Sequence[float]
) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """Return for each row the number of its relatives among `others`, and the sum of their gaps."""
    import numpy as np

    values = np.asarray(gaps, dtype=float)
    counts, sums = [], []
    for start in range(0, rows.shape[0], _BATCH):
        alike = (rows[start : start + _BATCH] @ others.T).toarray() >= ALIKE - 1e-9
        counts.append(alike.sum(axis=1).astype(float))
        sums.append(alike @ values)
    return np.concatenate(counts), np.concatenate(sums)


def _index(rows: Sequence[Instruction]) -> Any:
    """Return a (rows, words) matrix of idf weights, rows scaled to length 1 (0 without words)."""
    import numpy as np
    from scipy import sparse  # slow to import

    sets = [sorted(set(words(row.messages[-1]["content"], "unicode"))) for row in rows]
    places: dict[str, int] = {}
    columns = np.array(
        [places.setdefault(word, len(places)) for members in sets for word in members], int
    )
    starts = np.cumsum([0, *(len(members) for members in sets)])
    frequency = np.bincount(columns, minlength=len(places))
    idf = np.log((1 + len(rows)) / np.maximum(frequency, 1)) * (frequency >= COMMON)
    values = idf[columns]
    matrix = sparse.csr_array((values, columns, starts), shape=(len(rows), max(1, len(places))))
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    return sparse.diags_array(1 / np.maximum(length, 1e-12)) @ matrix
