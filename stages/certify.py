"""certify: what the student of this iteration may answer alone, with a guarantee.

Reads the exam's answers and the teacher's tokens; sends new requests to the roles in
`certify.ask` alone.
"""

from lion.certify import looks
from lion.certify.certificate import certify
from lion.certify.identity import student_identity
from lion.config import project
from lion.metrics.certificates import CertifiedMetrics, TeacherTokens
from lion.pipeline import stage
from lion.records.rows import ExamAnswer, Instruction
from lion.reporting.certificates import certificate_sentence


def main(work: stage.Work) -> str:
    """Write the certificate, its headline, and the rows that it could not use."""
    settings = work.settings
    basis = work.files.read_document(work.data("exam_basis.json"))
    exam = work.files.read(project.EXAM, Instruction)
    certified = certify(
        exam,
        work.files.read(work.data("exam_responses.jsonl"), ExamAnswer),
        settings,
        work,
        work.prompts("teacher", "referee", good=settings.task.good),
        iteration=work.iteration,
        identity=student_identity(work.data("student"), settings),
        tokens=TeacherTokens(**basis["teacher"]),
    )
    work.write_dropped(certified.dropped, len(exam))
    work.write_metrics(certified.metrics)
    work.write_metrics(CertifiedMetrics.of(certified.metrics))
    warning = looks.looks_sentence(certified.metrics, work.count_look(certified.metrics))
    sentence = certificate_sentence(certified.metrics)
    return sentence if warning is None else f"{sentence}. {warning}"


if __name__ == "__main__":
    stage.run("certify", main)
