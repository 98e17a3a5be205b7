"""The questions of a rehearsal: one for each role, asked and read as the role's stage does.

The teacher answers a row of the pool, the referee compares two short answers to it, the
generator writes a new instruction from it. An endpoint of embeddings embeds a few words.
Sends nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from lion.config import project
from lion.config.settings import Endpoint, Referee, Settings, endpoints
from lion.conversations import TaskTemplate, child_conversation, shape_of, transcript
from lion.generation import seed_pool
from lion.generation.generated_pool import prompt_of
from lion.prompting import generator, judge, teacher, templates
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.templates import Prompts
from lion.records.rows import ORDERS, Dropped, Instruction
from lion.stage_table import Role

_ANSWERS = ("I do not know.", "Yes.")
"""The answers that the referee compares, the teacher's first."""
_EMBEDDED = Request(({"role": "user", "content": "Reply with the word: ready"},))

Reason = Callable[[Outcome], str | None]
"""Returns why the stage would drop a reply, None where it would use it."""


@dataclass(frozen=True, slots=True)
class RoleQuestion:
    """What is asked of an endpoint under its `parameter` (as `teacher`), and how it is read."""

    parameter: str
    role: Role
    endpoint: Endpoint
    request: Request
    reason: Reason

    def repeats(self, other: "RoleQuestion") -> bool:
        """Return whether `other` sends the same request to the same endpoint."""
        return self.request == other.request and self._address() == other._address()

    def _address(self) -> tuple[str, str]:
        return self.endpoint.path, self.endpoint.model_dump_json(include=set(Endpoint.model_fields))


def role_questions(settings: Settings, row: Instruction) -> Iterator[RoleQuestion]:
    """Yield the question about `row` of each role that params set."""
    for parameter, endpoint in endpoints(settings):
        if isinstance(endpoint, Referee):
            role: Role = "second" if parameter == "calibrate.second" else "referee"
            request, reason = _judging(row, endpoint, _prompts("referee", settings.task.good))
        elif parameter == "teacher":
            role = "teacher"
            request, reason = _teaching(row, settings, _prompts("teacher"))
        elif parameter == "generator":
            role = "generator"
            prompts = _prompts("generator", settings.task.good)
            request, reason = _generating(row, settings, prompts)
        else:
            role, request, reason = "embedder", _EMBEDDED, _failure
        yield RoleQuestion(parameter, role, endpoint, request, reason)


def rows_to_ask(settings: Settings, count: int) -> list[Instruction]:
    """Return the first rows of the pool, or of the seeds that it grows from. Raises DataError."""
    source = settings.seed.source
    if isinstance(source, list):
        grown = [name for entry in settings.bootstrap.values() for name in entry.seeds]
        source = (grown or source)[:1]
    changes = {"source": source, "size": count, "answers": "ask", "on_bad_row": "drop"}
    first = settings.seed.model_copy(update=changes)
    task = TaskTemplate.declared(settings.task)
    return seed_pool.base_pool(first, settings.random_seed, task)[0][:count]


def _prompts(role: templates.PromptRole, good: str | None = None) -> Prompts:
    return templates.load(project.PROMPTS / role, role, good)


def _teaching(row: Instruction, settings: Settings, prompts: Prompts) -> tuple[Request, Reason]:
    truncated = settings.teach.truncated
    return teacher.answer_request(row, prompts), partial(
        teacher.drop_reason, row, truncated=truncated
    )


def _judging(row: Instruction, referee: Referee, prompts: Prompts) -> tuple[Request, Reason]:
    question, order = transcript(row.messages), ORDERS[0]

    def reason(outcome: Outcome) -> str | None:
        return judge.parse_review(row.id, order, outcome, _ANSWERS, referee.form).reason

    return judge.review_request(question, *_ANSWERS, order, prompts, referee.form), reason


def _generating(row: Instruction, settings: Settings, prompts: Prompts) -> tuple[Request, Reason]:
    rules, task = settings.generate, TaskTemplate.declared(settings.task)
    shape, kind = shape_of(row.messages, task), prompt_of("hard", settings.generate)

    def reason(outcome: Outcome) -> str | None:
        text = generator.candidate(outcome, row.id, rules, fields=not shape.is_whole_instruction)
        if isinstance(text, Dropped):
            return text.reason
        return "malformed" if child_conversation(row.messages, text, task) is None else None

    return generator.input_request(row.messages, shape, kind, prompts, sample=0), reason


def _failure(outcome: Outcome) -> str | None:
    return outcome.reason if isinstance(outcome, Failure) else None
