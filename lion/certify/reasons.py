"""Why there is no threshold, in plain words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from lion.certify.thresholds import LabelledRow, Promise, Walk, limit_grid, rows_needed_table

_SUREST = 0.25
"""Share of the other rows that tells of a floor of confident errors."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a walk was made from. `confidence` is the one that params ask for, 0 to 1.

    `teacher_self` is the upper bound of the teacher's agreement with itself, None if not measured.
    """

    rows: Sequence[LabelledRow]
    others: Sequence[LabelledRow]
    confidence: float
    teacher_self: float | None = None


def no_threshold(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    """Return why no limit passed, as a sentence without its full stop; None where one did."""
    if walk.passed is not None:
        return None
    for look in (_without_rows, _without_scores, _too_few, _noisy_teacher, _disagrees):
        sentence = look(walk, evidence, promise)
        if sentence is not None:
            return sentence
    raise AssertionError("a walk without a pass has a reason")


def percent_text(share: float) -> str:
    """Return a share in per cent, with as many decimals as it has: 97 %, 99.5 %."""
    return f"{100 * share:.4g} %"


def _without_rows(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    del walk
    if not evidence.rows:
        return f"no row is set apart that has an answer of the teacher; {_needs(evidence, promise)}"
    if not evidence.others:
        return "the exam has no other rows, from which the limits are made; lower exam.certify"
    return None


def _without_scores(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    del promise
    scored = any(row.uncertainty is not None for row in evidence.rows)
    if scored and walk.loosest is not None:
        return None
    return (
        f"none of its {len(evidence.rows)} answers has a usable score: no log probabilities, not "
        "finite, cut off by answering.max_tokens, or not what the scorer can read"
    )


def _too_few(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    assert walk.loosest is not None
    if walk.loosest.accepted >= rows_needed_table(promise)[0]:
        return None
    accepted, rows = walk.loosest.accepted, len(evidence.rows)
    part = f" of {rows} set apart" if accepted < rows else ""
    return f"{_needs(evidence, promise)}; you have {accepted}{part}"


def _needs(evidence: Evidence, promise: Promise) -> str:
    needed = rows_needed_table(promise)[0]
    spent = 1 - evidence.confidence - promise.delta > 1e-9
    part = f" (certify.rows_for leaves {percent_text(promise.delta)} for this student)"
    return (
        f"{percent_text(promise.agreement)} at {percent_text(evidence.confidence)} confidence "
        f"needs at least {needed} accepted rows without a disagreement{part if spent else ''}"
    )


def _noisy_teacher(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    del walk
    if evidence.teacher_self is None or evidence.teacher_self >= promise.agreement:
        return None
    return (
        f"the teacher agrees with itself on at most {percent_text(evidence.teacher_self)} when it "
        f"answers twice, so no student agrees with it on {percent_text(promise.agreement)}; lower "
        "its temperature or certify.agreement"
    )


def _disagrees(walk: Walk, evidence: Evidence, promise: Promise) -> str | None:
    failed = walk.tested[-1]
    if failed.most is None:
        return (
            f"{_needs(evidence, promise)}; the first limit accepts {failed.accepted}: set more "
            "rows apart"
        )
    return (
        f"of the {failed.accepted} answers that it is surest of, {failed.disagreements} differ "
        f"from the teacher's, and {failed.most} may{_cause(evidence, promise)}"
    )


def _cause(evidence: Evidence, promise: Promise) -> str:
    """Return what the exam's other rows say of it."""
    scored = [row.uncertainty for row in evidence.others]
    if len(limit_grid(scored)) == 1:
        return "; all its scores tie, so that no limit tells sure answers from others"
    ranked = sorted(
        (row for row in evidence.others if row.uncertainty is not None),
        key=lambda row: row.uncertainty or 0.0,
    )
    surest = ranked[: max(1, round(_SUREST * len(ranked)))]
    wrong = sum(not row.agrees for row in surest) / len(surest)
    agreed = sum(row.agrees for row in evidence.others) / len(evidence.others)
    weak = f"; on the exam's other rows it agrees in {percent_text(round(agreed, 3))}"
    if wrong <= 1 - promise.agreement:
        return weak
    return f"{weak}, and is wrong in {percent_text(round(wrong, 3))} of its surest quarter"
