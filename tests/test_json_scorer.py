"""The scorer `json`: each field by its rule, validity apart, labels with their confusion."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lion.config.settings import Evaluate, Scorer
from lion.discrimination.json_scorer import FieldMarks, mark_fields
from lion.discrimination.scorers import Mark, score
from lion.evaluation.exam_fields import NONE, OTHER, exam_fields, fields_sentence
from lion.records.rows import Instruction

TICKETS = Scorer.model_validate(
    {"kind": "json", "option": None, "fields": {"label": "label", "order": "exact"}}
)
EXPECTED = '{"label": "refund", "order": null}'


@pytest.mark.parametrize(
    ("rule", "given", "expected", "right"),
    [
        ("exact", "refund", "refund", True),
        ("exact", "Refund", "refund", False),
        ("exact", 1, 1.0, True),
        ("exact", True, 1, False),
        ("exact", None, "null", False),
        ("exact", {"a": [1, 2]}, {"a": [1, 2]}, True),
        ("exact", "e\u0301", "\u00e9", True),
        ("set", ["b", "a", "a"], ["a", "b"], True),
        ("set", ["a"], ["a", "b"], False),
        ("set", "a", ["a"], False),
        ("text", " My  Lamp. ", "my lamp", True),
        ("text", "my lamps", "my lamp", False),
        ({"number": 0.01}, 4.99, 5, True),
        ({"number": 0.01}, 4.98, 5, False),
        ({"number": 0.0}, 0.1, 0.1, True),
        ({"number": 1}, "5", 5, True),
        ({"number": 1}, True, 1, False),
        ({"number": 1}, None, 0, False),
        ({"number": 1}, None, None, True),
        ({"number": 1}, 1e308, 5, False),
        ({"number": 1}, "1e999999999", 5, False),
    ],
)
def test_a_field_is_right_by_its_rule(
    rule: object, given: object, expected: object, right: bool
) -> None:
    scorer = Scorer.model_validate({"kind": "json", "option": None, "fields": {"x": rule}})
    marks = mark_fields(json.dumps({"x": given}), {"x": expected}, scorer.fields, None)
    assert marks.right == {"x": right}
    assert marks.invalid is None
    assert (
        score(json.dumps({"x": given}), json.dumps({"x": expected}), scorer, "r").correct is right
    )


@pytest.mark.parametrize(
    ("answer", "mark"),
    [
        ('{"order":null,"label":"refund"}', Mark(True)),
        ('{"label":"refund","order":null,"note":"x"}', Mark(True)),
        ('{"label":"invoice","order":"46A"}', Mark(False, "wrong: label, order")),
        ('{"label":"refund"}', Mark(False, "no field order")),
        ('["refund"]', Mark(False, "no JSON object")),
    ],
)
def test_an_answer_is_right_where_each_field_is(answer: str, mark: Mark) -> None:
    assert score(answer, EXPECTED, TICKETS, "r") == mark


@pytest.mark.parametrize("answer", ["", "refund", f"```json\n{EXPECTED}\n```", "[" * 100_000])
def test_what_is_no_json_alone_is_wrong_with_its_reason(answer: str) -> None:
    marked = score(answer, EXPECTED, TICKETS, "r")
    assert marked.correct is False
    assert (marked.reason or "").startswith("not JSON")


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (None, "no expected answer"),
        (" ", "no expected answer"),
        ("refund", "the expected answer is not JSON"),
        ("[1]", "the expected answer is no JSON object"),
        ('{"label": "x"}', "the expected answer has no order"),
    ],
)
def test_a_row_that_cannot_be_marked_is_not_wrong(expected: str | None, reason: str) -> None:
    marked = score(EXPECTED, expected, TICKETS, "r")
    assert marked.correct is None
    assert (marked.reason or "").startswith(reason)


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "answer.json"
    path.write_text('{"properties": {"label": {"enum": ["refund", "invoice"]}}}', encoding="utf-8")
    return str(path)


def test_a_schema_decides_validity_apart_from_the_fields(schema: str) -> None:
    scorer = TICKETS.model_copy(update={"option": schema})
    marked = score('{"label":"cash","order":null}', EXPECTED, scorer, "r")
    assert marked.correct is False
    assert (marked.reason or "").startswith("$.label: 'cash' is not one of")
    assert score('{"label":"refund","order":null}', EXPECTED, scorer, "r") == Mark(True)


def test_json_schema_compares_with_what_is_expected_where_a_row_has_it(schema: str) -> None:
    """Before, any valid JSON was right."""
    scorer = Scorer(kind="json_schema", option=schema)
    right, wrong = '{"label":"refund"}', '{"label":"invoice"}'
    assert score(right, '{ "label": "refund" }', scorer, "r") == Mark(True)
    assert score(wrong, right, scorer, "r") == Mark(False, "valid, but not what is expected")
    assert score(wrong, None, scorer, "r") == Mark(True)
    assert score(wrong, "refund", scorer, "r").correct is None


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "json", "option": None},
        {"kind": "exact", "option": None, "fields": {"x": "exact"}},
        {"kind": "json", "option": None, "fields": {"x": "near"}},
        {"kind": "json", "option": None, "fields": {"x": {"number": -1}}},
    ],
)
def test_rules_go_with_the_scorer_json_alone(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Scorer.model_validate(values)


# The exam's figures

EVALUATE = Evaluate(
    quality=0, confidence=0.95, resamples=100, max_dropped=0, referee=None, samples=1
)


def row(number: int, expected: str | None) -> Instruction:
    return Instruction.new(
        [{"role": "user", "content": f"Ticket {number}"}],
        origin="exam",
        iteration="0",
        expected=expected,
    )


def test_fields_validity_and_confusion_are_counted_over_rows() -> None:
    labels = ["refund", "refund", "invoice", "invoice", None]
    exam = [
        row(n, None if label is None else json.dumps({"label": label, "order": n}))
        for n, label in enumerate(labels)
    ]
    answers = [
        '{"label":"refund","order":0}',
        '{"label":"cash","order":1}',
        "no JSON",
        '{"label":"refund","order":5}',
        "not marked",
    ]
    texts = {one.id: text for one, text in zip(exam, answers, strict=True)}
    fields = exam_fields(exam, {}, texts, TICKETS, EVALUATE.confidence)
    assert fields is not None
    assert fields.valid is not None
    assert (fields.valid.value_share, fields.valid.count) == (0.75, 4)
    assert fields.teacher_valid is None
    label, order = fields.by_name["label"], fields.by_name["order"]
    assert label.student is not None
    assert order.student is not None
    assert (label.student.value_share, order.student.value_share) == (0.25, 0.5)
    assert label.confusion_rows == {
        "invoice": {"invoice": 0, "refund": 1, OTHER: 0, NONE: 1},
        "refund": {"invoice": 0, "refund": 1, OTHER: 1, NONE: 0},
    }
    assert order.confusion_rows is None
    assert fields_sentence(fields) == "label 25.0 %, order 50.0 %, valid JSON 75.0 %"


def test_another_scorer_has_no_fields() -> None:
    assert exam_fields([], {}, {}, Scorer(kind="exact", option=None), 0.95) is None


def test_the_marks_of_an_answer_say_what_is_wrong() -> None:
    marks = FieldMarks({"a": True, "b": False}, None, {})
    assert (marks.correct, marks.reason) == (False, "wrong: b")
