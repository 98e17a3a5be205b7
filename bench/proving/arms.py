"""The arms: what each changes against the paper's adversary, and nothing else."""

from dataclasses import dataclass, replace
from typing import Literal

from lion.records.rows import Feedback

Budget = Literal["steps", "tokens", "spend"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is: rows, optimiser steps and instructions an iteration."""

    pool: int = 4000
    base_steps: int = 300
    hard: int = 800
    easy: int = 400
    steps: int = 220
    judged: int = 1000


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to spend a budget. `reference` is the arm whose tokens or spend it has to match.

    `frugal`: answers that are the teacher's own are not judged, of the others 300, in the second
    order near tau alone.
    """

    name: str
    feedback: Feedback
    choice: Literal["uniform", "gap", "progress"] = "uniform"
    frugal: bool = False
    budget: Budget = "steps"
    reference: str | None = None
    tau: float = 1.0
    easy_share: float = 1 / 3
    iterations: int = 3
    replay: float = 1.0


ADVERSARIAL = Arm("adversarial", "adversarial")
ONE_WAY = Arm("one-way", "uniform")
MIXED = Arm("same mix", "uniform-mixed")
BALANCED = Arm("balanced", "balanced")
PROGRESS = Arm("progress", "adversarial", "progress")
FRUGAL = Arm("frugal", "adversarial", frugal=True)
FRUGAL_PROGRESS = Arm("frugal progress", "adversarial", "progress", frugal=True)

MAIN = (ADVERSARIAL, ONE_WAY, MIXED, BALANCED, PROGRESS)
TOKENS = (
    Arm("adversarial, tokens of one-way", "adversarial", budget="tokens", reference="one-way"),
    Arm(
        "progress, tokens of one-way",
        "adversarial",
        "progress",
        budget="tokens",
        reference="one-way",
    ),
    Arm("adversarial, tokens of same mix", "adversarial", budget="tokens", reference="same mix"),
)
SPEND = (
    FRUGAL,
    FRUGAL_PROGRESS,
    Arm("one-way, spend of frugal", "uniform", budget="spend", reference="frugal"),
    Arm("same mix, spend of frugal", "uniform-mixed", budget="spend", reference="frugal"),
    Arm("balanced, spend of frugal", "balanced", budget="spend", reference="frugal"),
)
FULL_SPEND = (
    Arm("one-way, spend of adversarial", "uniform", budget="spend", reference="adversarial"),
    Arm("balanced, spend of adversarial", "balanced", budget="spend", reference="adversarial"),
)
ABLATIONS = (
    *(replace(ADVERSARIAL, name=f"tau {tau:g}", tau=tau) for tau in (0.0, 0.5, 1.5, 2.0)),
    *(
        replace(ADVERSARIAL, name=f"hard : easy {name}", easy_share=share)
        for name, share in (("1:0", 0.0), ("1:1", 1 / 2), ("1:2", 2 / 3), ("0:1", 1.0))
    ),
    replace(ADVERSARIAL, name="6 iterations", iterations=6),
    *(replace(ADVERSARIAL, name=f"replay {one:g}", replay=one) for one in (0.0, 0.5, 2.0)),
)
GROUPS: dict[str, tuple[Arm, ...]] = {
    "main": MAIN,
    "tokens": TOKENS,
    "spend": SPEND,
    "full-spend": FULL_SPEND,
    "ablations": ABLATIONS,
}
ALL = {arm.name: arm for group in GROUPS.values() for arm in group}
