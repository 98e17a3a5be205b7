"""A certified student: requests in, decisions out. Writes no file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lion.certify.decision import Decision, changed_parts, decide
from lion.certify.identity import student_identity
from lion.config import project
from lion.config.settings import Settings
from lion.conversations import TaskTemplate
from lion.errors import DataError, ModelError
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.metrics import files
from lion.metrics.certificates import CertificateMetrics
from lion.readers import files as readers
from lion.records.rows import Instruction, Message


@dataclass(frozen=True, slots=True)
class CertifiedStudent:
    """A student and its certificate, which holds for it as params let it answer now."""

    respondent: Respondent
    certificate: CertificateMetrics

    @classmethod
    def load(cls, iteration: str, settings: Settings, clients: Clients) -> "CertifiedStudent":
        """Return the student of `iteration`.

        Raises DataError without a certificate, and ModelError where the certificate is void: it is
        of another student, of other prompts or of other decoding.
        """
        path = project.metrics(iteration, CertificateMetrics.FILE)
        certificate = files.read_if(path, CertificateMetrics)
        if certificate is None:
            raise DataError(
                f"{path}: student {iteration} has no certificate. Name it in certify.students, and "
                "run `lion run`."
            )
        folder = project.data(iteration, "student")
        changed = changed_parts(certificate, student_identity(folder, settings))
        if changed:
            raise ModelError(
                f"{path}: the certificate is void, since {' and '.join(changed)} changed. Run "
                f"`lion run certify@{iteration}`."
            )
        return cls(Respondent(folder, iteration, settings, clients), certificate)

    def answer(self, rows: Sequence[Instruction], agreement: float | None = None) -> list[Decision]:
        """Return the decision about each request, in order; `agreement` as in `decide`."""
        settings = self.respondent.settings
        answers = self.respondent.respond(rows, settings.random_seed, scored=True)
        scorer = settings.exam.scorer
        return [decide(answer, self.certificate, scorer, agreement) for answer in answers]


def request_of(text: str, settings: Settings) -> Instruction:
    """Return a request from its text: of a declared task its fields, as the generator writes them.

    Raises DataError where the text has other fields, or is empty.
    """
    task = TaskTemplate.declared(settings.task)
    messages: list[Message] = [{"role": "user", "content": text}]
    if not text.strip():
        raise DataError("the request is empty")
    if task is not None:
        values = task.parse(text)
        if values is None:
            raise DataError(f"the request is not of the declared task: write {task.form()}")
        messages = task.render(values)
    return Instruction.new(messages, origin="seed", iteration=project.BASE)


def requests_in(path: Path, settings: Settings) -> list[Instruction]:
    """Return the requests of a file in any format that pools have. Raises DataError."""
    loaded = readers.read_rows(path, TaskTemplate.declared(settings.task))
    if loaded.problems:
        raise DataError(
            f"{len(loaded.problems)} rows cannot be read, the first: {loaded.problems[0]}. Fix "
            "them; nothing was asked."
        )
    return [
        Instruction.new(row.messages, origin="seed", iteration=project.BASE) for row in loaded.rows
    ]
