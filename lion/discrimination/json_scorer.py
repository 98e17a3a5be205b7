"""Marks of JSON answers: against a schema, and field by field against what is expected.

An answer is JSON alone: prose around it or a code block makes it invalid, as it would for the
program that reads it.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

from lion.config.settings import FieldRule, NumberRule
from lion.errors import SettingsError

Validity = Callable[[object], str | None]
"""What is wrong with a JSON value, or None."""


@dataclass(frozen=True, slots=True)
class FieldMarks:
    """The marks of one answer: each field right or wrong, and why the answer is invalid, if it is.

    Every field of an answer that is no JSON object is wrong. `values` are the answer's fields.
    """

    right: dict[str, bool]
    invalid: str | None
    values: Mapping[str, object]

    @property
    def correct(self) -> bool:
        """Whether the answer is valid and each field right."""
        return self.invalid is None and all(self.right.values())

    @property
    def reason(self) -> str | None:
        """Why the answer is wrong; None where it is right."""
        if self.invalid is not None:
            return self.invalid
        wrong = [name for name, mark in self.right.items() if not mark]
        return f"wrong: {', '.join(wrong)}" if wrong else None


def parse_json(text: str) -> tuple[object, str | None]:
    """Return the value of a text that is JSON alone; or None, and why it is none."""
    try:
        return json.loads(text, parse_constant=_no_constant), None
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"


def expected_fields(
    expected: str | None, rules: Mapping[str, FieldRule]
) -> tuple[dict[str, object], str | None]:
    """Return the expected fields; or none, and why the row cannot be marked."""
    if expected is None or not expected.strip():
        return {}, "no expected answer"
    value, problem = parse_json(expected)
    if problem is not None:
        return {}, f"the expected answer is {problem}"
    if not isinstance(value, dict):
        return {}, "the expected answer is no JSON object"
    missing = [name for name in rules if name not in value]
    if missing:
        return {}, f"the expected answer has no {', '.join(missing)}"
    return value, None


def mark_fields(
    answer: str,
    expected: Mapping[str, object],
    rules: Mapping[str, FieldRule],
    validity: Validity | None,
) -> FieldMarks:
    """Mark the fields of `rules`; `validity` is that of a schema, where there is one.

    Without a schema an answer is valid where it is an object with each of the fields.
    """
    value, invalid = validity_problem(answer, rules, validity)
    fields: Mapping[str, object] = value if isinstance(value, dict) else {}
    right = {
        name: name in fields and _equal(fields[name], expected[name], rule)
        for name, rule in rules.items()
    }
    return FieldMarks(right, invalid, fields)


def validity_problem(
    answer: str, rules: Mapping[str, FieldRule], validity: Validity | None
) -> tuple[object, str | None]:
    """Return the value of an answer, and why the answer is invalid, if it is (`mark_fields`)."""
    value, problem = parse_json(answer)
    if problem is not None:
        return None, problem
    return value, validity(value) if validity is not None else _lacks(value, rules)


def same_json(answer: str, expected: str) -> bool | None:
    """Tell whether two texts are the same JSON value; None where `expected` is no JSON."""
    right, problem = parse_json(expected)
    if problem is not None:
        return None
    value, problem = parse_json(answer)
    return problem is None and _exact(value, right)


def schema_check(path: str) -> Validity:
    """Return a function that checks a value against the JSON schema in the file `path`.

    It returns the first problem, or None. Raises SettingsError if the file is no valid schema, and
    the function does if a `$ref` points outside the file.
    """
    import jsonschema  # slow to import, and few exams need it
    import referencing

    try:
        schema = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _schema_error(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(schema, dict):
        raise _schema_error(f"{path}: a schema is an object")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise _schema_error(f"{path}: no valid schema ({error.message})") from error
    # An empty registry: a `$ref` never fetches anything from the network.
    validator = kind(schema, registry=referencing.Registry())

    def problem_of(value: object) -> str | None:
        try:
            problem = jsonschema.exceptions.best_match(validator.iter_errors(value))  # type: ignore[arg-type]  # any JSON value
        except referencing.exceptions.Unresolvable as error:
            raise _schema_error(f"{path}: $ref {error.ref} is not in the file") from error
        return None if problem is None else f"{problem.json_path}: {problem.message:.200}"

    return problem_of


def _schema_error(problem: str) -> SettingsError:
    return SettingsError(f"exam.scorer (json_schema): {problem}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _lacks(value: object, rules: Mapping[str, FieldRule]) -> str | None:
    if not isinstance(value, dict):
        return "no JSON object"
    missing = [name for name in rules if name not in value]
    return f"no field {', '.join(missing)}" if missing else None


def _equal(given: object, expected: object, rule: FieldRule) -> bool:
    if isinstance(rule, NumberRule):
        return _near(given, expected, rule.number)
    return _COMPARISONS[rule](given, expected)


def _exact(given: object, expected: object) -> bool:
    return _canonical(given) == _canonical(expected)


def _same_set(given: object, expected: object) -> bool:
    """Compare lists as sets: neither order nor repetition counts."""
    if not isinstance(given, list) or not isinstance(expected, list):
        return _exact(given, expected)
    return {_canonical(item) for item in given} == {_canonical(item) for item in expected}


def _same_text(given: object, expected: object) -> bool:
    """Compare texts without regard to case, white space and closing punctuation."""
    if not isinstance(given, str) or not isinstance(expected, str):
        return _exact(given, expected)
    return _folded(given) == _folded(expected)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).rstrip(" .!?;,")


def _near(given: object, expected: object, tolerance: float) -> bool:
    first, second = _decimal(given), _decimal(expected)
    if first is None or second is None:
        return first is second and _exact(given, expected)
    return abs(first - second) <= Decimal(str(tolerance))


def _decimal(value: object) -> Decimal | None:
    """Return a number, also one that a text holds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    # The difference of a huge and a tiny number has as many digits as lie between them.
    return number if number.is_finite() and abs(number.adjusted()) < 400 else None


def _canonical(value: object) -> str:
    """Return a JSON value as text: 1 and 1.0 are the same, and so are texts that NFC makes so."""
    return json.dumps(_normalised(value), sort_keys=True)


def _normalised(value: object) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_normalised(item) for item in value]
    if isinstance(value, dict):
        return {name: _normalised(item) for name, item in value.items()}
    return value


_COMPARISONS: Mapping[str, Callable[[object, object], bool]] = {
    "label": _exact,
    "exact": _exact,
    "set": _same_set,
    "text": _same_text,
}
