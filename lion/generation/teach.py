"""The phase `teach`: the teacher answers the new instructions, which join the Cache Pool.

Writes no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lion import pools
from lion.config.settings import Settings
from lion.failure_limit import allowed_failures, check_dropped
from lion.llm.protocols import Clients
from lion.llm.request_set import DropLimit
from lion.metrics.units import RoleUsage
from lion.prompting import teacher
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction


@dataclass(frozen=True, slots=True)
class Taught:
    """The new rows with answers, the Cache Pool with them appended, and the dropped rows."""

    new: list[Instruction]
    cache: list[Instruction]
    dropped: list[Dropped]
    usage: RoleUsage


def teach(
    new: Sequence[Instruction],
    cache: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> Taught:
    """Return the Cache Pool with `new` appended, each row with an answer.

    A row that already has an answer is not sent to the teacher. Raises TooManyDroppedError where
    more than `teach.max_dropped` of the new rows get no usable answer.
    """
    rules = settings.teach
    unanswered = [row for row in new if row.answer is None]
    requests = [teacher.answer_request(row, templates) for row in unanswered]
    limit = DropLimit(
        allowed_failures(rules.max_dropped, len(new)),
        lambda index, outcome: teacher.drop_reason(unanswered[index], outcome, rules.truncated),
        "teach.max_dropped",
    )
    with clients.open("teacher", settings.teacher) as client:
        outcomes = client.complete(requests, limit)
        usage = client.usage.versioned()
    answers = {
        row.id: teacher.parse_answer(row, outcome, rules.truncated)
        for row, outcome in zip(unanswered, outcomes, strict=True)
    }
    dropped = [row for row in answers.values() if isinstance(row, Dropped)]
    check_dropped(dropped, rules.max_dropped, len(new), "teach.max_dropped")
    taught = [
        _with_answer(row, answers) for row in new if not isinstance(answers.get(row.id), Dropped)
    ]
    return Taught(taught, pools.grow(cache, taught), dropped, usage)


def _with_answer(row: Instruction, answers: Mapping[str, Answer | Dropped]) -> Instruction:
    answer = answers.get(row.id)
    return teacher.taught(row, answer) if isinstance(answer, Answer) else row
