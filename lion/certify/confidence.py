"""How sure a student is of an answer, and whether the answer is its teacher's. Pure.

An uncertainty is at least 0; only its order matters. It is None where an answer must never be the
student's: without log probabilities, cut off by the cap, or not what the scorer can read.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lion.config.settings import Scorer
from lion.discrimination import scorers
from lion.prompting import replies
from lion.records.rows import Answer, TokenScores

Uncertainty = Callable[[Answer, Scorer], float | None]

# in valid JSON, what begins no string and no structure is a number or a literal
_LEAF = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null')
_KEY = re.compile(r"\s*:")


def uncertainty(answer: Answer, scorer: Scorer) -> float | None:
    """Return how unsure the student is of its answer; for open answers see `open_answers`."""
    return _SCORES[scorer.kind](answer, scorer) if has_scores(answer) else None


def has_scores(answer: Answer) -> bool:
    """Return whether an answer is complete and each of its tokens has a finite log probability."""
    logprobs = () if answer.tokens is None else answer.tokens.logprobs
    whole = replies.ending(answer.finish_reason) == "whole"
    return whole and bool(logprobs) and all(map(math.isfinite, logprobs))


def score_name(scorer: Scorer) -> str:
    """Return what the uncertainty of this kind of answer is."""
    return _NAMES[scorer.kind]


def agrees(student: str, teacher: str, scorer: Scorer, row: str) -> bool:
    """Return whether the student's answer is the teacher's, by the exam's scorer.

    A teacher's answer that the scorer cannot read is a disagreement: nothing can agree with it.
    Raises SettingsError and DataError as `scorers.score`.
    """
    if scorer.kind == "json_schema":
        return _same_json(student, teacher, scorer, row)
    expected: str | None = teacher
    if scorer.kind == "regex":
        expected = _captured(teacher, scorer.option or "")
    return scorers.score(student, expected, scorer, row).correct is True


def _captured(text: str, pattern: str) -> str | None:
    """Return what the pattern's first group captures last, which is what the scorer compares."""
    matches = list(re.finditer(pattern, text))
    return matches[-1].group(1) if matches else None


def _same_json(student: str, teacher: str, scorer: Scorer, row: str) -> bool:
    """Return whether both are valid by the schema and hold the same value, keys in any order."""
    valid = (scorers.score(text, None, scorer, row).correct for text in (student, teacher))
    return all(valid) and _canonical(json.loads(student)) == _canonical(json.loads(teacher))


def _canonical(value: Any) -> Any:
    """Return a value that equals another as JSON does: true is not 1, and 1 is 1.0."""
    if isinstance(value, dict):
        return ("object", sorted((key, _canonical(part)) for key, part in value.items()))
    if isinstance(value, list):
        return ("array", [_canonical(part) for part in value])
    if isinstance(value, bool | None):
        return ("literal", json.dumps(value))
    return ("number", str(float(value))) if isinstance(value, int | float) else ("text", value)


def _of_sequence(answer: Answer, _scorer: Scorer) -> float | None:
    """Return the negative log probability of the whole answer, its end included, in nats."""
    assert answer.tokens is not None
    return max(0.0, -sum(answer.tokens.logprobs))


def _of_fields(answer: Answer, scorer: Scorer) -> float | None:
    """Return that of the least certain value of a JSON answer; None if the schema refuses it."""
    assert answer.tokens is not None
    if scorers.score(answer.text, answer.text, scorer, answer.id).correct is not True:
        return None
    values = [_of_span(answer.tokens, *span) for span in value_spans(answer.text)]
    return max(values) if values else _of_sequence(answer, scorer)


def value_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each value in valid JSON that holds no other, keys left out."""
    for match in _LEAF.finditer(text):
        if not (match.group().startswith('"') and _KEY.match(text, match.end())):
            yield match.span()


def _of_span(tokens: TokenScores, start: int, end: int) -> float:
    """Return the negative log probability of the tokens that touch the characters of a span."""
    total, before = 0.0, 0
    for logprob, after in zip(tokens.logprobs, tokens.ends, strict=True):
        if before < end and after > start:
            total -= logprob
        before = after
    return max(0.0, total)


_SCORES: Mapping[str, Uncertainty] = {
    "exact": _of_sequence,
    "regex": _of_sequence,
    "number": _of_sequence,
    "function": _of_sequence,
    "math": _of_sequence,
    "json_schema": _of_fields,
    "json": _of_fields,
}
_NAMES: Mapping[str, str] = {
    **dict.fromkeys(
        ("exact", "regex", "number", "math", "function"), "nats of the answer, its end included"
    ),
    **dict.fromkeys(("json_schema", "json"), "nats of the least certain value"),
    "referee": "chance of a worse answer, fitted on the exam's other rows",
}
