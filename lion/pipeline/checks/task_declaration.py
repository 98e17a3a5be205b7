"""Rows of one narrow task without its declaration: recognised, and the declaration proposed.

A declaration tells the shared prompt from what differs, so that only the latter is compared. The
proposal reads every row that it counts, and renders it as it is.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lion.config.pool_sections import Turn
from lion.config.settings import Settings, TaskSettings
from lion.conversations import ONLY_FIELD, TaskTemplate
from lion.errors import LionError
from lion.pipeline.checks.shared_text import Parts, shared_parts
from lion.readers import files
from lion.readers.formats import SourceRow
from lion.records.rows import Message

_LEAST_ROWS = 8
_LEAST_SHARED = 40  # characters
_SHARES = (1.0, 0.9)  # of the rows that follow the proposal; all, or where that fails most
_SAMPLE = 200  # rows in which the shared text is looked for; all rows are compared with it
_SAMPLE_CHARACTERS = 300_000  # of these rows, about a second's work; at least `_LEAST_ROWS` rows
_NAMED = re.compile(r"(?:^|[^\w])(\w[\w ]{0,30}):?\W*$")
_Roles = tuple[str, ...]


class _Blocks(yaml.SafeDumper):
    """Writes a text of several lines as they are, and no quotes around them."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Blocks.add_representer(str, _text_node)


@dataclass(frozen=True, slots=True)
class TaskProposal:
    """A declaration that fits `rows` rows, and the `others` that it does not fit."""

    task: TaskSettings
    rows: int
    others: tuple[SourceRow, ...]

    def as_yaml(self) -> str:
        """Return the section `task` of params.yaml."""
        text: str = yaml.dump(
            {"task": self.task.model_dump()},
            Dumper=_Blocks,
            sort_keys=False,
            allow_unicode=True,
            width=100,
        )
        return text

    def sentence(self) -> str:
        """Return what the rows share, and what a declaration is for."""
        fields = " and ".join(f"`{name}`" for name in self.task.fields)
        total = self.rows + len(self.others)
        text = (
            f"{self.rows:,} of {total:,} rows share a prompt of {self._shared:,} characters and "
            f"differ in {fields} alone. With a declaration only that is compared, and generator "
            "and referee are given the task. Put this in place of `task` in params.yaml, and say "
            "in `good` what a good answer is:"
        )
        if not self.others:
            return text
        first = self.others[0]
        return f"{text} ({first.file}, line {first.line} is of another form, and would be refused)"

    @property
    def _shared(self) -> int:
        return sum(map(len, _fixed_texts(self.task.messages)))

    def longest_run(self) -> int:
        """Return the most words that the rows share in a row, system turns apart."""
        spoken = [turn for turn in self.task.messages if turn.role != "system"]
        return max((len(text.split()) for text in _fixed_texts(spoken)), default=0)


def _fixed_texts(turns: Iterable[Turn]) -> Iterator[str]:
    """Yield the pieces of text between the fields."""
    for turn in turns:
        yield from re.split(r"\$\{\w+\}", turn.content)


def proposed_task(settings: Settings) -> TaskProposal | None:
    """Return the declaration that the rows of pool and exam suggest.

    None where one is declared, or the rows share too little. Files that cannot be read are left
    out: other checks report them.
    """
    if settings.task.fields:
        return None
    names = [] if settings.seed.simulated else list(settings.seed.source)
    if settings.exam.file is not None and not settings.exam.simulated:
        names.append(settings.exam.file)
    return propose([row for name in dict.fromkeys(names) for row in _rows(Path(name))])


def undeclared_problems(settings: Settings) -> Iterator[str]:
    """Yield that the shared prompt itself would count as a leaked exam question, in every row."""
    ngram = settings.decontaminate.ngram
    proposal = None if ngram is None else proposed_task(settings)
    if ngram is None or proposal is None or (shared := proposal.longest_run()) < ngram:
        return
    yield (
        f"task: {proposal.rows:,} rows share {shared:,} words of a prompt. With "
        f"decontaminate.ngram: {ngram} these words alone count as a leaked exam question, in every "
        "row. Declare the task: `lion check` prints the declaration."
    )


def _rows(path: Path) -> Sequence[SourceRow]:
    try:
        return files.read_rows(path).rows
    except LionError:
        return []


def propose(rows: Sequence[SourceRow]) -> TaskProposal | None:
    """Return the declaration that fits the rows, or None where they are of no one task."""
    if len(rows) < _LEAST_ROWS:
        return None
    roles, _ = Counter(_roles(row) for row in rows).most_common(1)[0]
    alike = [row for row in rows if _roles(row) == roles]
    if len(alike) < _SHARES[-1] * len(rows):
        return None
    sample = _sample(alike)
    for share in _SHARES:
        proposal = _fitted(rows, _declaration(roles, sample, share))
        if proposal is not None:
            return proposal
    return None


def _sample(rows: Sequence[SourceRow]) -> list[SourceRow]:
    """Return evenly spaced rows, fewer where they are long."""
    longest = max(sum(len(turn["content"]) for turn in row.messages) for row in rows)
    size = max(_LEAST_ROWS, min(_SAMPLE, _SAMPLE_CHARACTERS // max(1, longest)))
    return list(rows[:: -(-len(rows) // size)])


def _roles(row: SourceRow) -> _Roles:
    return tuple(turn["role"] for turn in row.messages)


def _declaration(roles: _Roles, sample: Sequence[SourceRow], share: float) -> TaskSettings | None:
    """Return the declaration of what the sample shares; None where that is too little."""
    turns = [
        shared_parts([row.messages[number]["content"] for row in sample], share)
        for number in range(len(roles))
    ]
    shared = sum(len(part) for parts in turns for part in parts if part is not None)
    if shared < _LEAST_SHARED or all(None not in parts for parts in turns):
        return None
    names = _field_names(roles, turns)
    waiting = iter(names)
    messages = [
        {"role": role, "content": "".join(_placed(part, waiting) for part in parts)}
        for role, parts in zip(roles, turns, strict=True)
    ]
    return TaskSettings.model_validate({"fields": names, "messages": messages, "good": None})


def _placed(part: str | None, names: Iterator[str]) -> str:
    return f"${{{next(names)}}}" if part is None else part.replace("$", "$$")


def _field_names(roles: _Roles, turns: Sequence[Parts]) -> list[str]:
    """Return a name for each place that varies: its label, else a numbered one."""
    places = [
        (_label(parts, number), "input" if role == "user" else role)
        for role, parts in zip(roles, turns, strict=True)
        for number, part in enumerate(parts)
        if part is None
    ]
    if len(places) == 1:
        return [places[0][0] or ONLY_FIELD]
    names: list[str] = []
    for label, role in places:
        number = sum(name.startswith(f"{role}_") for name in names) + 1
        names.append(label if label and label not in names else f"{role}_{number}")
    return names


def _label(parts: Parts, number: int) -> str | None:
    """Return the label before a place, as a name of a field: `Ticket body: ` is ticket_body."""
    before = parts[number - 1] if number else None
    line = (before or "").rstrip().rpartition("\n")[2]
    match = _NAMED.fullmatch(line) if line and not line.endswith((".", "!", "?")) else None
    name = match[1].strip().lower().replace(" ", "_") if match else ""
    return name if re.fullmatch(r"[a-z][a-z0-9_]*", name) else None


def _fitted(rows: Sequence[SourceRow], task: TaskSettings | None) -> TaskProposal | None:
    """Return the proposal with the rows that do not fit; None where they are too many."""
    template = None if task is None else TaskTemplate.declared(task)
    if task is None or template is None:
        return None
    others = tuple(row for row in rows if not _fits(row.messages, template))
    if len(others) > (1 - _SHARES[-1]) * len(rows):
        return None
    return TaskProposal(task, len(rows) - len(others), others)


def _fits(messages: Sequence[Message], template: TaskTemplate) -> bool:
    values = template.read(messages)
    return values is not None and all(values.values())
