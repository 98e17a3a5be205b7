"""What the table says of exams that are too small, of poor teachers, and of noisy referees."""

from dataclasses import MISSING, fields
from typing import Any

from lion.iterations import IterationMetrics, Judge
from lion.reporting import table


def line(**figures: Any) -> IterationMetrics:
    """Return an iteration of which nothing is known but `figures`."""
    empty = {field.name: None for field in fields(IterationMetrics) if field.default is MISSING}
    return IterationMetrics(
        **{**empty, "iteration": "1", "dropped": {}, "tokens_by_role": {}, **figures}
    )


def judge(flip_share: float) -> Judge:
    return Judge(
        flip_share=flip_share,
        position_bias_points=0.1,
        tie_share=0.0,
        length_correlation=None,
        noise_points=0.5,
        tau_points=1.0,
        within_share=0.1,
    )


EXAM = {
    "accuracy_share": 0.9,
    "accuracy_share_interval": (0.683, 0.988),
    "teacher_accuracy_share": 0.95,
    "accuracy_rows": 20,
    "accuracy_share_difference": -0.05,
    "accuracy_share_difference_interval": (-0.25, 0.15),
}


def test_an_exam_too_small_for_the_difference_says_how_many_rows_would_do() -> None:
    """Four times the half width: sixteen times the rows."""
    (note,) = table.run_warnings([line(**EXAM)])
    assert note == (
        "An exam of 20 rows does not tell student 1 from its teacher: -5.0 points (-25.0 to 15.0). "
        "For a difference of that size about 320 rows are needed."
    )


def test_an_exam_that_is_large_enough_is_passed_over() -> None:
    for interval in ((-0.09, -0.01), None):
        assert not table.run_warnings(
            [line(**EXAM | {"accuracy_share_difference_interval": interval})]
        )
    assert not table.run_warnings([line(**EXAM | {"accuracy_share_difference": 0.0})])


def test_a_teacher_that_fails_the_exam_is_a_warning() -> None:
    figures = EXAM | {"teacher_accuracy_share": 0.0, "accuracy_share_difference_interval": (0.1, 1)}
    (note,) = table.run_warnings([line(**figures)])
    assert note.startswith("The teacher itself is right in 0.0 % of the exam.")


def test_a_referee_that_follows_the_order_measures_no_quality() -> None:
    """A coin changes half of its verdicts; 113 % by such a referee says nothing.

    The exam's own referee may be steady where the loop's is not, and where none judges the loop.
    """
    figures = {"quality_percent": 113.0, "quality_percent_interval": (95.0, 131.0)}
    noisy = table.headline([line(**EXAM, **figures, quality_flip_share=0.83)]).plain
    assert "Its quality: not known, since 83.0 % of the referee's verdicts change with the" in noisy
    assert "113" not in noisy
    steady = table.headline(
        [line(**EXAM, **figures, quality_flip_share=0.2, judge=judge(0.83))]
    ).plain
    assert "Its quality: 113.0 % (95.0 to 131.0) of the teacher's" in steady
