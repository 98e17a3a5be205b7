"""Formats of instructions in users' files: a value becomes rows with conversations. Pure.

Alpaca, self-instruct, chat messages, ShareGPT, and the files of exams: BIG-Bench Hard (an object
with `examples`), AGIEval (`passage`, `question`, `options`) and the 80 questions of Vicuna
(`question_id`, `text`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.readers.choices import answer_label, read_options, with_option_columns
from lion.readers.field_names import unread, unread_in_turns, with_known_names, without_feedback
from lion.readers.turns import as_turns, history, read_turns
from lion.records.rows import Message, read_messages

Turns = tuple[Message, ...]

_SHAPES = ("instruction", "messages", "conversations")
_BEYOND_TEXT = {
    **dict.fromkeys(("tools", "functions"), "tools"),
    # LLaVA; hiyouga/LLaMA-Factory:data/README.md
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), "media"),
}
_ANSWERS = ("expected", "answer", "target", "label")


class SourceRow(NamedTuple):
    """An instruction of the user's file.

    `messages` are canonical and end with a user's turn. `expected` is the reference answer, None
    where it is absent or empty; `classification` is whether the answer is one of a few labels,
    None where the file does not say. `unread` are keys with text that are not read. `line` is the
    first line of the row, from 1; in Parquet, which has no lines, the row's number.
    """

    messages: Turns
    expected: str | None
    category: str | None
    file: str
    line: int
    classification: bool | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: its file, its line and the reason."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        """Return the problem as one line of a message."""
        return f"{self.file}:{self.line}: {self.what}"


def rows(
    value: object, file: str, line: int, task: TaskTemplate | None = None
) -> Iterator[SourceRow | Problem]:
    """Yield the rows of a value that begins at `line` of `file`, or their problems.

    Rows of a declared `task` bring its fields, or a whole conversation of it.
    """
    try:
        instances = _instances(_of_task(value, task), file)
    except DataError as error:
        yield Problem(file, line, str(error))
        return
    for where, instance in instances:
        try:
            row = _row(instance, file, line)
            _refuse_other_task(row, task)
            yield row
        except DataError as error:
            yield Problem(file, line, f"{where}{error}")


def _of_task(value: object, task: TaskTemplate | None) -> object:
    """Return a row of fields as the conversation of its task; other values unchanged.

    A row that brings an instruction or a conversation beside the fields is read as that.
    """
    if task is None or not isinstance(value, dict) or not task.has_fields(value):
        return value
    if any(value.get(key) is not None and key not in task.fields for key in _SHAPES):
        return value
    others = {key: part for key, part in value.items() if key not in task.fields}
    return {**_with_text_answer(others), "messages": task.render(value)}


def _with_text_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose answer is text: an object or a list is written as JSON."""
    return {
        key: json.dumps(value, ensure_ascii=False)
        if key in (*_ANSWERS, "output", "response", "completion") and isinstance(value, dict | list)
        else value
        for key, value in row.items()
    }


def _refuse_other_task(row: SourceRow, task: TaskTemplate | None) -> None:
    if task is not None and task.read(row.messages) is None:
        raise DataError(
            f"neither the fields of the task ({', '.join(task.fields)}) nor one of its "
            "conversations (see `task` in params.yaml)"
        )


def _instances(value: object, file: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the objects that are one row each, with a prefix for messages about each."""
    if not isinstance(value, dict):
        raise DataError(f"an object is expected, found {value!r:.60}")
    if isinstance(value.get("examples"), list) and not any(value.get(key) for key in _SHAPES):
        return _examples(value["examples"], _task(file))
    if value.get("instances") is None:
        return [("", value)]
    return _self_instruct(value)


def _self_instruct(value: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    if value.get("instruction") is None:
        raise DataError("instances: they belong to an `instruction`, which is missing")
    instances = value["instances"]
    if not isinstance(instances, list) or not instances:
        raise DataError("instances: a list of {input, output} is expected, with one at least")
    if "input" in value or "output" in value:
        raise DataError("both `instances` and an `input` or `output` of its own; keep one of them")
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, instance in enumerate(instances, start=1):
        where = f"instance {number}: "
        if not isinstance(instance, dict):
            raise DataError(f"{where}an object is expected, found {instance!r:.60}")
        own = {key: instance.get(key) for key in ("input", "output")}
        rows.append((where, {**value, **own}))
    return rows


def _examples(examples: list[Any], task: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the examples of a task of BIG-Bench Hard; `input` holds question and options."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, example in enumerate(examples, start=1):
        if not isinstance(example, dict):
            raise DataError(f"example {number}: an object is expected, found {example!r:.60}")
        row = {
            "instruction": example.get("input"),
            "expected": example.get("target"),
            "category": task,
        }
        rows.append((f"example {number}: ", row))
    return rows


def _row(value: Mapping[str, Any], file: str, line: int) -> SourceRow:
    names = list(value)[:8]
    value = as_turns(without_feedback(with_known_names(value)))
    value = _with_choices(_as_instruction(with_option_columns(value), file))
    shapes = [key for key in _SHAPES if value.get(key) is not None]
    if len(shapes) != 1:
        keys = ", ".join(shapes or names) or "nothing"
        raise DataError(f"one of {', '.join(_SHAPES)} is expected, found {keys}")
    turns, answer = _alpaca(value) if shapes == ["instruction"] else _chat(value, shapes[0])
    for key, what in _BEYOND_TEXT.items():
        if value.get(key):
            raise DataError(f"{key}: instructions with {what} cannot be used")
    turns = [*history(value), *turns]
    system = _optional(value, "system")
    if system:
        if turns and isinstance(turns[0], dict) and turns[0].get("role") == "system":
            raise DataError("system: the conversation begins with a system turn already")
        turns = [{"role": "system", "content": system}, *turns]
    messages = tuple(read_messages(turns))
    # An exam's key of the reference answer has precedence over the answer of the conversation.
    own = [_answer(value, key) for key in _ANSWERS if key in value]
    expected = next(filter(None, own), answer) if own else answer
    category = _optional(value, "category")
    for message in messages:
        _refuse_surrogates(message["content"])
    _refuse_surrogates(expected)
    _refuse_surrogates(category)
    kind = _classification(value)
    texts = [message["content"] for message in messages]
    text = "\n".join([*texts, expected or ""])
    others = (*unread(value, text), *unread_in_turns(value.get(shapes[0]), shapes[0], text))
    return SourceRow(messages, expected, category and category.strip(), file, line, kind, others)


def _with_choices(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a question with choices as an instruction that shows them; other values unchanged."""
    options = read_options(value)
    if options is None or value.get("instruction") is None:
        return value
    answers = {key: value[key] for key in _ANSWERS if key in value}
    rest = {key: part for key, part in value.items() if key not in (*answers, "choices")}
    return {
        **rest,
        "instruction": f"{value['instruction']}\n{options.lines()}",
        "expected": answer_label(value, options, tuple(answers)),
    }


def _classification(value: Mapping[str, Any]) -> bool | None:
    """Return the row's `classification`, or self-instruct's key for it. Raises DataError."""
    for key in ("classification", "is_classification"):
        flag = value.get(key)
        if flag is not None:
            if not isinstance(flag, bool):
                raise DataError(f"{key}: true or false is expected, found {flag!r:.60}")
            return flag
    return None


def _as_instruction(value: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    """Return an item of AGIEval or Vicuna as an instruction; other values unchanged."""
    if "question" not in value and "question_id" not in value:
        return value
    if any(value.get(key) is not None for key in _SHAPES):
        return value
    if isinstance(value.get("question"), dict):  # CommonsenseQA's first release
        return {**value, "instruction": value["question"].get("stem")}
    if value.get("question") is not None:
        bring_letters = value.get("choices") is not None and read_options(value) is None
        is_exam = "options" in value or value.get("choices") is not None
        task = {"category": _task(file)} if is_exam else {}
        return {**task, **value, "instruction": _question(value, with_options=bring_letters)}
    if value.get("text") is not None:
        return {**value, "instruction": value["text"]}
    return value


def _task(file: str) -> str:
    """Return the name of an exam's task: the file name without suffixes."""
    return PurePath(file).name.split(".")[0]


def _question(value: Mapping[str, Any], *, with_options: bool) -> str:
    """Return passage, question and options of an item of AGIEval, each on lines of its own."""
    options = value.get("choices") if with_options else []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise DataError(f"options: a list of texts is expected, found {options!r:.60}")
    question = _optional(value, "question")
    if question is None:
        raise DataError("question: it is empty")
    parts = [_optional(value, "passage"), question, *(["Options:"] if options else []), *options]
    return "\n".join(part for part in parts if part is not None)


_MISSING = ("nan", "none", "null", "<na>", "<noinput>", "#n/a")
"""How pandas, Python, self-instruct and spreadsheets write a missing value as text."""


def _alpaca(value: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    instruction = _optional(value, "instruction")
    if instruction is None:
        raise DataError("instruction: it is empty")
    context = _optional(value, "input")
    if context is not None and context.strip().lower() in _MISSING:
        raise DataError(f"input: {context.strip()!r} stands for a missing value; leave it empty")
    content = instruction if context is None else f"{instruction}\n\n{context}"
    return [{"role": "user", "content": content}], _optional(value, "output")


def _chat(value: Mapping[str, Any], key: str) -> tuple[list[Any], str | None]:
    """Return the turns before the answer, and the answer: the assistant's last turn, or None."""
    turns = read_turns(value[key], key)
    last = turns[-1]
    if last["role"] == "assistant":
        if not isinstance(last.get("content"), str):
            raise DataError(f"{key}: the content of turn {len(turns)} is not text")
        return turns[:-1], _optional(last, "content")
    return turns, None


def _optional(value: Mapping[str, Any], key: str) -> str | None:
    """Return a text unchanged; None where absent, null or blank. Raises DataError for other types.

    Not stripped: the indent of an `input` has a meaning.
    """
    text = value.get(key)
    if text is None:
        return None
    if not isinstance(text, str):
        raise DataError(f"{key}: text is expected, found {text!r:.60}")
    return text if text.strip() else None


def _answer(value: Mapping[str, Any], key: str) -> str | None:
    """Return a reference answer: a text, a number, or the first of several.

    So under `answer` alone: SQuAD has {"text": [...]}, Natural Questions a list, TriviaQA
    {"value": ...}, AIME a number. A `label` that is a number names a class that the row lacks.
    """
    answer = value.get(key)
    if key != "answer":
        return _optional(value, key)
    if isinstance(answer, dict):
        answer = answer.get("value", answer.get("text"))
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = f"{answer:.0f}" if answer == round(answer) else repr(answer)
    return _optional({key: answer}, key)


def _refuse_surrogates(text: str | None) -> None:
    """Raise DataError for a lone surrogate, which JSON can express and UTF-8 cannot."""
    if text is None or text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(
            f"half of a surrogate pair (\\u{ord(half):04x}) in {text!r:.60}; restore the character"
        ) from error
