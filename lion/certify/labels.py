"""Which of a student's exam answers agree with its teacher's: by the exam's scorer, or the referee.

Sends new requests to the roles in `certify.ask` alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lion.certify import confidence, open_answers
from lion.config.settings import Scorer, Settings
from lion.discrimination import pairwise
from lion.failure_limit import allowed_failures
from lion.llm.protocols import Clients
from lion.llm.request_set import DropLimit
from lion.metrics.units import RoleUsage
from lion.prompting import teacher as teachers
from lion.prompting.protocol import Request
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Answer, Dropped, ExamAnswer, Instruction

STAGE = "certify"


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row of the exam with the student's answer and the teacher's."""

    instruction: Instruction
    student: ExamAnswer
    teacher: str


@dataclass(slots=True)
class Labeller:
    """Joins answers and labels them; notes what it dropped and asked (None: not asked)."""

    settings: Settings
    clients: Clients
    templates: Mapping[PromptRole, Prompts]
    dropped: list[Dropped] = field(default_factory=list)
    teacher_usage: RoleUsage | None = None
    referee_usage: RoleUsage | None = None

    @property
    def scorer(self) -> Scorer:
        """The exam's scorer."""
        return self.settings.exam.scorer

    def answered(
        self, rows: Sequence[Instruction], answers: Mapping[str, ExamAnswer]
    ) -> list[AnsweredRow]:
        """Return the rows that both answered; those without a teacher's answer are dropped.

        The exam brings the teacher's answers, except to open rows that are set apart: these are
        asked for. Raises TooManyDroppedError.
        """
        given = [row for row in rows if row.id in answers]
        texts = {row.id: answer.text for row in given if (answer := answers[row.id].teacher)}
        missing = [row for row in given if row.id not in texts]
        if missing and self.scorer.kind == "referee":
            texts |= self._teacher(missing, sample=0)
            missing = [row for row in missing if row.id not in texts]
        self.dropped += [Dropped(STAGE, "no_teacher_answer", row.id) for row in missing]
        return [
            AnsweredRow(row, answers[row.id], texts[row.id]) for row in given if row.id in texts
        ]

    def agreeing(self, rows: Sequence[AnsweredRow]) -> dict[str, bool]:
        """Return by id whether student and teacher agree; an unjudged row is left out.

        Raises TooManyDroppedError, SettingsError and DataError.
        """
        if self.scorer.kind != "referee":
            return {
                row.instruction.id: confidence.agrees(
                    row.student.text, row.teacher, self.scorer, row.instruction.id
                )
                for row in rows
            }
        return self._judged(rows)

    def teacher_twice(self, rows: Sequence[AnsweredRow]) -> list[bool]:
        """Return whether a second answer of the teacher agrees with its first; none if not allowed.

        Open answers have no such figure: the referee tells worse from better, not alike.
        """
        allowed = "teacher" in self.settings.certify.ask and self.scorer.kind != "referee"
        drawn = rows[: self.settings.certify.self_rows] if allowed else []
        again = self._teacher([row.instruction for row in drawn], sample=1) if drawn else {}
        return [
            confidence.agrees(again[id], row.teacher, self.scorer, id)
            for row in drawn
            if (id := row.instruction.id) in again
        ]

    def _teacher(self, rows: Sequence[Instruction], sample: int) -> dict[str, str]:
        """Return the teacher's answers by id; a failure is no answer."""
        requests: list[Request] = [
            dataclasses.replace(
                teachers.answer_request(row, self.templates["teacher"]), sample=sample
            )
            for row in rows
        ]
        limit = DropLimit(
            allowed_failures(self.settings.evaluate.max_dropped, len(rows)),
            lambda index, outcome: teachers.drop_reason(rows[index], outcome, "keep"),
            "evaluate.max_dropped",
        )
        with self.clients.open("teacher", self.settings.teacher) as client:
            outcomes = client.complete(requests, limit)
            usage = client.usage.versioned()
        self.teacher_usage = usage if self.teacher_usage is None else self.teacher_usage + usage
        answers = [
            teachers.parse_answer(*pair, "keep") for pair in zip(rows, outcomes, strict=True)
        ]
        return {answer.id: answer.text for answer in answers if isinstance(answer, Answer)}

    def _judged(self, rows: Sequence[AnsweredRow]) -> dict[str, bool]:
        pairs = [
            pairwise.pair(
                teachers.taught(
                    row.instruction, Answer(row.instruction.id, row.teacher, "stop", None)
                ),
                row.student,
            )
            for row in rows
        ]
        wanted = pairwise.in_both_orders(pairs)
        limit = pairwise.ReviewLimit(self.settings.evaluate.max_dropped, "evaluate.max_dropped")
        judge = self.settings.exam_referee
        with self.clients.open("referee", judge) as client:
            reviews = pairwise.ask(client, wanted, self.templates["referee"], judge.form, limit)
            self.referee_usage = client.usage.versioned()
        self.dropped += pairwise.dropped(reviews, STAGE)
        return open_answers.no_worse(reviews)
