"""Claims about lion.discrimination.scorers: worked marks, and states instead of guesses."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.config.settings import Scorer
from lion.discrimination.scorers import NO_EXPECTED, Mark, marker, score
from lion.errors import DataError, SettingsError

EXACT = Scorer(kind="exact", option=None)
NUMBER = Scorer(kind="number", option=None)
CHOICE = Scorer(kind="regex", option=r"answer is \(?([A-E])\b")


def mark(answer: str, expected: str | None, scorer: Scorer) -> Mark:
    """Mark one row."""
    return score(answer, expected, scorer, "row-1")


@pytest.mark.parametrize("scorer", [EXACT, NUMBER, CHOICE])
@pytest.mark.parametrize("expected", [None, "", " \n"])
def test_a_row_without_an_expected_answer_is_not_marked(
    scorer: Scorer, expected: str | None
) -> None:
    """Never counted as wrong."""
    assert mark("anything", expected, scorer) == Mark(None, NO_EXPECTED)


@pytest.mark.parametrize("scorer", [EXACT, NUMBER, CHOICE])
def test_an_empty_answer_is_wrong_with_a_reason(scorer: Scorer) -> None:
    """An answer that cannot be read is a wrong one, not a missing one."""
    assert mark(" \n", "4", scorer) == Mark(False, "empty answer")


@pytest.mark.parametrize(
    ("answer", "expected", "correct"),
    [
        ("a b", "a b", True),
        (" a\n  b\t", "a b", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("A b", "a b", False),
        ("a b.", "a b", False),
        ("ab", "a b", False),
        ("\uff11", "1", False),
    ],
)
def test_exact_forgives_white_space_and_spelling_of_letters_only(
    answer: str, expected: str, correct: bool
) -> None:
    """Case and punctuation count; the two spellings of an accent are the same."""
    assert mark(answer, expected, EXACT) == Mark(correct)


@pytest.mark.parametrize(
    ("answer", "expected", "marked"),
    [
        ("The answer is B", "B", Mark(True)),
        ("The answer is (A). No: the answer is (C).", "C", Mark(True)),
        ("The answer is (C). No: the answer is (A).", "C", Mark(False)),
        ("It is B", "B", Mark(False, "the pattern is not in the answer")),
    ],
)
def test_regex_compares_the_first_group_of_the_last_match(
    answer: str, expected: str, marked: Mark
) -> None:
    """The last word counts."""
    assert mark(answer, expected, CHOICE) == marked


def test_a_group_that_took_no_part_is_a_reason() -> None:
    """An optional group may be absent from a match."""
    optional = Scorer(kind="regex", option=r"x(\d)?")
    assert mark("x1 x", "1", optional) == Mark(
        False, "the pattern's first group is not in its last match"
    )


@pytest.mark.parametrize(
    ("answer", "expected", "correct"),
    [
        ("42", "42", True),
        ("First 7, then 42.", "42", True),
        ("The total is 1,234,567.5 dollars", "1234567.5", True),
        ("1'234", "1234", True),
        ("1\u202f234 \u20ac", "1234", True),
        ("-3", "-3", True),
        ("\u22123", "-3", True),
        ("3", "-3", False),
        ("x = +5", "5", True),
        ("10-4", "4", True),
        ("GPT-4", "4", True),
        ("1, 2, 3", "3", True),
        ("1,2,3", "3", True),
        ("1234,567", "567", True),
        ("0.10", "0.1", True),
        (".5", "0.5", True),
        ("-.5", "-0.5", True),
        ("1.5e3", "1500", True),
        ("1e-2 m", "0.01", True),
        ("0.30000000000000004", "0.3", False),
        ("\u0664\u0662", "42", True),
        ("$1,000", "1000", True),
        ("50%", "50", True),
        ("so 5+7 = 12\n#### 12", "#### 12", True),
    ],
)
def test_the_last_number_counts(answer: str, expected: str, correct: bool) -> None:
    """Signs, thousands, decimals, exponents, any digits; compared exactly, not as floats."""
    assert mark(answer, expected, NUMBER) == Mark(correct)


@pytest.mark.parametrize(
    ("tolerance", "answer", "correct"),
    [
        ("0.01", "3.15", True),
        ("0.01", "3.1500001", False),
        ("1e-1", "3.04", True),
        ("0", "3", False),
    ],
)
def test_the_option_of_number_is_an_absolute_tolerance(
    tolerance: str, answer: str, correct: bool
) -> None:
    """Its bound included, exactly: 3.15 is within 0.01 of 3.14 although floats deny it."""
    assert mark(answer, "3.14", Scorer(kind="number", option=tolerance)) == Mark(correct)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_a_number_is_read_as_it_was_written(value: object) -> None:
    """Plain, with thousands separators, and inside prose: the same number."""
    for text in (f"{value}", f"{value:,}", f"So the result is {value:,}, I think."):
        assert mark(text, str(value), NUMBER) == Mark(True)
    assert mark(str(Fraction(str(value)) + 1), str(value), NUMBER).correct is False


def test_numbers_that_are_absent_or_monstrous_are_states() -> None:
    """No number, a missing reference, and a thousand digits: no crash and no guess."""
    assert mark("four", "4", NUMBER) == Mark(False, "no number in the answer")
    assert mark("4", "four", NUMBER) == Mark(None, "no number in the expected answer")
    assert mark("9" * 10_000, "4", NUMBER) == Mark(False)
    assert mark("1e999999999", "4", NUMBER).correct is False
    assert mark("nan inf", "4", NUMBER) == Mark(False, "no number in the answer")


@pytest.fixture
def schema(tmp_path: Path) -> Scorer:
    """Write a schema for {"answer": integer} and return its scorer."""
    path = tmp_path / "schema.json"
    integer = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    path.write_text(json.dumps({**integer, "required": ["answer"]}), encoding="utf-8")
    return Scorer(kind="json_schema", option=str(path))


@pytest.mark.parametrize(
    ("answer", "correct", "reason"),
    [
        ('{"answer": 4}', True, ""),
        ('{"answer": "4"}', False, "$.answer: '4' is not of type 'integer'"),
        ("{}", False, "$: 'answer' is a required property"),
        ('{"answer": 4', False, "not JSON"),
        ('{"answer": NaN}', False, "not JSON: NaN"),
        ("", False, "not JSON"),
        ("[" * 100_000, False, "not JSON"),
        ('The answer: {"answer": 4}', False, "not JSON"),
    ],
)
def test_json_schema_validates_the_whole_answer(
    schema: Scorer, answer: str, correct: bool, reason: str
) -> None:
    """The schema stands for the expected answer, so a row needs none."""
    marked = mark(answer, None, schema)
    assert marked.correct is correct
    assert (marked.reason or "").startswith(reason)


def test_a_schema_never_fetches_what_it_refers_to(tmp_path: Path) -> None:
    """A remote $ref is an error of the settings, not a request."""
    path = tmp_path / "schema.json"
    path.write_text('{"$ref": "http://127.0.0.1:9/schema"}', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9/schema is not in the file"):
        mark("{}", None, Scorer(kind="json_schema", option=str(path)))


MODULE = """
import re
def same(answer, expected): return answer == expected
def fails(answer, expected): return 1 / 0
def number(answer, expected): return 1
constant = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of scorers where it can be imported, and return its name."""
    (tmp_path / "lion_test_scorers.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "lion_test_broken.py").write_text("raise RuntimeError('boo')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    marker.cache_clear()
    return "lion_test_scorers"


def test_a_function_marks(module: str) -> None:
    """It is called with the answer and what is expected, as they are."""
    same = Scorer(kind="function", option=f"{module}:same")
    assert mark("a", "a", same) == Mark(True)
    assert mark("a ", "a", same) == Mark(False)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fails", r"row row-1: the scorer .*:fails raised ZeroDivisionError: .*fix the function"),
        ("number", r"row row-1: the scorer .*:number returned 1; True or False is needed"),
    ],
)
def test_a_function_that_fails_names_the_row(module: str, name: str, told: str) -> None:
    """Neither an exception nor a stray number becomes a mark."""
    with pytest.raises(DataError, match=told):
        mark("a", "a", Scorer(kind="function", option=f"{module}:{name}"))


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("kind", "option", "told"),
    [
        ("function", "lion_test_scorers", "not of the form module:name"),
        ("function", "lion_test_scorers:absent", "lion_test_scorers has no absent"),
        ("function", "lion_test_scorers:constant", "is int, not a function"),
        ("function", "no_such_module:f", "no_such_module cannot be imported"),
        ("function", "lion_test_broken:f", "RuntimeError: boo"),
        ("regex", "(", "is no regular expression"),
        ("regex", "answer", "has no group"),
        ("number", "close", "is no tolerance"),
        ("number", "-1", "is no tolerance"),
        ("number", "nan", "is no tolerance"),
        ("json_schema", "/no/such/schema.json", "cannot be read as JSON"),
    ],
)
def test_a_scorer_that_cannot_be_used_is_an_error_of_the_settings(
    kind: str, option: str, told: str
) -> None:
    """Found when the marker is made, before a row is marked."""
    scorer = Scorer.model_validate({"kind": kind, "option": option})
    with pytest.raises(SettingsError, match=f"exam.scorer .*{told}"):
        marker(scorer)


@pytest.mark.parametrize("text", ["{", "3", '{"type": 3}'])
def test_a_broken_schema_is_an_error_of_the_settings(tmp_path: Path, text: str) -> None:
    """No JSON, no object, no schema."""
    path = tmp_path / "schema.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"exam\.scorer \(json_schema\): .*schema\.json"):
        marker(Scorer(kind="json_schema", option=str(path)))


def test_the_referee_is_no_scorer_of_this_kind() -> None:
    """Calling for it is a fault of ours, not a mark."""
    with pytest.raises(ValueError, match="referee"):
        marker(Scorer(kind="referee", option=None))
