"""The report of a training: its learning curve, counts, and the chosen point. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

Progress = Callable[[int, int, float, int], None]
"""Called with step, steps, mean loss (nats) since the last point, and supervised tokens so far."""


@dataclass(frozen=True, slots=True)
class ValidationPoint:
    """The mean loss on the validation rows after a step, in nats per supervised token."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of the learning curve: mean loss (nats per supervised token) since the last point.

    `tokens` counts the supervised tokens so far. `validation_loss` is None where a point has none.
    """

    step: int
    loss: float
    learning_rate: float
    tokens: int
    validation_loss: float | None = None


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The report of a whole training, also where it was killed and resumed.

    `too_long` are the ids of the examples above `max_length` that were left out, `truncated` of
    those cut to it. `best` is the point whose weights the student has, where it was validated.
    """

    curve: tuple[CurvePoint, ...]
    steps: int
    tokens: int
    examples: int
    too_long: tuple[str, ...]
    truncated: tuple[str, ...]
    best: ValidationPoint | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the report that `dataclasses.asdict` made a document of."""
        best = document["best"]
        return cls(
            curve=tuple(CurvePoint(**point) for point in document["curve"]),
            steps=document["steps"],
            tokens=document["tokens"],
            examples=document["examples"],
            too_long=tuple(document["too_long"]),
            truncated=tuple(document["truncated"]),
            best=None if best is None else ValidationPoint(**best),
        )
