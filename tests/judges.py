"""Referees whose errors are planted, and the law of what they say: the oracle of calibration.

`reviews` asks the embedded referee, whose scores err by its temper: noise, and points for the first
place. `Law` says what that must come to, worked out score by score, without drawing anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
from msgspec.structs import replace
from scipy.stats import norm

from lion.discrimination import judge_reliability
from lion.prompting import judge, protocol
from lion.prompting import templates as prompts
from lion.prompting.protocol import Reply
from lion.records.rows import ORDERS, Instruction, Order, Review
from lion.simulator.simulated_llm import EXACT, Temper, reply
from lion.simulator.task_families import FAMILIES, LEVELS, draw

_PROMPTS = Path(__file__).parents[1] / "prompts"
_SCORES = np.arange(1, 11)


@dataclass(frozen=True)
class Answers:
    """A task with the teacher's answer, which is right, and a student's."""

    id: str
    question: str
    teacher: str
    student: str


@cache
def answers(count: int, seed: int) -> tuple[Answers, ...]:
    """Return tasks of all families; of the students' answers some are right, or nearly so."""
    random = Random(seed)
    found: dict[str, Answers] = {}
    while len(found) < count:
        family = FAMILIES[len(found) % len(FAMILIES)]
        task, other = (draw(family, LEVELS[0], random) for _ in range(2))
        student = random.choice([f"The answer is {task.answer}", other.answer, "Sorry."])
        if student != task.answer:
            row = Instruction.new(
                [{"role": "user", "content": task.instruction}], origin="seed", iteration="0"
            )
            found[row.id] = Answers(row.id, task.instruction, task.answer, student)
    return tuple(found.values())


def reviews(
    rows: Sequence[Answers], temper: Temper, random_seed: int, samples: int = 1
) -> list[Review]:
    """Return what a referee of this temper says of each row, in both orders."""
    templates = prompts.load(_PROMPTS / "referee", "referee")

    def ask(row: Answers, order: Order, sample: int) -> Review:
        request = judge.review_request(row.question, row.teacher, row.student, order, templates)
        seed = protocol.sample_seed(random_seed, sample)
        said = reply(request.messages, seed, temper)
        outcome = Reply(said, "stop", "oracle-1", None)
        found = judge.parse_review(row.id, order, outcome, (row.teacher, row.student))
        return replace(found, sample=sample)

    return [
        ask(row, order, sample) for row in rows for order in ORDERS for sample in range(samples)
    ]


@cache
def truth(rows: tuple[Answers, ...]) -> dict[str, tuple[float, float]]:
    """Return the scores of teacher and student that a referee without errors gives."""
    return {
        row.id: (row.teacher_score or 0.0, row.student_score or 0.0)
        for row in reviews(rows, EXACT, 0)
        if row.order == ORDERS[0]
    }


@dataclass(frozen=True)
class Law:
    """What is expected of one row: shares from 0 to 1, the rest in points.

    `flip`: the two orders name different sides. `recovered`: the mean gap lies on the true side of
    tau; `one_order`: that of one order does. `bias` and `noise` are of the mean gap.
    """

    flip: float
    recovered: float
    one_order: float
    bias: float
    variance: float


@cache
def law(teacher: float, student: float, temper: Temper, tau: float) -> Law:
    """Return what follows from the true scores."""
    bias = temper.position_bias
    first = _gap(_score(teacher + bias, temper.noise), _score(student, temper.noise))
    second = _gap(_score(teacher, temper.noise), _score(student + bias, temper.noise))
    gaps = np.arange(-9, 10)
    sides = [
        np.array([one[gaps < 0].sum(), one[gaps == 0].sum(), one[gaps > 0].sum()])
        for one in (first, second)
    ]
    hard = teacher - student >= tau
    both = np.convolve(first, second)[np.arange(-18, 19) >= 2 * tau].sum()
    single = [one[gaps >= tau].sum() for one in (first, second)]
    means = [float(one @ gaps) for one in (first, second)]
    squares = [float(one @ gaps**2) for one in (first, second)]
    return Law(
        flip=float(1 - sides[0] @ sides[1]),
        recovered=float(both if hard else 1 - both),
        one_order=float(np.mean([one if hard else 1 - one for one in single])),
        bias=(means[0] - means[1]) / 2,
        variance=sum(squares) / 4 - sum(mean**2 for mean in means) / 4,
    )


def _score(expected: float, noise: float) -> np.ndarray:
    """Return the chances of the scores 1 to 10: a normal law, rounded by lot, cut at the ends.

    P(floor(Y + U) <= k) is the mean of Phi over (k, k + 1), whose integral is z Phi(z) + phi(z).
    """

    def integral(z: np.ndarray) -> np.ndarray:
        found: np.ndarray = z * norm.cdf(z) + norm.pdf(z)
        return found

    below = noise * (
        integral((_SCORES + 1 - expected) / noise) - integral((_SCORES - expected) / noise)
    )
    below[-1] = 1.0
    return np.diff(below, prepend=0.0)


def _gap(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """Return the chances of the gaps -9 to 9."""
    return np.convolve(teacher, student[::-1])


@dataclass(frozen=True)
class Measured:
    """What a referee's reviews come to, beside the law: see `Law` for the shares."""

    rows: int
    flips: int
    recovered: int
    one_order: int
    bias: float
    noise: float
    expected: Law


def measured(rows: tuple[Answers, ...], temper: Temper, random_seed: int, tau: float) -> Measured:
    """Judge the rows and compare with their law, averaged over them."""
    known = truth(rows)
    found = reviews(rows, temper, random_seed)
    told = judge_reliability.figures(found, dict.fromkeys(known, 0))
    gaps = {(row.id, row.order): row.gap or 0.0 for row in found}
    hard = {identity: scores[0] - scores[1] >= tau for identity, scores in known.items()}
    both = {one: sum(gaps[one, order] for order in ORDERS) / 2 for one in known}
    assert told.flip_share is not None and told.position_bias_points is not None
    assert told.noise_points is not None
    laws = [law(*known[row.id], temper, tau) for row in rows]
    return Measured(
        rows=len(rows),
        flips=round(told.flip_share * len(rows)),
        recovered=sum((both[one] >= tau) == hard[one] for one in known),
        one_order=sum((gap >= tau) == hard[one] for (one, _), gap in gaps.items()),
        bias=told.position_bias_points,
        noise=told.noise_points,
        expected=Law(
            *(fmean(getattr(one, name) for one in laws) for name in Law.__dataclass_fields__)
        ),
    )


def planted_noise(found: Measured) -> float:
    """Return the standard deviation of a mean gap that the law expects."""
    return sqrt(found.expected.variance)
