"""What a judge's reply says: the scores of assistants 1 and 2, or the reason there are none. Pure.

Three forms: a JSON object (asked for with a strict schema), labelled lines after the evidence
(Lion's referee), and a first line of two numbers (Vicuna's; the paper's Setting 1). Reasons:
`no_scores`, `one_score`, `out_of_range` (not 1 to 10, or on another scale), `contradictory` (one
assistant has two last scores).
"""

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from lion.prompting import judge_patterns as patterns

LOWEST, HIGHEST = 1.0, 10.0
Scores = tuple[float, float]

SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            # in this order: a score that comes before its evidence is not founded on it
            "properties": {
                "evidence": {"type": "string"},
                "score_of_assistant_1": {"type": "integer", "enum": list(range(1, 11))},
                "score_of_assistant_2": {"type": "integer", "enum": list(range(1, 11))},
            },
            "required": ["evidence", "score_of_assistant_1", "score_of_assistant_2"],
            "additionalProperties": False,
        },
    },
}
"""The protocol's `response_format`, with the words that every strict server knows."""

_THOUGHT_BEGINS = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_FENCED = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)
_CLEANED = re.compile(r"[*_`#$]|</?[a-z]{1,12}>|\\boxed(?=\{)")
_SIGNS = str.maketrans("\u2212\uff0f\uff08\uff09", "-/()")
_Found = re.Match[str]


def from_text(text: str, shown: Sequence[str] = ()) -> Scores | str:
    """Return the scores of the reply's last score lines, or a reason.

    Where one of the `shown` answers imitates score lines, a reply that quotes it holds scores that
    are not the judge's: then the two must be the reply's very last lines.
    """
    plain = _plain(text)
    lines = [line for line in plain.splitlines() if not line.lstrip().startswith(">")]
    if any(_imitates(answer) for answer in shown):
        lines = [line for line in lines if re.search(r"\w", line)][-2:]
    scores = _labelled(lines, patterns.LABEL.search(plain) is not None)
    if scores == "no_scores":
        return _across(lines)
    return "out_of_range" if _below_another_scale(lines) else scores


def _below_another_scale(lines: Sequence[str]) -> bool:
    """Say whether the line above the scores states a scale that does not end at 10."""
    spoken = [line for line in lines if re.search(r"\w", line)]
    for above, line in itertools.pairwise(spoken):
        scale = patterns.SCALE_LINE.fullmatch(above)
        if scale is not None and scale["top"] != "10" and patterns.SCORE.search(line):
            return True
    return False


def _across(lines: Sequence[str]) -> Scores | str:
    """Return the scores of a table whose columns are the assistants, from its row of scores."""
    if not any(patterns.HEADER.fullmatch(line) for line in lines):
        return "no_scores"
    rows = [row for row in map(patterns.ACROSS.fullmatch, lines) if row is not None]
    return _two(rows[-1]) if len(rows) == 1 else "no_scores"


def from_first_line(text: str, shown: Sequence[str] = ()) -> Scores | str:
    """Return the two numbers that open the reply, assistant 1's first (Vicuna's form).

    Else its labelled scores, else two numbers behind a heading at its end, which none of the
    `shown` answers may have written.
    """
    lines = [line for line in _plain(text).splitlines() if re.search(r"\w", line)]
    if not lines:
        return "no_scores"
    pair = _opening_pair(lines)
    if pair is not None:
        return _two(pair)
    if patterns.ITEM.fullmatch(lines[0]):
        return "no_scores"  # the first item of a list, whose number is none of the scores
    opening = _labelled(lines[:2], labelled=False)
    if not isinstance(opening, str):
        return opening
    scores, closing = from_text(text), patterns.HEADED.search(_joined(lines[-2:]))
    if scores != "no_scores" or closing is None or any(map(_imitates, shown)):
        return scores
    return _two(closing)


def _opening_pair(lines: Sequence[str]) -> _Found | None:
    """Return the two numbers of the first line, or of a list or stack that the first two make."""
    two = _joined(lines[:2])
    for pattern, opening in (
        (patterns.NUMBERED, lines[0]),
        (patterns.NUMBERED, two),
        (patterns.HEADED, lines[0]),
        (patterns.STACKED, two),
    ):
        match = pattern.fullmatch(opening)
        if match is not None:
            return match
    return None if patterns.ITEM.fullmatch(lines[0]) else patterns.PAIR.fullmatch(lines[0])


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _two(pair: _Found) -> Scores | str:
    tops = {pair["of"], pair["scale"], pair.groupdict().get("named")}
    if pair["part"] or pair["share"] or tops - {None, "10"}:
        return "out_of_range"
    return _in_range(_value(pair["first"]), _value(pair["score"]))


def from_json(text: str) -> Scores | str | None:
    """Return the scores of a reply that is one JSON object, or a reason; None where it is none."""
    verdict = _object(text) or _object(_said(text))
    if verdict is None:
        return None
    scores = [verdict.get(f"score_of_assistant_{who}") for who in "12"]
    numbers = [
        score for score in scores if isinstance(score, int | float) and not isinstance(score, bool)
    ]
    if len(numbers) < 2:
        return "one_score" if numbers else "no_scores"
    return _in_range(float(numbers[0]), float(numbers[1]))


def _object(text: str) -> dict[str, Any] | None:
    bare = text.strip()
    fenced = _FENCED.fullmatch(bare)
    try:
        value = json.loads(fenced[1] if fenced else bare, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: which one the judge meant is not known."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _said(text: str) -> str:
    """Return what follows the judge's thoughts, where it writes them down."""
    said = _THOUGHT_ENDS.split(text)[-1]
    return "" if _THOUGHT_BEGINS.match(said) else said


def _plain(text: str) -> str:
    return _CLEANED.sub("", _said(text).translate(_SIGNS))


def _imitates(answer: str) -> bool:
    return any(
        pattern.search(_plain(answer))
        for pattern in (patterns.SCORE, patterns.HEADER, patterns.HEADED)
    )


def _labelled(lines: Sequence[str], labelled: bool) -> Scores | str:
    by_assistant: dict[str, _Found] = {}
    for line in reversed(lines):
        for match in reversed(_line_scores(line, labelled)):
            before = by_assistant.setdefault(match["who"], match)
            if _value(before["score"]) != _value(match["score"]):
                return "contradictory"
        if len(by_assistant) == 2:
            break
    if len(by_assistant) < 2:
        return "one_score" if by_assistant else "no_scores"
    if any(_on_another_scale(match) for match in by_assistant.values()):
        return "out_of_range"
    return _in_range(_value(by_assistant["1"]["score"]), _value(by_assistant["2"]["score"]))


def _on_another_scale(match: _Found) -> bool:
    tops = {match["scale"], match.groupdict().get("named")}
    return bool(match["share"]) or bool(tops - {None, "10"})


def _line_scores(line: str, labelled: bool) -> list[_Found]:
    """Return the scores that a line gives: of both assistants, or one that opens the line.

    One inside a sentence is quoted. Where words such as `Score of Assistant` stand anywhere in the
    reply, only they count; else `Assistant 1: 8` does, where nothing follows it but a bracket, and
    a paragraph that begins with the assistant and ends with its score.
    """
    matches = list(patterns.SCORE.finditer(line))
    if labelled:
        matches = [match for match in matches if match["label"] or match["owned"]]
    elif matches and patterns.REMARK.match(line[matches[-1].end() :]):
        matches = []
    if not labelled and not matches:
        concluded = patterns.CONCLUDED.fullmatch(line)
        return [concluded] if concluded else []
    if len({match["who"] for match in matches}) == 2:
        return matches
    return [match for match in matches if patterns.OPENING.fullmatch(line[: match.start()])]


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _in_range(first: float, second: float) -> Scores | str:
    inside = all(LOWEST <= score <= HIGHEST for score in (first, second))
    return (first, second) if inside else "out_of_range"
