"""The student that responds: its own checkpoint, or the server that params name.

Writes no file except the finished batches from which a killed stage resumes (`keep`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import Settings
from lion.inference import batch_inference, remote_backend
from lion.inference.batch_job import AnsweringTask, Measure
from lion.llm.protocols import Clients
from lion.records.rows import Answer, Instruction, Likelihood
from lion.student import checkpoint

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

    def _task(
        self, random_seed: int, measure: Measure = "answers", *, scored: bool = False
    ) -> AnsweringTask:
        checkpoint.load_libraries()  # imports torch, which a stopped loop does not need
        settings, name = self.settings, f"student-{self.iteration}"
        return AnsweringTask(
            self.folder, settings.student, settings.answering, random_seed, name, measure, scored
        )
