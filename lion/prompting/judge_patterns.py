"""Patterns of scores in judges' replies: labels in several languages, numbers, scales, lists.

Their groups: `score`, `scale` (the top of a scale beside it), `share` (a per cent sign), `named` (a
scale beside the label), `who` (the assistant); of two numbers the first is `first`, with `of` and
`part`. White space is bounded: no reply makes the time explode.
"""

import re

_ASSISTANT = r"(?:assist[ea]nt\w{0,2}|asistente|ассистент\w?|助手|助理|アシスタント)"
_WORD = (
    r"(?:scores?|ratings?|punktzahl|bewertung|note|puntuaci[oó]n|puntaje|pontuação|оценка"
    r"|评分|得分|分数|評価|スコア|点数)"
)
_LINK = (  # bounded white space, here as below: no reply makes the time explode
    r"(?:\s{1,3}|\s{0,3}\(\s{0,3}"
    r"|\s{1,3}(?:of|for|von|für|del?|do|pour|para)\s{1,3}(?:the\s{1,3}|l['\u2019])?)"
)
_UNIT = r"(?:points?|stars?|Punkten?|分|点)"
_TOP = (  # what comes before the top of a scale: 4/5, 4 (out of 5), 4 von 5, 4分, 满分5分
    r"(?:/|out\s+of(?:\s+a\s+(?:possible|maximum\s+of|total\s+of))?|of|von|sur|de|из"
    r"|max(?:imum)?\.?:?|满分"
    r"|(?:on\s+)?(?:an?\s+)?scale\s+(?:of|from)\s+[01]\s?(?:-|\u2013|to))"
)
_SCALE_NAMED = (  # behind a label: Score of Assistant 1 (out of 5), Scores (1-10)
    r"(?:\s{0,3}[(\[]\s{0,3}(?:/|out of|of|max\.?|[01]\s?(?:-|\u2013|to))"
    r"\s{0,3}(?P<named>\d+)\s{0,3}[)\]])?"
)


def _number(score: str = "score", scale: str = "scale", share: str = "share") -> str:
    """Return the pattern of a score with the scale that it is on, by the names of its groups."""
    return (
        rf"(?P<{score}>[+-]?\d+(?:[.,]\d+)?)(?:\s{{0,3}}(?:{_UNIT}\s{{0,3}})?[(,]?\s{{0,3}}"
        rf"(?:{_TOP}|(?:on\s+an?\s+)?(?=\d{{1,4}}[- ]point\b))"
        rf"\s{{0,3}}(?P<{scale}>\d+)(?:[- ]point\b(?:\s+scale)?|\s{{0,3}}{_UNIT})?"
        rf"|\s*(?P<{share}>%))?"
    )


_NUMBER = _number()
# A hyphen between label and number is a dash where spaces surround it, else a minus. What follows
# the number must not go on with it: 7-8, 8.5.1, 1e1, 8 -> 6 and `1. 8` are none.
SCORE = re.compile(
    rf"(?P<label>{_WORD}{_LINK})?{_ASSISTANT}\s{{0,3}}(?P<who>[12])(?!\d)"
    rf"(?P<owned>\s{{0,3}}(?:['\u2019]s|的|の)?\s{{0,3}}{_WORD})?"
    rf"{_SCALE_NAMED}"
    r"(?:[^\w+-]{1,8}|[^\w+-]{0,8}(?:\bis|\bgets|\s-\s)[^\w+-]{0,8})"
    rf"{_NUMBER}[分点]?"
    r"(?![\w%]|[.,]\d|\s*/|\s*[-\u2013\u2014]\s*\d|\s+(?:to|or)\s+\d"
    r"|\s{0,3}(?:->|=>|\u2192)\s{0,3}\d|[.)]\s{1,3}\d{1,3}(?:[.,]\d{1,3})?\s{0,3}(?:\n|$))",
    re.IGNORECASE,
)
LABEL = re.compile(
    rf"(?:{_WORD}{_LINK}{_ASSISTANT}\s{{0,3}}[12]"
    rf"|{_ASSISTANT}\s{{0,3}}[12]\s{{0,3}}(?:['\u2019]s|的|の)?\s{{0,3}}{_WORD})"
    r"(?:\s{0,3}[^\w\s,.;]|\s{1,3}is\b)",
    re.IGNORECASE,
)
CONCLUDED = re.compile(  # a paragraph on one assistant that comes to its score
    rf"\W*{_ASSISTANT} ?(?P<who>[12])\b[^\n]*\b{_WORD} (?:is|would be) {_NUMBER}[\s.]*",
    re.IGNORECASE,
)
# What follows a bare score in its line; a table's next cell may say why, but holds no other number.
REMARK = re.compile(r"(?!\s*\|\s*[^\W\d])[^\w(]*\w")
OPENING = re.compile(r"\W*(?:\d+[.)])?\W*(?:(?:the|my|final|overall)\s+)*", re.IGNORECASE)
_FIRST = _number("first", "of", "part")
_TWO = (
    rf"{_FIRST}(?:[\s\].)>]*[,;&|]\s*|[\s\].)>]*\s+(?:and|vs\.?)\s+|[\].)>]*\s+)[\[(<]*{_NUMBER}\W*"
)
_HEADING = rf"(?:(?:the|my|final|overall)\s+){{0,3}}{_WORD}{_SCALE_NAMED}\s?[:=]"
# Two numbers: bare, in a list numbered 1 and 2, on a line each, or behind a heading.
PAIR = re.compile(rf"[^\w+-]*{_TWO}", re.IGNORECASE)
NUMBERED = re.compile(
    rf"[^\w(\[<+-]*1(?:[.)]\s+|\s?[:=]\s*|\s-\s){_FIRST}[\s,;|&]+(?:and\s+)?"
    rf"#?2(?:[.)]\s+|\s?[:=]\s*|\s-\s){_NUMBER}\W*",
    re.IGNORECASE,
)
ITEM = re.compile(rf"[^\w(\[<+-]*1[.)]\s+{_NUMBER}\W*", re.IGNORECASE)
STACKED = re.compile(rf"[^\w+-]*{_FIRST}[^\w+-]*\n[^\w+-]*{_NUMBER}\W*", re.IGNORECASE)
HEADED = re.compile(rf"^[^\w\n]{{0,20}}{_HEADING}[^\w+-]*{_TWO}$", re.IGNORECASE | re.MULTILINE)
# A line that states the scale of the scores below it, and nothing else.
SCALE_LINE = re.compile(
    rf"\W*(?:(?:{_WORD}|on|using|an?|the|are|is)\W+){{0,5}}"
    r"(?:scale\s+(?:of|from)\s+[01]\s?(?:-|\u2013|to)\s?|out\s+of\s+|[01]\s?(?:-|\u2013|to)\s?)"
    r"(?P<top>\d+)(?:\W*:|\s+scale\W*[:.]?)\W*",
    re.IGNORECASE,
)
ACROSS = re.compile(
    rf"[\s|]*(?:(?:the|my|final|overall|total)\s+){{0,3}}(?:{_WORD}|overall|total)\W{{0,3}}\|\s*"
    rf"{_FIRST}\s*\|\s*{_NUMBER}[\s|]*",
    re.IGNORECASE,
)
HEADER = re.compile(
    rf"^[^\w\n]*(?:\w+\s*)?\|\s*{_ASSISTANT}\s?1\s*\|\s*{_ASSISTANT}\s?2[ \t|]*$",
    re.IGNORECASE | re.MULTILINE,
)
