"""What 1,000 requests cost with the teacher alone and with the student before it. Pure numbers.

Money is in nanodollars, None where a price is not known: an unknown price is never 0.
"""

from dataclasses import dataclass
from math import ceil

PER = 1000
"""Requests that costs are of."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of 1,000 requests. `break_even` are the requests after which the student has paid for itself.

    It is None where it never does, or where that is not known (`known`).
    """

    teacher_alone: int | None
    with_student: int | None
    spent: int | None
    break_even: int | None

    @property
    def known(self) -> bool:
        """Whether all prices are known."""
        return None not in (self.teacher_alone, self.with_student, self.spent)

    @property
    def saved(self) -> int | None:
        """What 1,000 requests save; negative where the student costs more than it saves."""
        if self.teacher_alone is None or self.with_student is None:
            return None
        return self.teacher_alone - self.with_student


def request_costs(
    *,
    teacher: int | None,
    coverage: float,
    audit: float,
    hosting: int,
    spent: int | None,
) -> Costs:
    """Return the costs of 1,000 requests, and when the student has paid for itself.

    `teacher` is its price and `hosting` the student's, of 1,000 requests; `coverage` the share that
    the student answers, `audit` the share of those that the teacher answers, too; `spent` what
    training and labelling cost. Break-even = spent / (teacher - teacher's share - hosting).
    """
    if teacher is None:
        return Costs(None, None, spent, None)
    with_student = round(teacher * (1 - coverage * (1 - audit))) + hosting
    saved = teacher - with_student
    pays = spent is not None and saved > 0
    return Costs(
        teacher,
        with_student,
        spent,
        ceil(PER * spent / saved) if pays and spent else _free(spent, saved),
    )


def _free(spent: int | None, saved: int) -> int | None:
    """Return 0 where nothing was spent and something is saved."""
    return 0 if spent == 0 and saved > 0 else None
