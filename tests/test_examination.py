"""The exam's marks and figures, by hand-worked examples."""

from dataclasses import replace

import pytest
from fixtures import Configure
from msgspec import structs

from lion.config.settings import Evaluate, Scorer
from lion.evaluation import evaluate as phase
from lion.evaluation.evaluate import Marked
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.units import RoleUsage, ShareInterval
from lion.records.rows import ORDERS, Answer, Instruction, Review

EXACT = Scorer(kind="exact", option=None)
NOTHING = RoleUsage(
    requests=0, failed=0, prompt_tokens=0, completion_tokens=0, replies_without_usage=0
)


def row(question: str, expected: str | None, category: str | None = "sums") -> Instruction:
    return Instruction.new(
        [{"role": "user", "content": question}],
        origin="exam",
        iteration="0",
        category=category,
        expected=expected,
    )


def bounds(found: ShareInterval | None) -> tuple[float, float]:
    assert found is not None and found.bounds is not None
    return found.bounds


def answer(to: Instruction, text: str) -> Answer:
    return Answer(to.id, text, "stop", "m")


EXAM = [row("2+2?", "4"), row("3+3?", "6"), row("Capital of Peru?", "Lima", "cities")]


@pytest.fixture
def evaluate(configure: Configure) -> Evaluate:
    return configure({"evaluate.resamples": 200}).evaluate


def test_answers_are_joined_by_id() -> None:
    """In whatever order they come; a row that the teacher did not answer has no teacher's mark."""
    taught = {one.id: answer(one, one.expected or "") for one in EXAM[1:]}
    answers = [answer(EXAM[2], "Lima"), answer(EXAM[0], "4"), answer(EXAM[1], "9")]
    assert phase.mark(EXAM, taught, answers, EXACT) == [
        Marked("sums", True, None),
        Marked("sums", False, True),
        Marked("cities", True, True),
    ]


def test_a_row_without_an_expected_answer_is_not_marked() -> None:
    bare = [row("Tell me a joke", None, None)]
    (found,) = phase.mark(bare, {}, [answer(bare[0], "No.")], EXACT)
    assert found == Marked("uncategorised", None, None)


def test_a_row_without_an_answer_is_no_wrong_answer() -> None:
    with pytest.raises(KeyError):
        phase.mark(EXAM, {}, [answer(EXAM[0], "4")], EXACT)


def test_the_referee_marks_nothing() -> None:
    scorer = Scorer(kind="referee", option=None)
    assert phase.mark(EXAM, {}, [answer(one, "x") for one in EXAM], scorer) == []


def test_accuracy_is_the_mean_over_categories(evaluate: Evaluate) -> None:
    """Sums 1 of 4, cities 1 of 1: macro 0.625, where the rows alone would say 0.4."""
    marks = [
        Marked("sums", True, True),
        Marked("sums", False, True),
        Marked("sums", False, False),
        Marked("sums", False, True),
        Marked("cities", True, True),
    ]
    found = phase.exam_marks(marks, evaluate)
    assert found.accuracy_share == 0.625
    assert found.teacher_accuracy_share == 0.875
    assert found.accuracy_share_difference == pytest.approx(-0.4)
    assert found.accuracy_rows == 5
    assert found.category_accuracy_share == {"cities": 1.0, "sums": 0.25}


def test_guessing_gives_the_commonest_answer_of_each_category() -> None:
    """Sums 3 of 4, rows without a category 0 of 1, since one answer is no guess: macro 0.375."""
    answers = [("sums", "7"), ("sums", "7"), ("sums", "8"), ("sums", "7"), (None, "Lima")]
    exam = [row(f"{number}?", *reversed(pair)) for number, pair in enumerate(answers)]
    assert phase.guess_accuracy(exam, EXACT) == 0.375
    assert phase.guess_accuracy(exam, Scorer(kind="regex", option="([0-9]+)")) is None
    assert phase.guess_accuracy([row("Why?", None)], EXACT) is None


def test_figures_are_a_function_of_the_marks(evaluate: Evaluate) -> None:
    marks = [Marked("a", number % 3 == 0, number % 5 > 0) for number in range(60)]
    found = phase.exam_marks(marks, evaluate)
    assert phase.exam_marks(marks, evaluate) == found
    interval = bounds(found.accuracy_interval)
    assert found.accuracy_share is not None
    assert interval[0] < found.accuracy_share < interval[1]
    narrow = phase.exam_marks(marks, evaluate.model_copy(update={"confidence": 0.5}))
    assert bounds(narrow.accuracy_interval)[0] > interval[0]


def test_nothing_to_mark_is_no_figure(evaluate: Evaluate) -> None:
    for marks in ([], [Marked("a", None, None)]):
        found = phase.exam_marks(marks, evaluate)
        assert (
            found.accuracy_share,
            found.teacher_accuracy_share,
            found.accuracy_share_difference,
        ) == (None,) * 3
        assert found.category_accuracy_share == {}


TURNED = ((8, 4), (4, 8))


def reviews(identity: str, teacher: float, student: float) -> list[Review]:
    return [Review(identity, order, teacher, student, None, "") for order in ORDERS]


def test_quality_is_the_sum_of_scores_over_the_teachers(evaluate: Evaluate) -> None:
    """Student 5 and 9 against 10 and 10: 70 %, not the mean of ratios of unequal rows."""
    rows = [*reviews("a", 10, 5), *reviews("b", 10, 9), *reviews("c", 2, 1)]
    found = phase.exam_quality(rows, evaluate)
    assert found.quality_percent == pytest.approx(100 * 15 / 22)
    assert found.quality_rows == 3


def test_an_unreadable_review_takes_its_pair_out(evaluate: Evaluate) -> None:
    broken = structs.replace(
        reviews("b", 10, 1)[1], teacher_score=None, student_score=None, reason="x"
    )
    rows = [*reviews("a", 10, 8), reviews("b", 10, 1)[0], broken]
    found = phase.exam_quality(rows, evaluate)
    assert (found.quality_percent, found.quality_rows) == (80.0, 1)


def test_the_referee_of_the_exam_is_tested_by_its_own_orders(evaluate: Evaluate) -> None:
    """One of two rows has another winner in the other order; equal answers do not count."""
    turned = [
        Review("b", order, *scores, None, "") for order, scores in zip(ORDERS, TURNED, strict=True)
    ]
    found = phase.exam_quality([*reviews("a", 10, 8), *turned], evaluate)
    assert found.quality_flip_share == 0.5
    assert phase.exam_quality(turned, evaluate, {"b"}).quality_flip_share is None


def test_quality_of_nothing_is_no_figure(evaluate: Evaluate) -> None:
    assert phase.exam_quality([], evaluate).quality_percent is None


RIGHT_AND_WRONG = [Marked("sums", True, True), Marked("sums", False, True)]


@pytest.mark.parametrize(
    ("marks", "scores", "told"),
    [
        (
            RIGHT_AND_WRONG,
            (10, 6.204),
            "accuracy 50.0 %, the teacher's 100.0 %; quality 62.0 % of the teacher's",
        ),
        ([], (10, 6.2), "quality 62.0 % of the teacher's"),
        ([], None, "no exam rows to mark"),
        ([replace(one, teacher=None) for one in RIGHT_AND_WRONG], None, "accuracy 50.0 %"),
    ],
)
def test_the_outcome_is_one_sentence(
    marks: list[Marked], scores: tuple[float, float] | None, told: str, evaluate: Evaluate
) -> None:
    judged = [] if scores is None else reviews("a", *scores)
    found = EvaluateMetrics.of(
        phase.exam_marks(marks, evaluate),
        phase.exam_quality(judged, evaluate),
        referee=NOTHING,
        teacher=NOTHING,
        dropped={},
    )
    assert phase.exam_sentence(found) == told
