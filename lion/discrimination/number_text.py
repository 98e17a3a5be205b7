r"""Answers as plain text, and the part that they mark as their answer.

LaTeX, Unicode and Markdown are normalised: signs, digits of any script, spaces, vulgar fractions,
superscripts, `\frac`, `\text`, `9{,}500`. Reads no number (see `numbers`).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

SYMBOL = "\u2218"
"""Stands for a mathematical symbol or function that is not evaluated: a root, pi, a logarithm."""

NARROW = "\u202f"
"""Stands for each space that no line breaks at: they group thousands."""

TIMES = "\u00d7"

_CHARACTERS = str.maketrans(
    dict.fromkeys("\u2212\u2012\ufe63\u2010\u2011", "-")
    | dict.fromkeys("\u00a0\u2006\u2007\u2008\u2009\u200a", NARROW)
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
    | dict.fromkeys("\u22c5\u2219\u00b7\u2217", TIMES)
    | dict.fromkeys("\u221a\u03c0\u221e\u221b", SYMBOL)
    | dict.fromkeys("\u00f7\u2044\u2215", "/")
    | {"\u066b": ".", "\u066c": ",", "\u00ba": "\u00b0"}
    | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width
)
_COMPATIBLE = re.compile(
    "[\u00bc-\u00be\u2150-\u215e\u2189]|[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b]+"
)
# Each rule is applied once, in this order. Arguments hold no braces of their own: `_latex` rewrites
# the innermost first.
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|it|sf)|mbox|operatorname|boxed|fbox)\s*"
    r"\{([^{}]{0,400})\}"
)
_FRACTION = re.compile(
    r"(\d?)\s*\\[dtc]?frac\s*(?:\{([^{}]{1,200})\}|(\d))\s*(?:\{([^{}]{1,200})\}|(\d))"
)
_FUNCTION = re.compile(
    r"\\(?:sqrt(?:\[[^\]]{0,20}\])?|overline|bar|underline|hat|vec|log|ln|exp)\s*\{([^{}]{0,200})\}"
)
_LATEX: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\{\s*,\s*\}", ","),  # 9{,}500
        (r"\\!|\\(?:left|right|displaystyle|bigl?|bigr?|Bigl?|Bigr?)(?![A-Za-z])", ""),
        (r"\\[,;:]|(?<=\d)~(?=\d)", NARROW),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", "\u00b0"),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])", TIMES),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\pm(?![A-Za-z])", "\u00b1"),
        (r"\\approx(?![A-Za-z])", "\u2248"),
        (r"\\(?:geq?|gt)(?![A-Za-z])", ">"),
        (r"\\(?:leq?|lt)(?![A-Za-z])", "<"),
        (r"\\([%#&{}])", r"\1"),
        (r"\^\s*\{\s*([-+]?\d{1,4})\s*\}", r"^\1"),
        (r"\$\$|\\[()\[\]]", " "),
        (r"(?<![\\\w])\$([^\s$](?:[^$\n]{0,200}[^\s$])?)\$(?!\w)", r"\1"),
        (r"\\\$", "$"),
        (r"\\(?:q?quad|hspace|newline|begin|end|\s|\\)(?![A-Za-z])", " "),
        (r"\\[A-Za-z]+", SYMBOL),
    )
)
_EMPHASIS = re.compile(  # a star between two numbers is an operator
    r"(?P<operator>(?<=[\d)])(?:\s?\*\s?|\*\*)(?=[\d(-]))|\*{1,3}|`+|(?<!\w)_{1,3}|_{1,3}(?!\w)"
)
# functions and numerals of other bases, which are not evaluated
_UNREAD = re.compile(
    r"\b(?:arc)?(?:sin|cos|tan|log|ln|exp|sqrt)\b(?=\s?[(-]?\s?\d)|\b0[xbo](?=[0-9A-Fa-f])"
    r"|(?<=\d)[\u2080-\u2089]+"
)
_SIGN = re.compile(
    r"(?:^|(?<=[=(\[{,:])|(?<=[=(\[{,:]\s))\u2013(?=[.\d$])"  # an en dash for a minus
    r"|(?<=[=(])\s?[-\u2013]\s(?=[.\d$])",  # = - 5; a dash that opens a line is a bullet
    re.MULTILINE,
)


def plain(text: str) -> str:
    """Return `text` with one spelling for each numeral, sign, space and operator."""
    text = _UNREAD.sub(SYMBOL, text)
    text = _COMPATIBLE.sub(_spelled_out, text.translate(_CHARACTERS))
    if not text.isascii():
        text = "".join(
            str(unicodedata.decimal(character)) if character.isdecimal() else character
            for character in text
        )
    if "\\" in text or "$" in text or "{" in text:
        text = _latex(text)
    return _SIGN.sub("-", _EMPHASIS.sub(lambda match: match["operator"] or "", text))


def _spelled_out(match: re.Match[str]) -> str:
    """Return 1/2 for a vulgar fraction, ^2 for superscripts; a digit before makes it mixed."""
    parts = [unicodedata.normalize("NFKC", character) for character in match[0]]
    joined = "".join(parts).replace("\u2044", "/").replace("\u2212", "-")
    if "/" not in joined:
        return f"^{joined}"
    return f" {joined}" if match.string[match.start() - 1 : match.start()].isdecimal() else joined


def _latex(text: str) -> str:
    for _ in range(4):  # arguments within arguments
        before = text
        text = _FUNCTION.sub(rf"{SYMBOL}(\1)", _TEXT.sub(r"\1", text))
        text = _FRACTION.sub(_division, text)
        if text == before:
            break
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return text


def _division(match: re.Match[str]) -> str:
    whole, *arguments = match.groups()
    over, under = (argument.strip() for argument in arguments if argument is not None)
    division = f"{_in_brackets(over)}/{_in_brackets(under)}"
    return f"{whole} {division}" if whole else division


def _in_brackets(argument: str) -> str:
    return argument if re.fullmatch(r"-?[\d.,]+", argument) else f"({argument})"


# --- the part that is marked as the answer -----------------------------------------------------

_LONGEST, _MOST = 2000, 20  # characters of a marked part, and how many of them are looked at
_HASHES = re.compile(r"####[ \t]*")  # GSM8K's mark
# at the start of a clause: not of "the next answer was 12" and "2 points/answer = 48"
_PHRASE = re.compile(
    r"(?:(?:^|[.!?,;:(*>])\s{0,3}|\b(?:so|thus|hence|therefore|that|and|the|my|our|final|correct)\s)"
    r"(?:(?:the|my|our|final|correct|die|la|el)\s){0,3}[*_]{0,2}"
    r"(?:\b(?:answers?|Antwort|r[e\u00e9]ponse|respuesta|\u043e\u0442\u0432\u0435\u0442)\b"
    r"|\u7b54\u6848|\u7b54\u3048)[*_\s\"')]{0,6}"
    r"(?:(?:to|of|for)\s[^.,\n:=]{1,80}?\s)?"
    r"(?:(?:is|are|was|would be|should be|will be|must be|equals|lautet|ist|est|es)\b"
    r"|[:=\uff1a\u662f\u4e3a\u306f])"
    r"[\s:*_]{0,6}",
    re.IGNORECASE | re.MULTILINE,
)

_EXCLAIMED = re.compile(r"(?<=\d)!+([\s\"')*_]*)$")  # "The answer is 5!" is no factorial


def marked_answers(text: str) -> Iterator[str]:
    r"""Yield the parts of the raw `text` that it marks as its answer, the last one first.

    After `####`, inside `\boxed{}`, after words such as "the answer is"; to the end of the line.
    """
    parts = [(match.end(), _line(text, match.end())) for match in _HASHES.finditer(text)]
    for match in _PHRASE.finditer(text):
        parts.append((match.end(), _EXCLAIMED.sub(r"\1", _line(text, match.end()))))
    parts += _boxed(text)
    for _, part in sorted(parts, reverse=True)[:_MOST]:
        yield part


def _line(text: str, start: int) -> str:
    return text[start : start + _LONGEST].lstrip().partition("\n")[0]


def _boxed(text: str) -> Iterator[tuple[int, str]]:
    """Yield (place, content) of each balanced box."""
    for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        content = _balanced(text[match.end() : match.end() + _LONGEST])
        if content is not None:
            yield match.end(), content


def _balanced(text: str) -> str | None:
    depth: dict[str, Callable[[int], int]] = {"{": lambda n: n + 1, "}": lambda n: n - 1}
    level = 1
    for place, character in enumerate(text):
        if character in depth and text[place - 1 : place] != "\\":
            level = depth[character](level)
        if level == 0:
            return text[:place]
    return None
