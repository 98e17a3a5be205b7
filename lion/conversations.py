"""Conversations as text, and the declared task: its fixed part, and the fields that rows bring.

A row of a declared task is the rendered conversation, so ids, requests and training follow from it
whether a file brings the fields or the conversation. What is compared (novelty, duplicates, exams)
is the variable part alone. Pure.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Template
from typing import TYPE_CHECKING, Any, Self

from lion.records.rows import Message, canonical_messages

if TYPE_CHECKING:  # pydantic, which `lion diff` does not need
    from lion.config.settings import TaskSettings

Fields = dict[str, str]
"""The variable part of a row: text by the name of its field."""

ONLY_FIELD = "input"
"""The field of a conversation without a declaration whose only variable part is one turn."""


_LABELS: dict[str, str] = {"system": "System", "user": "User", "assistant": "Assistant"}


def transcript(messages: Sequence[Message]) -> str:
    """Return the conversation as text for the prompts of referee and generator.

    A single user turn is its content unchanged; other conversations are turns labelled by role.
    """
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n\n".join(f"{_LABELS[turn['role']]}: {turn['content']}" for turn in messages)


@dataclass(frozen=True)
class TaskTemplate:
    """A conversation with placeholders `$field`; `turns` are (role, template)."""

    fields: tuple[str, ...]
    turns: tuple[Message, ...]

    @classmethod
    def declared(cls, settings: "TaskSettings") -> Self | None:
        """Return the template that params declare, or None where they declare no field."""
        if not settings.fields:
            return None
        turns: list[Message] = [
            {"role": turn.role, "content": turn.content} for turn in settings.messages
        ]
        return cls(tuple(settings.fields), tuple(turns))

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        """Return the shape of a conversation without a declaration.

        Its system turn is fixed; each other turn is a field, named by its role and number.
        """
        spoken = [turn for turn in messages if turn["role"] != "system"]
        names = [f"{turn['role']}_{place // 2 + 1}" for place, turn in enumerate(spoken)]
        if len(spoken) == 1:
            names = [ONLY_FIELD]
        waiting = iter(names)
        turns: list[Message] = [
            {"role": "system", "content": turn["content"].replace("$", "$$")}
            if turn["role"] == "system"
            else {"role": turn["role"], "content": f"${{{next(waiting)}}}"}
            for turn in messages
        ]
        return cls(tuple(names), tuple(turns))

    def render(self, values: Mapping[str, str]) -> list[Message]:
        """Return the conversation with each field replaced. Raises KeyError for a missing field."""
        turns: list[Message] = [
            {"role": turn["role"], "content": Template(turn["content"]).substitute(values)}
            for turn in self.turns
        ]
        return canonical_messages(turns)

    @property
    def is_whole_instruction(self) -> bool:
        """Whether all of it is one variable turn: a whole instruction."""
        return len(self.turns) == 1 and self.fields == (ONLY_FIELD,)

    def read(self, messages: Sequence[Message]) -> Fields | None:
        """Return the fields of a conversation, or None where it is not of this task.

        Rendering them gives the same conversation.
        """
        if len(messages) != len(self.turns):
            return None
        values: Fields = {}
        for turn, pattern, fixed in zip(messages, self._patterns, self.turns, strict=True):
            match = pattern.fullmatch(turn["content"]) if turn["role"] == fixed["role"] else None
            if match is None:
                return None
            for name, text in match.groupdict().items():
                if values.setdefault(name, text) != text:
                    return None
        return values

    def shown(self, values: Mapping[str, str]) -> str:
        """Return the fields as a prompt shows them: one as it is, several as a JSON object."""
        if len(self.fields) == 1:
            return values[self.fields[0]]
        return json.dumps({name: values[name] for name in self.fields}, ensure_ascii=False)

    def has_fields(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of a file brings each field, as a text that is not empty."""
        values = [row.get(name) for name in self.fields]
        return all(isinstance(text, str) and text.strip() for text in values)

    def described(self) -> str:
        """Return the fixed part as a prompt shows it, each field by its name: `<subject>`."""
        names = {name: f"<{name}>" for name in self.fields}
        return transcript(self.render(names))

    def form(self) -> str:
        """Return in words the form of `shown`, which a reply must have."""
        if len(self.fields) == 1:
            return "the new input"
        return f"one JSON object with the keys {', '.join(self.fields)}, each a text"

    def parse(self, reply: str) -> Fields | None:
        """Return the fields of a reply in the form of `shown`, or None where it is in another.

        A JSON object may stand in a code block. It has exactly the fields, each a text.
        """
        if len(self.fields) == 1:
            return {self.fields[0]: reply}
        value = _json_object(reply)
        if value is None or set(value) != set(self.fields):
            return None
        if not all(isinstance(text, str) and text.strip() for text in value.values()):
            return None
        return {name: value[name] for name in self.fields}

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        seen: set[str] = set()
        turns = canonical_messages(self.turns)
        return tuple(re.compile(_pattern(turn["content"], seen), re.DOTALL) for turn in turns)


def _pattern(content: str, seen: set[str]) -> str:
    """Return the regular expression of a turn; a repeated field must be the same text again."""
    parts: list[str] = []
    position = 0
    own: set[str] = set()
    for match in Template.pattern.finditer(content):
        parts.append(re.escape(content[position : match.start()]))
        position = match.end()
        name = match["named"] or match["braced"]
        if name is None:
            parts.append(re.escape("$"))
        elif name in own:
            parts.append(f"(?P={name})")
        else:
            parts.append(f"(?P<{name}>.*?)")
            own.add(name)
    parts.append(re.escape(content[position:]))
    seen |= own
    return "".join(parts)


def _json_object(reply: str) -> dict[str, Any] | None:
    """Return the JSON object of a reply: all of it, or the only one from its first brace on."""
    start = reply.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(reply, start)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def variable_part(messages: Sequence[Message], task: TaskTemplate | None = None) -> str:
    """Return the text of a conversation that differs from row to row.

    Of a declared task its fields, one after the other. Of any other conversation all turns but the
    system's: rows of one prompt would all look alike.
    """
    values = None if task is None else task.read(messages)
    if values is not None:
        return "\n\n".join(values.values())
    spoken = [turn for turn in messages if turn["role"] != "system"]
    return transcript(spoken)


def shape_of(messages: Sequence[Message], task: TaskTemplate | None) -> TaskTemplate:
    """Return the declared task where the conversation is of it, else its own shape."""
    if task is not None and task.read(messages) is not None:
        return task
    return TaskTemplate.of(messages)


def child_conversation(
    parent: Sequence[Message], reply: str, task: TaskTemplate | None
) -> list[Message] | None:
    """Return the new conversation in a generator's reply, in the shape of its parent.

    Returns None if the reply does not have that shape.
    """
    shape = shape_of(parent, task)
    values = shape.parse(reply)
    return None if values is None else shape.render(values)
