"""Prompts are text files under review like code: load a role's folder, render with `$name`.

Each file's variables are fixed by the code that fills them; a missing or an unused one is an error
when the folder is loaded, before anything is spent. Does not know what a prompt says, nor who is
asked with it (see the roles).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Literal

from lion.errors import DataError
from lion.records.rows import Message

PromptRole = Literal["teacher", "referee", "generator", "bootstrap", "safety"]

_SEED = frozenset({"fence", "instruction"})
_INPUT = frozenset({"fence", "task", "instruction", "form"})
_PAIR = frozenset({"fence", "question", "answer_1", "answer_2"})
_LIST = frozenset({"fence", "tasks", "first", "last"})
_INPUTS = _LIST | {"task", "form"}

VARIABLES: Mapping[PromptRole, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "teacher": {"system.txt": frozenset()},
        "referee": {
            "system.txt": frozenset(),
            "user.txt": _PAIR,
            "schema.txt": _PAIR,
            "scores_first.txt": _PAIR,
        },
        # input_*.txt: for a declared task, and for conversations of several turns
        "generator": {
            "system.txt": frozenset(),
            "hard.txt": _SEED,
            "easy.txt": _SEED,
            "input_hard.txt": _INPUT,
            "input_easy.txt": _INPUT,
        },
        # asked of the generator, before there is a loop
        "bootstrap": {
            "system.txt": frozenset(),
            "classification.txt": _LIST,
            "open.txt": _LIST,
            "input.txt": _INPUTS,
        },
        # asked of the referee, where `generate.safety` says so
        "safety": {"system.txt": frozenset(), "user.txt": _SEED},
    }
)
"""The files of each role's folder, and the variables that each must use: all of them, no other."""

USER = "user.txt"
_MAY_BE_ABSENT: Mapping[PromptRole, Mapping[str, frozenset[str]]] = MappingProxyType(
    {"teacher": {USER: frozenset({"instruction"})}}
)
"""Files that a role's folder may have as well: the teacher's instruction is sent bare without."""

UNFENCED = "unfenced.md"
"""Where a folder holds this note, its prompts may leave out `$fence`, as the paper's do.

Without the marks an answer can imitate the text around it; the note says whose prompts they are.
"""

OPTIONAL = frozenset({"good"})
"""Variables that a file may use: `good`, what a declared task says of a good answer.

Not the teacher's: its prompts would change its answers, and stages that read them do not depend on
it.
"""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates of one folder, by file name; `fenced` ones mark their material by a code."""

    folder: Path
    templates: Mapping[str, Template]
    good: str = ""
    fenced: bool = True

    def render(self, name: str, **values: str) -> str:
        """Return the file `name` with every variable replaced.

        Values are inserted as they are: a `$` in them is never read as a variable. Raises
        DataError where `values` are not exactly the file's variables; an unfenced file has no use
        for `fence`.
        """
        template = self.templates[name]
        used = set(template.get_identifiers())
        given = set(values) if self.fenced else set(values) - {"fence"} | used & {"fence"}
        _compare(self.folder / name, used - OPTIONAL, given, "was given no")
        return template.substitute(values, good=self.good)

    def conversation(self, question: str, before: Sequence[Message] = ()) -> tuple[Message, ...]:
        """Return `asked` as the last user turn, after the folder's system prompt and `before`.

        An empty system.txt is no system turn.
        """
        system = self.render("system.txt")
        first: list[Message] = [{"role": "system", "content": system}] if system else []
        return (*first, *before, {"role": "user", "content": question})


def load(folder: Path, role: PromptRole, good: str | None = None) -> Prompts:
    """Read and validate the prompts of `role`, which are the text files of `folder`.

    `good` is what a good answer is, from params; without it `$good` is empty. The newline that
    editors add at the end is not part of a prompt. Raises DataError for a file
    that is absent, unknown or not UTF-8, and for a variable that is missing or unused.
    """
    wanted = {**VARIABLES[role], **_also_there(folder, role)}
    for path in sorted(folder.glob("*.txt")):
        if path.name not in wanted:
            raise DataError(
                f"{path}: the {role} has no such prompt (it has {', '.join(wanted)}); "
                "rename or remove the file"
            )
    fenced = not (folder / UNFENCED).is_file()
    optional = frozenset() if role in ("teacher", "safety") else OPTIONAL
    optional |= frozenset() if fenced else {"fence"}
    templates = {
        name: _template(folder / name, needed, optional) for name, needed in wanted.items()
    }
    stated = "" if good is None else f"\nWhat a good answer is: {good}"
    return Prompts(folder, MappingProxyType(templates), stated, fenced)


def _also_there(folder: Path, role: PromptRole) -> dict[str, frozenset[str]]:
    files = _MAY_BE_ABSENT.get(role, {})
    return {name: needed for name, needed in files.items() if (folder / name).is_file()}


def fence(*texts: str) -> str:
    """Return a mark that none of `texts` can forge: the first 8 hex digits of their SHA-256.

    It changes with the texts, so a text that closes its own fence would have to contain its own
    hash. The texts are hashed as a JSON list, so that moving a boundary changes the mark too.
    """
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:8]


def _template(path: Path, needed: frozenset[str], optional: frozenset[str]) -> Template:
    template = Template(_read(path))
    if not template.is_valid():
        raise DataError(f"{path}: a `$` that begins no variable; write `$$` for a literal dollar")
    used = set(template.get_identifiers()) - (optional - needed)
    _compare(path, used, set(needed) - (optional - used), "may not use")
    return template


def _read(path: Path) -> str:
    try:
        # utf-8-sig: some editors add a byte order mark, which is not part of the prompt.
        return path.read_text(encoding="utf-8-sig").rstrip("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path}: this prompt is missing; restore it from version control") from (
            error
        )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _compare(path: Path, used: set[str], given: set[str], surplus: str) -> None:
    """Refuse variables that the file uses without being given them, and the other way round."""
    unknown = ", ".join(f"${name}" for name in sorted(used - given))
    unused = ", ".join(f"${name}" for name in sorted(given - used))
    problems = []
    if unknown:
        problems.append(f"{surplus} {unknown}")
    if unused:
        problems.append(f"does not use {unused}")
    if problems:
        raise DataError(f"{path}: the prompt {' and '.join(problems)}; fix the file")
