"""Is an answer right? One marker per kind of scorer, for rows that carry a checkable answer.

An answer that cannot be read is a wrong answer, with a reason; a row that cannot be marked is not
marked, with a reason, and never counts as wrong. Does not count (see `statistics`), and does not
ask the referee, whose judgement is no mark.
"""

import importlib
import importlib.util
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from lion.config.settings import Scorer
from lion.discrimination import json_scorer, number_marks
from lion.discrimination.json_scorer import FieldMarks
from lion.discrimination.math_process import MathProcess
from lion.discrimination.numbers import Readings
from lion.errors import DataError, SettingsError

NO_EXPECTED = "no expected answer"


@dataclass(frozen=True, slots=True)
class Mark:
    """Right, wrong, or None for a row that cannot be marked; `reason` says why, where not plain."""

    correct: bool | None
    reason: str | None = None


Marker = Callable[[str, str | None], Mark]
FieldMarker = Callable[[str, str | None], FieldMarks | str]


def score(answer: str, expected: str | None, scorer: Scorer, row: str) -> Mark:
    """Mark `answer` against `expected`; `row` is the id that an error names.

    exact: equal after NFC, with outer white space stripped and inner white space folded; case and
    punctuation count. regex: the first group of the last match, compared likewise. number: the
    value that the answer comes to against that of `expected`, each as what it is, within the
    tolerance of the option (else equal). math: as number, and what that does not read by
    math-verify. json_schema: the answer is JSON that the schema allows, and the same value as
    `expected` where the row has one. json: a JSON object whose fields are right by
    `scorer.fields`, and which the schema of the option allows. function: what the user's function
    of (answer, expected) returns.

    Raises SettingsError where the scorer itself cannot be used, and DataError where the user's
    function fails.
    """
    try:
        return marker(scorer)(answer, expected)
    except DataError as error:
        raise DataError(f"row {row}: {error}") from error


@lru_cache(maxsize=8)
def marker(scorer: Scorer) -> Marker:
    """Return the function that marks for `scorer`: patterns compiled, files read, code imported.

    So `lion check` can call it before anything is spent. Raises SettingsError.
    """
    if scorer.kind == "referee":
        raise ValueError("the referee judges, it does not mark: ask lion.discrimination.pairwise")
    return _MARKERS[scorer.kind](scorer)


def reference_problem(expected: str, scorer: Scorer) -> str | None:
    """Return why `scorer` can mark no answer against `expected`; None where it can.

    Looks at scorers that read `expected`, `number` and `math`.
    """
    if scorer.kind not in ("number", "math"):
        return None
    mark = marker(scorer)("?", expected)
    return mark.reason if mark.correct is None else None


def _against_expected(mark: Callable[[str, str], Mark]) -> Marker:
    def _mark(answer: str, expected: str | None) -> Mark:
        if expected is None or not expected.strip():
            return Mark(None, NO_EXPECTED)
        if not answer.strip():
            return Mark(False, "empty answer")
        return mark(answer, expected)

    return _mark


def _refuse(scorer: str, what: str, error: Exception | None = None) -> NoReturn:
    raise SettingsError(f"exam.scorer ({scorer}): {what}") from error


# --- exact and regex -------------------------------------------------------------------------


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _exact(answer: str, expected: str) -> Mark:
    return Mark(_plain(answer) == _plain(expected))


def _regex(option: str) -> Callable[[str, str], Mark]:
    try:
        pattern = re.compile(option)
    except re.error as error:
        _refuse("regex", f"option {option!r} is no regular expression ({error})", error)
    if pattern.groups < 1:
        _refuse("regex", f"option {option!r} has no group; put ( ) around the answer")

    def _mark(answer: str, expected: str) -> Mark:
        last = _last_match(pattern, answer)
        if last is None:
            return Mark(False, "the pattern is not in the answer")
        if last.group(1) is None:
            return Mark(False, "the pattern's first group is not in its last match")
        return _exact(last.group(1), expected)

    return _mark


# --- number ----------------------------------------------------------------------------------


def _number(option: str) -> Callable[[str, str], Mark]:
    try:
        tolerance = Decimal(option or "0")
    except InvalidOperation as error:
        _refuse("number", f"option {option!r} is no tolerance; a number or null is expected", error)
    if not tolerance.is_finite() or tolerance < 0:
        _refuse("number", f"option {option!r} is no tolerance; it is finite and not negative")

    def _mark(answer: str, expected: str) -> Mark:
        right = number_marks.expected_readings(expected)
        if isinstance(right, str):
            return Mark(None, right)
        if _plain(answer) == _plain(expected):
            return Mark(True)
        return _compared(answer, right, Fraction(tolerance))

    return _mark


def _compared(answer: str, right: Readings, tolerance: Fraction) -> Mark:
    kind = right[0].kind
    readings = number_marks.answer_readings(answer, kind)
    if readings is None:
        return Mark(False, f"no {kind} in the answer")
    if any(value.equals(other, tolerance) for value in readings for other in right):
        return Mark(True)
    if not readings:
        return Mark(False, "the answer is an expression, which is not evaluated")
    other = readings[0].kind
    return Mark(False, None if other == kind else f"the answer is a {other}, not a {kind}")


# --- math ------------------------------------------------------------------------------------


def _math() -> Callable[[str, str], Mark]:
    if importlib.util.find_spec("math_verify") is None:
        _refuse("math", "it needs the library math-verify; run `pip install -e '.[math]'`")
    by_number, process = _number(""), MathProcess()

    def _mark(answer: str, expected: str) -> Mark:
        mark = by_number(answer, expected)  # exact, and of mixed numbers, times and thousands
        if mark.correct or mark == Mark(False):
            return mark
        return MATH_MARKS[process.mark(expected, answer)]

    return _mark


MATH_MARKS: Mapping[str, Mark] = MappingProxyType(
    {
        "right": Mark(True),
        "wrong": Mark(False),
        "no_reference": Mark(None, "no mathematical expression in the expected answer"),
        "no_answer": Mark(False, "no mathematical expression in the answer"),
        "undecided": Mark(False, "math-verify takes too long over it"),
    }
)


# --- JSON ------------------------------------------------------------------------------------


def _json_schema(option: str) -> Marker:
    validity = json_scorer.schema_check(option)

    def _mark(answer: str, expected: str | None) -> Mark:
        value, problem = json_scorer.parse_json(answer)
        problem = problem or validity(value)
        if problem is not None:
            return Mark(False, problem)
        if expected is None or not expected.strip():
            return Mark(True)
        same = json_scorer.same_json(answer, expected)
        if same is None:
            return Mark(None, "the expected answer is no JSON")
        return Mark(same, None if same else "valid, but not what is expected")

    return _mark


def _json(scorer: Scorer) -> Marker:
    fields = field_marker(scorer)

    def _mark(answer: str, expected: str | None) -> Mark:
        marks = fields(answer, expected)
        return Mark(None, marks) if isinstance(marks, str) else Mark(marks.correct, marks.reason)

    return _mark


def field_marker(scorer: Scorer) -> FieldMarker:
    """Return the function that marks each field for a scorer of kind `json`.

    It returns the reason where a row cannot be marked. Raises SettingsError.
    """
    validity = json_scorer.schema_check(scorer.option) if scorer.option else None

    def _mark(answer: str, expected: str | None) -> FieldMarks | str:
        right, problem = json_scorer.expected_fields(expected, scorer.fields)
        if problem is not None:
            return problem
        return json_scorer.mark_fields(answer, right, scorer.fields, validity)

    return _mark


# --- function --------------------------------------------------------------------------------


def _function(option: str) -> Callable[[str, str], Mark]:
    function = _import(option)

    def _mark(answer: str, expected: str) -> Mark:
        try:
            result = function(answer, expected)
        except Exception as error:  # the user's code may raise anything; none of it is ours
            raise DataError(
                f"the scorer {option} raised {type(error).__name__}: {error}; fix the function"
            ) from error
        if not isinstance(result, bool):
            raise DataError(f"the scorer {option} returned {result!r:.60}; True or False is needed")
        return Mark(result)

    return _mark


def _import(option: str) -> Callable[[str, str], Any]:
    module, _, name = option.partition(":")
    if not module or not name:
        _refuse("function", f"option {option!r} is not of the form module:name")
    here = str(Path.cwd())
    if here not in sys.path:  # a stage has it there, the command `lion` has not
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
    except AttributeError as error:
        _refuse("function", f"{module} has no {name} ({error})", error)
    except Exception as error:  # importing runs the user's code, which may raise anything
        _refuse("function", f"{module} cannot be imported ({type(error).__name__}: {error})", error)
    if not callable(function):
        _refuse("function", f"{option} is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]  # its result is checked at every call


_MARKERS: Mapping[str, Callable[[Scorer], Marker]] = MappingProxyType(
    {
        "exact": lambda _: _against_expected(_exact),
        "regex": lambda scorer: _against_expected(_regex(scorer.option or "")),
        "number": lambda scorer: _against_expected(_number(scorer.option or "")),
        "math": lambda _: _against_expected(_math()),
        "json_schema": lambda scorer: _json_schema(scorer.option or ""),
        "json": _json,
        "function": lambda scorer: _against_expected(_function(scorer.option or "")),
    }
)
