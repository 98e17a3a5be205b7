"""What a judge's reply says: the scores of assistants 1 and 2, or the reason there are none. Pure.

Three forms: a JSON object (asked for with a strict schema), labelled lines after the evidence
(Lion's referee), and a first line of two numbers (Vicuna's; the paper's Setting 1). Reasons:
`no_scores`, `one_score`, `out_of_range` (not 1 to 10, or on another scale), `contradictory` (one
assistant has two last scores).
"""

import json
import re
from collections.abc import Sequence
from typing import Any

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

_ASSISTANT = r"(?:assist[ea]nt\w{0,2}|asistente|ассистент\w?|助手|助理|アシスタント)"
_WORD = (
    r"(?:scores?|ratings?|punktzahl|bewertung|note|puntuaci[oó]n|puntaje|pontuação|оценка"
    r"|评分|得分|分数|評価|スコア|点数)"
)
_LINK = (  # bounded white space, here as below: no reply makes the time explode
    r"(?:\s{1,3}|\s{0,3}\(\s{0,3}"
    r"|\s{1,3}(?:of|for|von|für|del?|do|pour|para)\s{1,3}(?:the\s{1,3}|l['\u2019])?)"
)
_NUMBER = r"(?P<score>[+-]?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of)\s*(?P<scale>\d+)|\s*(?P<share>%))?"
# A hyphen between label and number is a dash where spaces surround it, else a minus. What follows
# the number must not go on with it: 7-8, 8.5.1 and 1e1 are no scores.
_SCORE = re.compile(
    rf"(?P<label>{_WORD}{_LINK})?{_ASSISTANT}\s{{0,3}}(?P<who>[12])(?!\d)"
    rf"(?P<owned>\s{{0,3}}(?:['\u2019]s|的|の)?\s{{0,3}}{_WORD})?"
    r"(?:[^\w+-]{1,8}|[^\w+-]{0,8}(?:\bis|\bgets|\s-\s)[^\w+-]{0,8})"
    rf"{_NUMBER}[分点]?"
    r"(?![\w%]|[.,]\d|\s*/|\s*[-\u2013\u2014]\s*\d|\s+(?:to|or)\s+\d)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"(?:{_WORD}{_LINK}{_ASSISTANT}\s{{0,3}}[12]"
    rf"|{_ASSISTANT}\s{{0,3}}[12]\s{{0,3}}(?:['\u2019]s|的|の)?\s{{0,3}}{_WORD})"
    r"(?:\s{0,3}[^\w\s,.;]|\s{1,3}is\b)",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(  # a paragraph on one assistant that comes to its score
    rf"\W*{_ASSISTANT} ?(?P<who>[12])\b[^\n]*\b{_WORD} (?:is|would be) {_NUMBER}[\s.]*",
    re.IGNORECASE,
)
_OPENING = re.compile(r"\W*(?:\d+[.)])?\W*(?:(?:the|my|final|overall)\s+)*", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_FENCED = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)
_PAIR = re.compile(
    rf"[^\w+-]*{_NUMBER.replace('score', 'first').replace('scale', 'of').replace('share', 'part')}"
    rf"(?:[\s\].)>]*[,;&|]\s*|[\s\].)>]*\s+and\s+|[\].)>]*\s+)[\[(<]*{_NUMBER}\W*",
    re.IGNORECASE,
)
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
    return _labelled(lines, _LABEL.search(plain) is not None)


def from_first_line(text: str) -> Scores | str:
    """Return the two numbers that open the reply, assistant 1's first (Vicuna's form)."""
    lines = [line for line in _plain(text).splitlines() if re.search(r"\w", line)]
    if not lines:
        return "no_scores"
    pair = _PAIR.fullmatch(lines[0])
    if pair is None:
        opening = _labelled(lines[:2], labelled=False)
        return from_text(text) if isinstance(opening, str) else opening
    if pair["part"] or pair["share"] or {pair["of"], pair["scale"]} - {None, "10"}:
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
    return _THOUGHT_ENDS.split(text)[-1]


def _plain(text: str) -> str:
    return re.sub(r"[*_`#]", "", _said(text))


def _imitates(answer: str) -> bool:
    return _SCORE.search(_plain(answer)) is not None


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
    if any(match["share"] or match["scale"] not in (None, "10") for match in by_assistant.values()):
        return "out_of_range"
    return _in_range(_value(by_assistant["1"]["score"]), _value(by_assistant["2"]["score"]))


def _line_scores(line: str, labelled: bool) -> list[_Found]:
    """Return the scores that a line gives: of both assistants, or one that opens the line.

    One inside a sentence is quoted. Where words such as `Score of Assistant` stand anywhere in the
    reply, only they count; else `Assistant 1: 8` does, where nothing follows it but a bracket, and
    a paragraph that begins with the assistant and ends with its score.
    """
    matches = list(_SCORE.finditer(line))
    if labelled:
        matches = [match for match in matches if match["label"] or match["owned"]]
    elif matches and re.match(r"[^\w(]*\w", line[matches[-1].end() :]):
        matches = []
    if not labelled and not matches:
        concluded = _CONCLUDED.fullmatch(line)
        return [concluded] if concluded else []
    if len({match["who"] for match in matches}) == 2:
        return matches
    return [match for match in matches if _OPENING.fullmatch(line[: match.start()])]


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _in_range(first: float, second: float) -> Scores | str:
    inside = all(LOWEST <= score <= HIGHEST for score in (first, second))
    return (first, second) if inside else "out_of_range"
