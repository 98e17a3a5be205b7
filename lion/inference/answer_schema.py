"""The JSON schema that the student's answers keep to, where `answering.form` asks for one.

A server gets it as `response_format`; here `allowed_tokens` follows it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lion.config.settings import FieldRule, NumberRule, Settings
from lion.errors import SettingsError

_SCALAR: Mapping[str, Any] = {"type": ["string", "number", "boolean", "null"]}


def answer_schema(settings: Settings) -> str | None:
    """Return the schema as JSON text; None where answers are free.

    That of the file in `exam.scorer.option`; without one, an object with the scorer's fields in
    their order. Raises SettingsError where the file cannot be read.
    """
    if settings.answering.form == "text":
        return None
    scorer = settings.exam.scorer
    if scorer.option is None:
        return json.dumps(_object_of(scorer.fields))
    try:
        schema = json.loads(Path(scorer.option).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"exam.scorer.option: {scorer.option} cannot be read as JSON ({error}). "
            "answering.form: schema needs it."
        ) from error
    if not isinstance(schema, dict):
        raise SettingsError(f"exam.scorer.option: {scorer.option} is no schema, which is an object")
    return json.dumps(schema)


def response_format(schema: str) -> dict[str, Any]:
    """Return the protocol's parameter that makes a server keep to the schema."""
    named = {"name": "answer", "strict": True, "schema": json.loads(schema)}
    return {"type": "json_schema", "json_schema": named}


def keeps_to(schema: str) -> Callable[[str], bool]:
    """Return a function that tells whether a text is JSON alone that the schema allows.

    It raises SettingsError where a `$ref` points outside the schema: nothing is fetched.
    """
    import jsonschema  # slow to import, and few runs need it
    import referencing

    document = json.loads(schema)
    kind = jsonschema.validators.validator_for(document, default=jsonschema.Draft202012Validator)
    validator = kind(document, registry=referencing.Registry())

    def allows(text: str) -> bool:
        try:
            return validator.is_valid(json.loads(text))
        except (ValueError, RecursionError):
            return False
        except referencing.exceptions.Unresolvable as error:
            raise SettingsError(
                f"exam.scorer.option: $ref {error.ref} is not in the file. Add it there."
            ) from error

    return allows


def _object_of(fields: Mapping[str, FieldRule]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: field_schema(rule) for name, rule in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def field_schema(rule: FieldRule) -> Mapping[str, Any]:
    """Return the schema of a field: values that an answer of its rule usually has.

    A rule compares any JSON value, `exact` allows any; `lion check` names rows with others.
    """
    if isinstance(rule, NumberRule):
        return {"type": ["number", "string", "null"]}
    return _VALUES[rule]


_VALUES: Mapping[str, Mapping[str, Any]] = {
    "label": _SCALAR,
    "exact": {},
    "set": {"type": ["array", "null"]},
    "text": _SCALAR,
}
