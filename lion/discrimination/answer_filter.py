"""Teacher answers that are not trained on, because the exam's scorer rejects them."""

from collections.abc import Callable

from lion.config.settings import Scorer, Teach
from lion.discrimination import json_scorer, scorers
from lion.generation.teach import AnswerFilter
from lion.records.rows import Dropped, Instruction

Problem = Callable[[str, str | None], str | None]
"""What is wrong with an answer, given the expected one; or None."""


def answer_filter(rules: Teach, scorer: Scorer) -> AnswerFilter | None:
    """Return the filter that `teach.filter` asks for; None for `none`.

    valid: the answer has the form that the scorer reads: JSON that the schema allows or with each
    field, a number, the pattern. correct: also the expected value, where the row has one. Raises
    SettingsError where the scorer cannot be used.
    """
    if rules.filter == "none":
        return None
    form, mark = _form(scorer), scorers.marker(scorer)

    def rejected(row: Instruction, answer: str) -> Dropped | None:
        problem = form(answer, row.expected)
        if problem is not None:
            return Dropped("teach", "invalid", row.id, answer, problem)
        if rules.filter == "correct" and row.expected is not None:
            marked = mark(answer, row.expected)
            if marked.correct is False:
                return Dropped("teach", "wrong", row.id, answer, marked.reason)
        return None

    return rejected


def _form(scorer: Scorer) -> Problem:
    """Return the test of an answer's form, which looks at no expected value."""
    if scorer.kind == "json":
        return _json_form(scorer)
    if scorer.kind == "json_schema":
        return lambda answer, _: scorers.marker(scorer)(answer, None).reason
    if scorer.kind in _READ_ANYTHING:
        return lambda answer, _: None if answer.strip() else "empty answer"
    # what such a scorer can read is compared with some value, and a mark without a reason follows
    return lambda answer, _: scorers.marker(scorer)(answer, "0").reason


_READ_ANYTHING = ("exact", "function", "referee")


def _json_form(scorer: Scorer) -> Problem:
    validity = json_scorer.schema_check(scorer.option) if scorer.option else None
    return lambda answer, _: json_scorer.validity_problem(answer, scorer.fields, validity)[1]
