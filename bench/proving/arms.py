"""What an arm is: one way to spend a budget; and a regime: how large a run is."""

from dataclasses import dataclass, replace
from typing import Literal

from lion.records.rows import Feedback

Price = Literal["short", "long"]
"""Answers as they are (two words), or each counted as `money.LONG_WORDS` words."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is: rows, optimiser steps and instructions an iteration.

    `later_rate` is the share of the base's learning rates that the iterations have.
    """

    pool: int
    base_steps: int
    hard: int
    easy: int
    steps: int
    judged: int
    later_rate: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to spend a budget.

    `frugal`: answers that are the teacher's own are not judged, of the others 300, in the second
    order near tau alone. `spend_of` names the arm whose spend this one matches, at `price`, by more
    new instructions, and by as many more steps unless `fixed_steps`. `measured`: the signals are
    compared with the exact gap in each iteration.
    """

    name: str
    feedback: Feedback
    judge: Literal["referee", "scorer", "likelihood"] = "referee"
    frugal: bool = False
    choice: Literal["uniform", "gap", "progress"] = "uniform"
    replay_choice: Literal["uniform", "forgotten"] = "uniform"
    measured: bool = False
    spend_of: str | None = None
    price: Price = "short"
    fixed_steps: bool = False
    tau: float = 1.0
    iterations: int = 3

    @property
    def plain(self) -> str:
        """The name of the same arm at equal steps."""
        return self.name.split(",")[0]

    @property
    def budget(self) -> str:
        """What is equal to the other arm of a comparison, in words."""
        if self.spend_of is None:
            return "steps"
        answers = ", long answers" if self.price == "long" else ""
        return f"spend{answers}{', steps fixed' if self.fixed_steps else ''}"

    def at_spend(self, other: "Arm", price: Price = "short", *, fixed_steps: bool = False) -> "Arm":
        """Return this arm at the spend of another one."""
        arm = replace(self, spend_of=other.name, price=price, fixed_steps=fixed_steps)
        return replace(
            arm, name=f"{self.name}, {arm.budget.replace('spend', 'spend of ' + other.name, 1)}"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm minus another one."""

    ours: Arm
    others: Arm

    @property
    def budget(self) -> str:
        """What both have equal, in words."""
        return self.others.budget
