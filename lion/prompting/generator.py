"""The generator's role: a request from parents or example tasks, and candidates from its reply.

Generation has one parent per request. New hard: same domain and task type as a hard parent. New
easy: same domain as an easy parent, but rarer, against forgetting (Lion, section 3.3).

Bootstrap follows self-instruct (Wang et al., ACL 2023, section 2.2): the generator sees example
tasks and continues the list. Unlike there, classification tasks are requested separately from
others, so that a new task's kind is known without a further request. No I/O.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from lion.config.settings import Generate
from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.prompting.generator_reply import holds_several, instruction_of, refuses
from lion.prompting.protocol import Failure, Outcome, Reply, Request
from lion.prompting.replies import incomplete
from lion.prompting.templates import Prompts, fence
from lion.records.rows import Dropped, Kind, Message
from lion.words import words

STAGE = "generate"
BOOTSTRAP_STAGE = "bootstrap"

TaskKind = Literal["classification", "open"]
TASK_KINDS: tuple[TaskKind, TaskKind] = ("classification", "open")

# models repeat the prompt's own label before the instruction
_LABEL = re.compile(
    r"^\W*(?:the\s+)?(?:new|created|rewritten)\s+(?:instruction|prompt|task)\W*:(?:\*\*|__)?\s*",
    re.IGNORECASE,
)
_OWN_PROMPT = re.compile(r"\bgiven (?:instruction|prompt)\b", re.IGNORECASE)


def generation_request(parent: str, kind: Kind, prompts: Prompts, sample: int) -> Request:
    """Return the request for a new instruction; `sample` numbers the requests of a parent."""
    question = prompts.render(f"{kind}.txt", fence=fence(parent), instruction=parent)
    return Request(prompts.conversation(question), sample)


def input_request(
    parent: Sequence[Message], shape: TaskTemplate, kind: Kind, prompts: Prompts, sample: int
) -> Request:
    """Return the request for new fields of a conversation whose other parts are fixed.

    A single turn without a fixed part is a whole instruction: `generation_request`.
    """
    values = shape.read(parent)
    if values is None:
        raise DataError("the parent is no conversation of the task")
    shown = shape.shown(values)
    if shape.is_whole_instruction:
        return generation_request(shown, kind, prompts, sample)
    task = shape.described()
    question = prompts.render(
        f"input_{kind}.txt",
        fence=fence(task, shown),
        task=task,
        instruction=shown,
        form=shape.form(),
    )
    return Request(prompts.conversation(question), sample)


def candidate(
    outcome: Outcome, parent_id: str, settings: Generate, *, fields: bool = False
) -> str | Dropped:
    """Return the new instruction's text, or why the reply has none; of a task its `fields`.

    What a model says around an instruction is left out, around fields it is not looked for.

    Reasons: the failure's own, `truncated`, `malformed`, `refusal`, `several` (instructions, or
    one with its answer), `too_short`, `start` (the paper's rule against punctuation and non-ASCII,
    of the reply as it is), `own_prompt` (it mentions the prompt itself).
    """
    if isinstance(outcome, Failure):
        return Dropped(STAGE, outcome.reason, id=parent_id, detail=outcome.detail)
    reply = _LABEL.sub("", outcome.text.strip()).strip()
    text = reply if fields else instruction_of(reply)
    several = not fields and holds_several(outcome.text)
    reason = incomplete(outcome.finish_reason) or _reject_reason(text, reply, several, settings)
    if reason is not None:
        detail = outcome.finish_reason if reason == "unknown_finish_reason" else None
        return Dropped(STAGE, reason, id=parent_id, text=outcome.text, detail=detail)
    return text


def _reject_reason(text: str, reply: str, several: bool, settings: Generate) -> str | None:
    if not text or "\x00" in text:
        return "malformed"
    if refuses(text):
        return "refusal"
    if several:
        return "several"
    if len(words(text, "unicode")) < settings.min_words:
        return "too_short"
    if settings.ascii_start and not (reply[0].isascii() and reply[0].isalnum()):
        return "start"
    return "own_prompt" if _OWN_PROMPT.search(text) else None


def task_request(
    examples: Sequence[str], kind: TaskKind, count: int, prompts: Prompts, sample: int
) -> Request:
    """Return the request for `count` new tasks; `sample` numbers requests with equal examples."""
    code = fence(*examples)
    question = prompts.render(
        f"{kind}.txt",
        fence=code,
        tasks=_numbered(examples, code),
        first=str(len(examples) + 1),
        last=str(len(examples) + count),
    )
    return Request(prompts.conversation(question), sample)


def inputs_request(
    examples: Sequence[str], task: TaskTemplate, count: int, prompts: Prompts, sample: int
) -> Request:
    """Return the request for `count` new inputs of a declared task, like `task_request`."""
    described = task.described()
    code = fence(described, *examples)
    question = prompts.render(
        "input.txt",
        fence=code,
        task=described,
        tasks=_numbered(examples, code),
        first=str(len(examples) + 1),
        last=str(len(examples) + count),
        form=task.form(),
    )
    return Request(prompts.conversation(question), sample)


def _numbered(examples: Sequence[str], code: str) -> str:
    return "\n\n".join(
        f"[Task {number} {code}]\n{text}" for number, text in enumerate(examples, start=1)
    )


def candidates(
    outcome: Outcome,
    examples: Sequence[str],
    count: int,
    filters: Generate,
    task: TaskTemplate | None = None,
) -> list[str | Dropped]:
    """Return the new tasks of a reply in order, each as text or as a dropped row; never empty.

    Of a declared `task`, its new inputs.

    Reasons: those of `candidate`, and `surplus` for tasks beyond `count`. In a reply cut off by the
    token limit, only the last task is `truncated`. A reply without task marks is one task if
    `count` is 1, else `malformed`.
    """
    if isinstance(outcome, Failure):
        return [Dropped(BOOTSTRAP_STAGE, outcome.reason, detail=outcome.detail)]
    shown = examples if task is None else (task.described(), *examples)
    texts = _split(outcome.text, fence(*shown))
    if not texts and count > 1:
        return [
            Dropped(BOOTSTRAP_STAGE, "malformed", text=outcome.text, detail="no mark of a task")
        ]
    texts = texts or [outcome.text]
    return [
        _candidate(outcome, text, place, len(texts), count, filters, task is not None)
        for place, text in enumerate(texts, start=1)
    ]


def _split(text: str, code: str) -> list[str]:
    """Return the text after each task mark; models decorate marks, or continue on the same line."""
    mark = re.compile(
        rf"^[^\w\n]*task[ \t]+\d+[^\w\n]+{re.escape(code)}[\])}}*_:#` \t]*",
        re.IGNORECASE | re.MULTILINE,
    )
    return [part.strip() for part in mark.split(text)[1:]]


def _candidate(
    reply: Reply, text: str, place: int, tasks: int, count: int, filters: Generate, fields: bool
) -> str | Dropped:
    if place > count:
        return Dropped(BOOTSTRAP_STAGE, "surplus", text=text)
    whole = reply.ending == "truncated" and place < tasks
    task_reply = dataclasses.replace(
        reply, text=text, finish_reason="stop" if whole else reply.finish_reason
    )
    task = candidate(task_reply, "", filters, fields=fields)
    return replace(task, stage=BOOTSTRAP_STAGE, id=None) if isinstance(task, Dropped) else task
