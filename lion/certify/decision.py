"""The decision about one request: the student's answer, or back to the teacher, and why.

What `lion ask` and a server do. Pure; who answers is `lion.serving.ask`.
"""

from dataclasses import dataclass
from typing import Literal

from lion.certify import confidence, open_answers, thresholds
from lion.config.settings import Scorer
from lion.errors import DataError
from lion.metrics.certificates import (
    CertificateMetrics,
    CertifiedLimit,
    StudentIdentity,
    limit_key,
)
from lion.prompting import replies
from lion.records.rows import Answer

Why = Literal["certified", "no_threshold", "no_score", "uncertain"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The student's text where it may answer, else None; `explanation` is a sentence."""

    text: str | None
    why: Why
    uncertainty: float | None
    limit: float | None
    explanation: str

    @property
    def answered(self) -> bool:
        """Whether the student answers itself."""
        return self.why == "certified"


def decide(
    answer: Answer,
    certificate: CertificateMetrics,
    scorer: Scorer,
    agreement: float | None = None,
) -> Decision:
    """Return whether the student's `answer` may be given, by the promise at `agreement`.

    None is the agreement of params. The answer must bring its tokens' log probabilities, and come
    from the student, prompts and decoding of the certificate (`changed_parts`). Raises DataError
    where the certificate has no promise at that agreement.
    """
    limit = promised(certificate, agreement)
    score = uncertainty_of(answer, certificate, scorer)
    if limit.uncertainty_limit is None:
        return Decision(None, "no_threshold", score, None, f"no threshold: {limit.reason}")
    bound = limit.uncertainty_limit
    if score is None:
        cut = replies.ending(answer.finish_reason) != "whole"
        why = "the answer was cut off" if cut else "the answer has no usable score"
        return Decision(None, "no_score", None, bound, why)
    if not thresholds.is_accepted(score, bound):
        return Decision(
            None, "uncertain", score, bound, f"uncertainty {score:.4g} above {bound:.4g}"
        )
    return Decision(answer.text, "certified", score, bound, f"uncertainty {score:.4g}")


def promised(certificate: CertificateMetrics, agreement: float | None) -> CertifiedLimit:
    """Return the promise at `agreement`. Raises DataError where there is none."""
    key = limit_key(certificate.agreement_share if agreement is None else agreement)
    if key not in certificate.limits:
        raise DataError(
            f"the certificate promises nothing at {key} %, but at "
            f"{', '.join(certificate.limits)} %. Ask for one of these, or set certify.agreement."
        )
    return certificate.limits[key]


def uncertainty_of(answer: Answer, certificate: CertificateMetrics, scorer: Scorer) -> float | None:
    """Return the student's uncertainty by the certificate's score."""
    if scorer.kind == "referee":
        return open_answers.open_uncertainty(answer, certificate.open_weights)
    return confidence.uncertainty(answer, scorer)


def changed_parts(certificate: CertificateMetrics, now: StudentIdentity) -> list[str]:
    """Return what differs from what was certified, by name; a certificate holds for no other."""
    parts = {
        "the student": (certificate.identity.student_sha256, now.student_sha256),
        "its prompts": (certificate.identity.prompt_sha256, now.prompt_sha256),
        "its decoding": (certificate.identity.decoding_sha256, now.decoding_sha256),
        "the source of log probabilities": (certificate.identity.logprobs, now.logprobs),
    }
    return [name for name, (then, today) in parts.items() if then != today]
