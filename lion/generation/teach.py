"""The phase `teach`: the teacher answers the new instructions, which join the Cache Pool.

Writes no file.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lion import pools
from lion.config.settings import Settings, Teach
from lion.errors import MissingRepliesError
from lion.failure_limit import allowed_failures, check_dropped
from lion.llm.protocols import Client, Clients
from lion.llm.request_set import DropLimit
from lion.metrics.pools import TeacherTrial
from lion.metrics.units import RoleUsage
from lion.prompting import teacher
from lion.prompting.protocol import Request
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction

AnswerFilter = Callable[[Instruction, str], Dropped | None]
"""Returns the dropped row where an answer must not be trained on."""
Trial = Callable[[Client], TeacherTrial]
"""Asks a first batch; raises where the teacher is too weak for the rest to be worth its price."""


@dataclass(frozen=True, slots=True)
class Taught:
    """The new rows with answers, the Cache Pool with them appended, and the dropped rows."""

    new: list[Instruction]
    cache: list[Instruction]
    dropped: list[Dropped]
    usage: RoleUsage
    trial: TeacherTrial | None = None


def teach(
    new: Sequence[Instruction],
    cache: Sequence[Instruction],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
    *,
    reject: AnswerFilter | None = None,
    trial: Trial | None = None,
) -> Taught:
    """Return the Cache Pool with `new` appended, each row with an answer.

    A row that already has an answer is not sent to the teacher. An answer that `reject` drops is
    asked for again, up to `teach.samples` times in all. `trial` asks the teacher a few exam rows
    first, and raises if it is too weak. Raises TooManyDroppedError if more than `teach.max_dropped`
    of the new rows get no usable answer; rows that `reject` drops do not count.
    """
    rules = settings.teach
    with clients.open("teacher", settings.teacher) as client:
        ask = partial(_answers, new, client, templates, rules, reject)
        tried = None if trial is None else _tried(trial, client, ask)
        answers, rejected = ask()
        usage = client.usage.versioned()
    failed = [row for row in answers.values() if isinstance(row, Dropped)]
    check_dropped(failed, rules.max_dropped, len(new), "teach.max_dropped")
    answers |= rejected
    taught = [
        _with_answer(row, answers) for row in new if not isinstance(answers.get(row.id), Dropped)
    ]
    dropped = [row for row in answers.values() if isinstance(row, Dropped)]
    return Taught(taught, pools.grow(cache, taught), dropped, usage, tried)


def _tried(trial: Trial, client: Client, ask: Callable[[], object]) -> TeacherTrial:
    """Return the result of the trial.

    In a rehearsal, which sends nothing, the missing replies of the answers are counted with those
    of the trial.
    """
    try:
        return trial(client)
    except MissingRepliesError as first:
        try:
            ask()
        except MissingRepliesError as more:
            raise MissingRepliesError(first.missing + more.missing) from first
        raise


def _answers(
    new: Sequence[Instruction],
    client: Client,
    templates: Prompts,
    rules: Teach,
    reject: AnswerFilter | None,
) -> tuple[dict[str, Answer | Dropped], dict[str, Dropped]]:
    """Return the answer of each row without one, or its failure; and the rejected, by id."""
    pending = [row for row in new if row.answer is None]
    answers: dict[str, Answer | Dropped] = {}
    rejected: dict[str, Dropped] = {}
    for sample in range(rules.samples):
        requests = [_request(row, templates, sample) for row in pending]
        limit = _drop_limit(pending, len(new), rules)
        for row, outcome in zip(pending, client.complete(requests, limit), strict=True):
            answer = teacher.parse_answer(row, outcome, rules.truncated)
            dropped = reject(row, answer.text) if reject and isinstance(answer, Answer) else None
            if dropped is None:
                answers[row.id] = answer
                rejected.pop(row.id, None)
            else:
                rejected[row.id] = dropped
        pending = [row for row in pending if row.id in rejected]
        if not pending:
            break
    return answers, rejected


def _drop_limit(rows: Sequence[Instruction], count: int, rules: Teach) -> DropLimit:
    """Return when asking for the answers of `rows` ends, of `count` new ones in all."""
    return DropLimit(
        allowed_failures(rules.max_dropped, count),
        lambda index, outcome: teacher.drop_reason(rows[index], outcome, rules.truncated),
        "teach.max_dropped",
    )


def _request(row: Instruction, templates: Prompts, sample: int) -> Request:
    return dataclasses.replace(teacher.answer_request(row, templates), sample=sample)


def _with_answer(row: Instruction, answers: Mapping[str, Answer | Dropped]) -> Instruction:
    answer = answers.get(row.id)
    return teacher.taught(row, answer) if isinstance(answer, Answer) else row
