"""The phase `teach`: the teacher answers the new instructions, and the Cache Pool grows by them.

Writes no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lion import pools
from lion.config.settings import Settings
from lion.failure_limit import allowed_failures, check_dropped
from lion.llm.protocols import Clients
from lion.metrics.units import RoleUsage
from lion.prompting import teacher
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction


@dataclass(frozen=True, slots=True)
class Taught:
    """The new rows with their answers, the Cache Pool with them appended, and what was dropped.

    `asked` counts what the teacher was asked.
    """

    new: list[Instruction]
    cache: list[Instruction]
    dropped: list[Dropped]
    asked: RoleUsage


def teach(
    new: Sequence[Instruction],
    cache: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> Taught:
    """Return the Cache Pool grown by `new`, each row with an answer.

    A row that brings its answer is not asked for. Raises TooManyDroppedError where more than
    `teach.max_dropped` of the new rows get no answer that can be learnt from.
    """
    rules = settings.teach
    unanswered = [row for row in new if row.answer is None]
    requests = [teacher.answer_request(row, templates) for row in unanswered]
    limit = allowed_failures(rules.max_dropped, len(unanswered))
    with clients.open("teacher", settings.teacher) as client:
        outcomes = client.ask(requests, max_failed=limit)
        asked = client.account.versioned()
    answers = {
        row.id: teacher.parse_answer(row, outcome, rules.truncated)
        for row, outcome in zip(unanswered, outcomes, strict=True)
    }
    dropped = [row for row in answers.values() if isinstance(row, Dropped)]
    check_dropped(dropped, rules.max_dropped, len(new), "teach.max_dropped")
    taught = [
        _with_answer(row, answers) for row in new if not isinstance(answers.get(row.id), Dropped)
    ]
    return Taught(taught, pools.grow(cache, taught), dropped, asked)


def _with_answer(row: Instruction, answers: Mapping[str, Answer | Dropped]) -> Instruction:
    answer = answers.get(row.id)
    return teacher.taught(row, answer) if isinstance(answer, Answer) else row
