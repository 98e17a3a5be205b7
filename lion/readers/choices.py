"""Questions with choices: the options with letters go into the question, the answer is a letter.

MMLU, MMLU-Pro, ARC, CommonsenseQA, OpenBookQA and HellaSwag by their own shapes. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from string import ascii_uppercase
from typing import Any, NamedTuple

from lion.errors import DataError

_LETTERS = tuple(ascii_uppercase)
_LETTER = re.compile(r"\s*\(?([A-Z])[).:?\s]")
_MARKED = re.compile(r"\s*\([A-Z]\)")


class _Columns(NamedTuple):
    """Options in a column each, the key of the right one, and the number of the first there."""

    names: tuple[str, ...]
    key: str
    first: int


_COLUMNS = (  # EleutherAI/lm-evaluation-harness:lm_eval/tasks, by their folders
    _Columns(("sol1", "sol2"), "label", 0),  # piqa
    _Columns(("option1", "option2"), "answer", 1),  # winogrande
    _Columns(("answerA", "answerB", "answerC"), "label", 1),  # siqa
    _Columns(("ending0", "ending1", "ending2", "ending3"), "label", 0),  # swag, medqa
)
_MEDMCQA = ("opa", "opb", "opc", "opd")


class Options(NamedTuple):
    """Texts and their labels, in order."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]

    def lines(self) -> str:
        """Return the options as they stand in a question, a line each."""
        pairs = zip(self.labels, self.texts, strict=True)
        return "\n".join(["Options:", *(f"({label}) {text}" for label, text in pairs)])


def with_option_columns(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row whose options have a column each with `choices`; other rows unchanged.

    Raises DataError for MedMCQA's `cop`, which counts from 0 in one of its releases and from 1 in
    the other.
    """
    for columns in _COLUMNS:
        if all(isinstance(row.get(name), str) for name in columns.names):
            return _joined(row, columns)
    if not all(isinstance(row.get(name), str) for name in _MEDMCQA):
        return row
    if row.get("cop") is not None:
        raise DataError(
            "cop: it counts from 0 in one release of MedMCQA and from 1 in the other; put the "
            "letter of the right option into `answer` and remove `cop`"
        )
    return _joined(row, _Columns(_MEDMCQA, "answer", 0))


def _joined(row: Mapping[str, Any], columns: _Columns) -> dict[str, Any]:
    right = row.get(columns.key)
    if isinstance(right, str) and right.strip().isdecimal():
        right = int(right)
    if isinstance(right, int) and not isinstance(right, bool):
        right -= columns.first
    beginning = [row.get(key) for key in ("sentence", "sent1", "sent2")]  # Winogrande; SWAG
    texts = " ".join(text.strip() for text in beginning if isinstance(text, str) and text.strip())
    gone = {*columns.names, columns.key, "sentence", "sent1", "sent2"}
    others = {key: value for key, value in row.items() if key not in gone}
    start = {"instruction": texts} if texts else {}
    return {
        **start,
        **others,
        "choices": [row[name] for name in columns.names],
        "answer": right,
    }


def read_options(row: Mapping[str, Any]) -> Options | None:
    """Return the choices of a row, None where it has none or they bring letters of their own.

    Raises DataError for choices of another shape.
    """
    value = row.get("choices")
    question = row.get("question")
    if value is None and isinstance(question, dict):  # CommonsenseQA's first release
        value = question.get("choices")
    if value is None:
        # MMLU's own files with a header, and others with more options
        value = _lettered_columns(row)
    if value is None:
        return None
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        if _bring_letters(value):
            return None
        if len(value) > len(_LETTERS):
            raise DataError(f"choices: {len(value)} options are more than there are letters")
        return Options(_LETTERS[: len(value)], tuple(value))
    return _labelled(value)


def _lettered_columns(row: Mapping[str, Any]) -> list[str] | None:
    """Return the texts of columns A, B, ...: four, or fewer where the answer is one of them."""
    filled = takewhile(lambda text: isinstance(text, str) and text.strip(), map(row.get, _LETTERS))
    texts = [str(text) for text in filled]
    names_one = str(row.get("answer")).strip() in _LETTERS[: len(texts)]
    return texts if len(texts) >= 4 or (names_one and len(texts) > 1) else None


def _bring_letters(texts: Sequence[str]) -> bool:
    """Tell whether options begin with their letters, as AGIEval's do.

    Mostly `(A)`, in some rows `A ` or `A?`; in two rows some of the letters are lost.
    """
    if sum(_MARKED.match(text) is not None for text in texts) >= len(texts) / 2:
        return True
    letters = [match[1] if (match := _LETTER.match(text)) else "" for text in texts]
    return sorted(letters) == list(ascii_uppercase[: len(texts)])


def _labelled(value: object) -> Options:
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # ARC, OpenBookQA
        labels, texts = value.get("label"), value["text"]
    elif isinstance(value, dict):  # {"A": "...", "B": "..."}
        labels, texts = list(value), list(value.values())
    elif isinstance(value, list) and all(isinstance(option, dict) for option in value):
        labels = [option.get("label") for option in value]
        texts = [option.get("text") for option in value]
    else:
        raise DataError(f"choices: a list of texts is expected, found {value!r:.60}")
    whole = isinstance(labels, list) and len(labels) == len(texts) > 1
    if not whole or not all(isinstance(part, str) for part in [*(labels or []), *texts]):
        raise DataError(f"choices: texts with a label each are expected, found {value!r:.60}")
    return Options(tuple(labels or []), tuple(texts))


def answer_label(row: Mapping[str, Any], options: Options, keys: Sequence[str]) -> str | None:
    """Return the label of the right option, None where the row names none.

    It may be given as a label, as a text or as an index from 0. Raises DataError where it is none
    of them.
    """
    for key in (*keys, "answer_index"):
        value = row.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        label = _label(value, options)
        if label is None:
            raise DataError(
                f"{key}: {value!r:.60} is no option; a label ({', '.join(options.labels)}), the "
                "text of an option or its index from 0 is expected"
            )
        return label
    return None


def _label(value: object, options: Options) -> str | None:
    if isinstance(value, str):
        bare = value.strip().strip("()").rstrip(".)")
        if bare in options.labels:
            return bare
        if bare.upper() in options.labels:  # LogiQA
            return bare.upper()
        texts = [text.strip() for text in options.texts]
        if value.strip() in texts:
            return options.labels[texts.index(value.strip())]
        value = int(bare) if bare.isdecimal() else None  # HellaSwag writes the index as text
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options.labels):
        return options.labels[value]
    return None
