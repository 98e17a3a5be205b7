"""The student that responds: its own checkpoint, or the server that params name.

Writes no file except the finished batches from which a killed stage resumes (`keep`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lion.config.settings import Settings
from lion.inference import batch_inference, remote_backend
from lion.inference.answer_schema import answer_schema
from lion.inference.batch_job import AnsweringTask, Measure
from lion.llm.protocols import Clients
from lion.metrics.exams import PromptLengths
from lion.records.rows import Answer, Instruction, Likelihood
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter, Refusal
from lion.student.prompt import StudentPrompt
from lion.student.student_formatter import student_formatter

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Respondent:
    """The student of iteration `iteration`, whose checkpoint is in `folder`.

    `clients` open the student's server where params name one. `keep` is the folder for finished
    batches; `progress` opens a progress bar, whose callback takes (answered, total).
    """

    folder: Path
    iteration: str
    settings: Settings
    clients: Clients
    keep: Path | None = None
    progress: Callable[[], AbstractContextManager[Progress | None]] = nullcontext

    def respond(
        self, rows: Sequence[Instruction], random_seed: int, *, scored: bool = False
    ) -> list[Answer]:
        """Return the student's response to each row, in order.

        `scored` responses bring their tokens' log probabilities, a server's where it sends them.
        Raises ModelError, DataError, and EndpointError where the student's server refuses.
        """
        if not rows:
            return []
        if self.settings.student.endpoint is not None:
            return remote_backend.answers(
                rows,
                self.folder,
                self.iteration,
                self.settings,
                self.clients,
                random_seed,
                scored=scored,
            )
        with self.progress() as update:
            return batch_inference.answer(
                rows, self._task(random_seed, scored=scored), self.keep, update
            )

    def likelihoods(self, rows: Sequence[Instruction], *, unprompted: bool) -> list[Likelihood]:
        """Return how likely the answer of each row is, in order; `unprompted` for IFD.

        By the checkpoint, also where a server answers for the student. Raises ModelError, and
        DataError for a row without an answer.
        """
        if not rows:
            return []
        measure: Measure = "likelihoods_and_unprompted" if unprompted else "likelihoods"
        keep = None if self.keep is None else self.keep / "likelihoods"
        with self.progress() as update:
            return batch_inference.likelihoods(rows, self._task(0, measure), keep, update)

    def prompt_lengths(self, rows: Sequence[Instruction]) -> PromptLengths | None:
        """Return the mean tokens of the rows' prompts, the student's own and the teacher's.

        None where they are the same, or the student's template refuses the teacher's conversations.
        Raises ModelError.
        """
        prompt = StudentPrompt.read(self.folder) if rows else None
        if prompt is None:
            return None
        encoder = student_formatter(self.folder, self.settings.student)
        own, teacher = (_mean_tokens(encoder, version) for version in (prompt.rows(rows), rows))
        if own is None or teacher is None:
            return None
        return PromptLengths(student_tokens=own, teacher_tokens=teacher)

    def _task(
        self, random_seed: int, measure: Measure = "answers", *, scored: bool = False
    ) -> AnsweringTask:
        checkpoint.load_libraries()  # imports torch, which a stopped loop does not need
        settings, name = self.settings, f"student-{self.iteration}"
        schema = answer_schema(settings) if measure == "answers" else None
        return AnsweringTask(
            self.folder,
            settings.student,
            settings.answering,
            random_seed,
            name,
            measure,
            scored,
            schema,
        )


def _mean_tokens(encoder: ChatFormatter, rows: Sequence[Instruction]) -> float | None:
    """Return the mean tokens of the prompts; None where the template refuses all of them."""
    prompts = encoder.try_prompts([row.messages for row in rows])
    lengths = [len(prompt) for prompt in prompts if not isinstance(prompt, Refusal)]
    return fmean(lengths) if lengths else None
