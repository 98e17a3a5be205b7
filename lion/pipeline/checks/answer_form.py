"""Problems of `answering.form`: what the student's engine cannot follow, and rows that it forbids.

Imports no torch, unless llguidance cannot follow the schema and vLLM is installed.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lion.config.settings import Answering, NumberRule, Settings
from lion.conversations import TaskTemplate
from lion.discrimination.json_scorer import expected_fields
from lion.errors import LionError, SettingsError
from lion.inference import backend
from lion.inference.answer_grammar import grammar_problem, writable_prefix
from lion.inference.answer_schema import answer_schema, field_schema, keeps_to
from lion.readers import files
from lion.readers.formats import SourceRow


class ExpectedAnswer(NamedTuple):
    """The expected answer of a row of the user's, and the row's place."""

    place: str
    text: str


def answer_form_problems(settings: Settings) -> Iterator[str]:
    """Yield why the student here cannot keep to the schema, and which rows it can never get right.

    vLLM and a server follow the schema themselves.
    """
    schema = _schema(settings)
    if schema is None:
        return
    problem = None if settings.student.endpoint is not None else grammar_problem(schema)
    if problem is not None and not _answers_by_vllm(settings.answering):
        yield problem
    if settings.exam.scorer.option is None:  # else the scorer's own check looks at the values
        yield from _forbidden_values(settings)


def answer_form_notices(settings: Settings) -> Iterator[str]:
    """Yield that the student must write expected answers otherwise than they stand in the file."""
    schema = _schema(settings)
    if schema is None or settings.student.endpoint is not None or grammar_problem(schema):
        return
    expected, prefix = _expected_answers(settings), writable_prefix(schema)
    cut = [(row.place, prefix(row.text.strip())) for row in expected]
    stops = [(place, start) for place, start in cut if start is not None]
    if stops:
        place, start = stops[0]
        yield (
            f"answering.form: {place}: the student can write the expected answer up to "
            f"{start[-60:]!r}; so with {len(stops)} of {len(expected)}. It writes fields in the "
            "schema's order, and their names and enum values without escapes. Give the fields of "
            "exam.scorer, or of its schema, the order of your answers."
        )


def _schema(settings: Settings) -> str | None:
    try:
        return answer_schema(settings)
    except SettingsError:
        return None  # the scorer's checks say what is wrong with its file


def _answers_by_vllm(answering: Answering) -> bool:
    installed = importlib.util.find_spec("vllm") is not None
    return installed and backend.chosen_engine(answering) == "vllm"


def _forbidden_values(settings: Settings) -> Iterator[str]:
    """Yield the first expected value that its field's schema forbids: no answer has it."""
    rules, expected = settings.exam.scorer.fields, _expected_answers(settings)
    allows = {name: keeps_to(json.dumps(field_schema(rule))) for name, rule in rules.items()}
    forbidden = [
        (row.place, name, values[name])
        for row in expected
        for values in [expected_fields(row.text, rules)[0]]
        for name in rules
        if name in values and not allows[name](json.dumps(values[name]))
    ]
    if forbidden:
        place, name, value = forbidden[0]
        rule = rules[name]
        yield (
            f"answering.form: {place}: `{name}` is {json.dumps(value)[:60]}, which a field of rule "
            f"`{'number' if isinstance(rule, NumberRule) else rule}` cannot be under a schema; so "
            f"in {len({place for place, *_ in forbidden})} of {len(expected)} expected answers. "
            "Set the rule `exact`, or name a schema in exam.scorer.option."
        )


def _expected_answers(settings: Settings) -> list[ExpectedAnswer]:
    """Return those of exam and certificate; files that cannot be read are reported elsewhere."""
    task = TaskTemplate.declared(settings.task)
    rows: list[SourceRow] = []
    for name in _files(settings):
        try:
            rows += files.read_rows(Path(name), task).rows
        except LionError:
            continue
    return [
        ExpectedAnswer(f"{row.file}, line {row.line}", row.expected)
        for row in rows
        if row.expected is not None
    ]


def _files(settings: Settings) -> Iterator[str]:
    exam, seed = settings.exam, settings.seed
    if exam.file is not None and not exam.simulated:
        yield exam.file
    if exam.file is None and seed.holdout and not seed.simulated:
        yield from seed.source
    if isinstance(exam.certify, str):
        yield exam.certify
