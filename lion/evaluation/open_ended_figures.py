"""What an open-ended exam comes to: quality, win rate, per category, with intervals. Pure.

Quality is the paper's ratio of sums. It grows with length where judges favour length, so the main
figure is the length-controlled win rate (Dubois et al. 2024, arXiv:2404.04475): a logistic
regression of who wins on how much longer the candidate writes, read off at equal length. With one
pair of models there is no term for the difficulty of a question.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lion import statistics
from lion.metrics.exams import OpenEnded
from lion.metrics.units import PercentEstimate
from lion.statistics import Bootstrap, Estimate

_RIDGE = 0.1
"""Of the regression's slope, so that it stays finite where the longer answer always wins."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Compared:
    """One question's mean scores over the orders, and how long the two answers are (characters).

    Lengths are None where reviews came without their answers.
    """

    category: str
    candidate: float
    reference: float
    lengths: tuple[int, int] | None


def open_ended_metrics(rows: Sequence[Compared], bootstrap: Bootstrap) -> OpenEnded:
    """Return everything that the rows come to; None where there is nothing to measure."""
    outcomes = Counter(_outcome(row) for row in rows)
    categories = sorted({row.category for row in rows})
    return OpenEnded(
        rows=len(rows),
        candidate_points_sum=sum(row.candidate for row in rows),
        reference_points_sum=sum(row.reference for row in rows),
        quality=PercentEstimate.of(_quality(rows, bootstrap)),
        win_rate=PercentEstimate.of(win_rate(rows, bootstrap)),
        length_controlled_win_rate=PercentEstimate.of(length_controlled(rows, bootstrap)),
        win=outcomes["win"],
        tie=outcomes["tie"],
        loss=outcomes["loss"],
        categories={
            name: PercentEstimate.of(
                _quality([row for row in rows if row.category == name], bootstrap)
            )
            for name in categories
        },
    )


def win_rate(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    """Return the share of questions that the candidate wins, in percent; a tie is half a win."""
    return statistics.mean([100 * _preference(row) for row in rows], bootstrap)


def length_controlled(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    """Return the win rate at equal length, in percent; None where a length is not known.

    logit P(win) = a + b tanh((candidate's - reference's length) / their standard deviation), with
    a ridge on b; the figure is 100 / (1 + exp(-a)).
    """
    import numpy as np

    lengths = [row.lengths for row in rows if row.lengths is not None]
    if not rows or len(lengths) < len(rows):
        return None
    longer = np.array([one - other for one, other in lengths], dtype=float)
    spread = longer.std()
    features = np.tanh(longer / spread) if spread else np.zeros_like(longer)
    wins = [_preference(row) for row in rows]
    return statistics.paired(wins, features.tolist(), _at_equal_length, bootstrap)


def _at_equal_length(wins: Any, features: Any, axis: int) -> Any:
    """Fit by Newton's steps, all resamples at once (the last axis is rows)."""
    import numpy as np
    from scipy.special import expit

    assert axis == -1
    a, b = np.zeros(wins.shape[:-1]), np.zeros(wins.shape[:-1])
    for _ in range(_STEPS):
        chance = expit(a[..., None] + b[..., None] * features)
        weight = chance * (1 - chance)
        error = wins - chance
        # A hundredth of a row's weight on `a` as well keeps it finite where one side always wins.
        slope_a = error.sum(-1) - 0.01 * a
        slope_b = (error * features).sum(-1) - _RIDGE * b
        aa, bb = weight.sum(-1) + 0.01, (weight * features**2).sum(-1) + _RIDGE
        ab = (weight * features).sum(-1)
        scale = aa * bb - ab**2
        # bounded steps: a full one from far away overshoots
        a = a + np.clip((bb * slope_a - ab * slope_b) / scale, -1, 1)
        b = b + np.clip((aa * slope_b - ab * slope_a) / scale, -1, 1)
    return 100 * expit(a)


def _preference(row: Compared) -> float:
    return {"win": 1.0, "tie": 0.5, "loss": 0.0}[_outcome(row)]


def _outcome(row: Compared) -> str:
    if row.candidate == row.reference:
        return "tie"
    return "win" if row.candidate > row.reference else "loss"


def _quality(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    return statistics.quality([(row.candidate, row.reference) for row in rows], bootstrap)
