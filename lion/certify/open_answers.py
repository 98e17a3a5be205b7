"""Open answers: an uncertainty from four features of the log probabilities. Pure.

A logistic regression, fitted on the exam's other rows, of whether the referee finds the student's
answer worse than the teacher's.
"""

import math
from collections.abc import Sequence
from typing import Any

from lion.certify.confidence import has_scores
from lion.records.rows import Answer, Review

_RIDGE = 1.0
_STEPS = 50
LEAST_ROWS = 20
"""Rows that a fit needs; below, the mean log probability alone orders the answers."""
MEAN_ALONE = (0.0, -1.0, 0.0, 0.0, 0.0)
"""Weights of the constant and the four features."""


def features(answer: Answer) -> tuple[float, ...] | None:
    """Return mean, 10 % quantile and minimum of the log probabilities, and ln of their number.

    None without finite log probabilities, or where the answer was cut off.
    """
    if answer.tokens is None or not has_scores(answer):
        return None
    logs = sorted(answer.tokens.logprobs)
    return (math.fsum(logs) / len(logs), logs[len(logs) // 10], logs[0], math.log(len(logs)))


def open_uncertainty(answer: Answer, weights: Sequence[float] | None) -> float | None:
    """Return the fitted chance, 0 to 1, that the answer is worse than the teacher's."""
    values = features(answer)
    if values is None or weights is None:
        return None
    total = weights[0] + sum(w * value for w, value in zip(weights[1:], values, strict=True))
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, total))))


def fit_weights(rows: Sequence[tuple[Answer, bool]]) -> tuple[float, ...]:
    """Return the weights from (answer, whether it is no worse) rows: a ridge, by Newton's method.

    Features are standardised for the ridge alone; the weights are those of the features as they
    are.
    """
    import numpy as np
    from scipy.special import expit

    pairs = [(values, not fine) for answer, fine in rows if (values := features(answer))]
    if len(pairs) < LEAST_ROWS or len({worse for _, worse in pairs}) < 2:
        return MEAN_ALONE
    raw, worse = np.array([values for values, _ in pairs]), np.array([w for _, w in pairs], float)
    centre, spread = raw.mean(0), np.maximum(raw.std(0), 1e-9)
    columns = np.column_stack([np.ones(len(raw)), (raw - centre) / spread])
    ridge = _RIDGE * np.diag([1e-6, 1, 1, 1, 1])
    weights: Any = np.zeros(5)
    for _ in range(_STEPS):
        chance = expit(columns @ weights)
        slope = columns.T @ (worse - chance) - ridge @ weights
        curve = (columns * (chance * (1 - chance))[:, None]).T @ columns + ridge
        # bounded: a full Newton step from far away overshoots
        weights = weights + np.clip(np.linalg.solve(curve, slope), -1, 1)
    scaled = weights[1:] / spread
    return tuple(round(float(w), 8) for w in (weights[0] - scaled @ centre, *scaled))


def no_worse(reviews: Sequence[Review]) -> dict[str, bool]:
    """Return by id whether the referee finds the student's answer no worse than the teacher's.

    The mean gap of both orders is at most 0; a row without scores in both orders is left out.
    """
    gaps: dict[str, list[float | None]] = {}
    for review in reviews:
        gaps.setdefault(review.id, []).append(review.gap)
    return {
        id: sum(filter(None, values)) <= 0
        for id, values in gaps.items()
        if all(value is not None for value in values)
    }
