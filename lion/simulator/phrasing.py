"""The wordings of the twenty task families: content to text, and text to content.

`tasks` defines the content. Reading ignores case, white space and closing punctuation.

Every wording begins and ends with words of its own, so no question contains a shorter one:
decontamination would take that for an overlap.
"""

import re
from dataclasses import dataclass, field

from lion.simulator.tasks import CLAIMS, KINDS, NAMES, Content

# No wording is longer, so longer texts are not matched.
LONGEST = 400

_TERM = "(?:not )?(?:true|false)"
_FIELDS = {
    "letters": "[a-z](?: [a-z])+",
    "digits": "[0-9](?: [0-9])+",
    "words": "[a-z]+(?: [a-z]+)+",
    "number": "[0-9]+",
    "n": "[0-9]+",
    "end": "first|last",
    "extreme": "largest|smallest",
    "side": "left|right",
    "kind": "|".join(KINDS),
    "expression": f"{_TERM}(?: (?:and|or) {_TERM})+",
    "sum": r"[0-9]+(?: \+ [0-9]+)+",
    "story": "[a-z ,]+",
    "name": "[a-z]+",
    "claim": "|".join(CLAIMS),
    "old": "[a-z]",
    "new": "[a-z]",
}
_NAMES = re.compile("|".join(rf"\b{name.lower()}\b" for name in NAMES))

WORDINGS = {
    "parity": (
        "is {number} odd or even?",
        "is the number {number} even or odd?",
        "say if {number} is odd or even",
    ),
    "first or last letter": (
        "in {letters} what is the {end} letter?",
        "from {letters} give the {end} letter",
        "which letter of {letters} is the {end}?",
    ),
    "copy": (
        "copy {letters} letter by letter",
        "repeat {letters} as it is",
        "write {letters} once more",
    ),
    "latest letter": (
        "which of {letters} comes latest in the alphabet?",
        "of {letters} name the latest letter",
        "in {letters} which letter is nearest to z?",
    ),
    "nth letter": (
        "in {letters} what is letter {n}?",
        "of {letters} give letter number {n}",
        "from {letters} take the letter at place {n}",
    ),
    "largest or smallest digit": (
        "which of the digits {digits} is {extreme}?",
        "of {digits} give the {extreme} digit",
        "in {digits} what is the {extreme} digit?",
    ),
    "odd one out": (
        "which of {words} is the odd one out?",
        "of {words} name the odd one out",
        "in {words} which word does not belong?",
    ),
    "reverse": (
        "reverse {letters} letter by letter",
        "write {letters} in reverse order",
        "spell {letters} backwards",
    ),
    "boolean": (
        "what does {expression} evaluate to?",
        "find the value of {expression} in logic",
        "work out if {expression} holds",
    ),
    "rotate": (
        "rotate {letters} to the {side} by {n}",
        "turn {letters} {n} to the {side}",
        "take {letters} and rotate {side} by {n}",
    ),
    "count objects": (
        "how many of {words} are {kind}?",
        "in {words} count the {kind}",
        "among {words} how many are {kind}?",
    ),
    "sort letters": (
        "sort {letters} from a to z",
        "put {letters} in alphabetical order",
        "write {letters} in sorted order",
    ),
    "web of lies": (
        "if {story}, does {name} {claim}?",
        "suppose {story}. does {name} {claim}?",
        "say yes or no if {story}: does {name} {claim}?",
    ),
    "swap ends": (
        "in {letters} swap the first and last letter",
        "write {letters} with its ends swapped",
        "swap the ends of {letters} only",
    ),
    "add": (
        "what is {sum} in total?",
        "how much does {sum} make?",
        "add {sum} and give the sum",
    ),
    "double letters": (
        "in {letters} double each letter",
        "write {letters} with each letter twice",
        "double all of {letters} in place",
    ),
    "replace": (
        "in {letters} replace {old} with {new}",
        "in {letters} change {old} to {new}",
        "write {letters} with {new} for each {old}",
    ),
    "who is tallest": (
        "if {story}, who is tallest?",
        "suppose {story}. who is the tallest?",
        "given that {story}, name the tallest",
    ),
    "caesar": (
        "shift each of {letters} by {n} in the alphabet",
        "in {letters} move each letter on by {n}",
        "caesar code {letters} with key {n}",
    ),
    "tracking swaps": (
        "if {story}, what does {name} have?",
        "suppose {story}. what does {name} have now?",
        "given that {story}, name the letter of {name}",
    ),
}


@dataclass(frozen=True, slots=True)
class Wording:
    """A template that writes a family's content, and reads it back."""

    template: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern that reads the template."""
        pieces = re.split(r"\{(\w+)\}", normal(self.template))
        pattern = "".join(
            f"(?P<{piece}>{_FIELDS[piece]})" if index % 2 else re.escape(piece)
            for index, piece in enumerate(pieces)
        )
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def write(self, content: Content) -> str:
        """Return the content in this wording."""
        return self.template.format_map(content)

    def read(self, text: str) -> Content | None:
        """Return the content of a `normal` text, or None where it has another wording."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        fields = match.groupdict()
        return {key: _capitalised(fields[key]) if key in _NAMED else fields[key] for key in fields}


_NAMED = frozenset({"story", "name"})


def _capitalised(text: str) -> str:
    return _NAMES.sub(lambda match: match[0].capitalize(), text)


def normal(text: str) -> str:
    """Return `text` normalised: lower case, single blanks, no closing punctuation."""
    return " ".join(text.casefold().split()).rstrip(" .?!")
