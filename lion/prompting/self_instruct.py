"""The generator's role in growing a base pool: tasks in, a request out; a reply in, tasks out.

Self-instruct (Wang et al., ACL 2023, section 2.2): the generator is shown tasks and goes on with
new ones. Unlike there, classification tasks and others are asked for apart, so that which one a new
task is need not be asked as well. No I/O.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from lion.config.settings import Generate
from lion.prompting import generator
from lion.prompting.protocol import Failure, Outcome, Reply, Request
from lion.prompting.templates import Prompts, fence
from lion.records.rows import Dropped

STAGE = "bootstrap"

TaskKind = Literal["classification", "open"]
TASK_KINDS: tuple[TaskKind, TaskKind] = ("classification", "open")


def task_request(
    examples: Sequence[str], kind: TaskKind, count: int, prompts: Prompts, sample: int
) -> Request:
    """Return the question for `count` new tasks; `sample` tells apart two with like examples."""
    code = fence(*examples)
    shown = "\n\n".join(
        f"[Task {number} {code}]\n{text}" for number, text in enumerate(examples, start=1)
    )
    asked = prompts.render(
        f"{kind}.txt",
        fence=code,
        tasks=shown,
        first=str(len(examples) + 1),
        last=str(len(examples) + count),
    )
    return Request(prompts.conversation(asked), sample)


def candidates(
    outcome: Outcome, examples: Sequence[str], count: int, filters: Generate
) -> list[str | Dropped]:
    """Return the new tasks of a reply in their order, each its text or why it is none; never empty.

    Reasons: those of `generator.candidate`; `surplus` for tasks beyond `count`. Of a reply that its
    cap cut off, the last task alone is `truncated`. A reply without marks is one task where one was
    asked for, else `malformed`.
    """
    if isinstance(outcome, Failure):
        return [Dropped(STAGE, outcome.reason, detail=outcome.detail)]
    texts = _split(outcome.text, fence(*examples))
    if not texts and count > 1:
        return [Dropped(STAGE, "malformed", text=outcome.text, detail="no mark of a task")]
    texts = texts or [outcome.text]
    return [
        _candidate(outcome, text, place, len(texts), count, filters)
        for place, text in enumerate(texts, start=1)
    ]


def _split(text: str, code: str) -> list[str]:
    """Return what follows each mark; models adorn marks, and some go on in the same line."""
    mark = re.compile(
        rf"^[^\w\n]*task[ \t]+\d+[^\w\n]+{re.escape(code)}[\])}}*_:#` \t]*",
        re.IGNORECASE | re.MULTILINE,
    )
    return [part.strip() for part in mark.split(text)[1:]]


def _candidate(
    reply: Reply, text: str, place: int, found: int, count: int, filters: Generate
) -> str | Dropped:
    if place > count:
        return Dropped(STAGE, "surplus", text=text)
    whole = reply.finish_reason == "length" and place < found
    one = dataclasses.replace(
        reply, text=text, finish_reason="stop" if whole else reply.finish_reason
    )
    # The filters of generation, which see one reply for each task.
    judged = generator.candidate(one, "", filters)
    return replace(judged, stage=STAGE, id=None) if isinstance(judged, Dropped) else judged
