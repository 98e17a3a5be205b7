"""A JSON schema as a grammar of llguidance, over the tokens of a student. Imports no torch."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lion.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from tokenizers import Tokenizer

MISSING = (
    "answering.form: schema needs the library llguidance. In Lion's folder, run "
    "`pip install -e '.[constrained]'`."
)
_BLANKS = r"[\x20\x0A\x0D\x09]"
_BLANK_RUN = 16
"""White space between two tokens of JSON, at most: a student could write it until its cap."""
_OPTIONS = {
    "whitespace_pattern": f"{_BLANKS}{{0,{_BLANK_RUN}}}",
    "json_allow_general_unicode_escapes": True,
}
"""Options of llguidance: texts may be escaped as Python escapes them, and JSON indented.

Names and enum values of the schema must stand as they are: llguidance 1.9 allows no escape there.
"""


def grammar(schema: str) -> str:
    """Return the grammar of answers, in llguidance's form of Lark.

    White space may stand before the answer: the first token of many tokenizers begins with a space.
    """
    document = json.loads(schema)
    document["x-guidance"] = {**_OPTIONS, **document.get("x-guidance", {})}
    return (
        f"start: BLANK? answer\nBLANK: /{_BLANKS}{{1,{_BLANK_RUN}}}/\n"
        f"answer: %json {json.dumps(document)}\n"
    )


def grammar_problem(schema: str) -> str | None:
    """Return why answers cannot be kept to the schema here; None where they can."""
    if importlib.util.find_spec("llguidance") is None:
        return MISSING
    import llguidance  # an extra

    problem = llguidance.LLMatcher.validate_grammar(grammar(schema))
    if not problem:
        return None
    return (
        f"answering.form: llguidance cannot follow the schema ({problem:.300}). Change "
        "exam.scorer.option, or set answering.form: text."
    )


def writable_prefix(schema: str) -> Callable[[str], str | None]:
    """Return a function: the part of a text that answers can begin with; None for a whole answer.

    The schema is one of which `grammar_problem` returns None.
    """
    from llguidance import LLMatcher, LLTokenizer  # an extra

    start = LLMatcher(LLTokenizer("byte"), grammar(schema), log_level=0)

    def prefix(text: str) -> str | None:
        matcher, content = start.deep_copy(), text.encode(errors="replace")
        count = matcher.try_consume_tokens(list(content))
        if count == len(content) and matcher.is_accepting():
            return None
        return content[:count].decode(errors="ignore")

    return prefix


def grammar_tokens(tokenizer: Any, stops: Sequence[int]) -> "LLTokenizer":
    """Return the tokens of a tokenizer as llguidance reads them; `stops` end an answer.

    Raises ModelError where it cannot.
    """
    from llguidance import LLTokenizer  # an extra

    try:
        return LLTokenizer(_mid_text(tokenizer.backend_tokenizer), eos_token=list(stops))
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"answering.form: llguidance cannot read the student's tokenizer ({error!s:.300}). Set "
            "answering.form: text."
        ) from error


def _mid_text(tokenizer: "Tokenizer") -> str:
    """Return a tokenizer as JSON that encodes the middle of a text.

    llguidance encodes what must come next, and a space that the tokenizer adds in front is none of
    it. Padding and truncation are the caller's.
    """
    document = json.loads(tokenizer.to_str())
    document.update(padding=None, truncation=None)
    steps = document["pre_tokenizer"] or {}
    for step in (steps, *steps.get("pretokenizers", ())):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
    return json.dumps(document)
