"""The certificate of a student: what it may answer alone, and what that rests on."""

from typing import ClassVar

from lion.metrics.units import Metrics, RoleUsage, ShareEstimate


class StudentIdentity(Metrics, frozen=True):
    """What a certificate holds for: SHA-256 of the student's bytes, its prompts and decoding.

    `logprobs` says where the log probabilities come from; the modes of servers differ.
    """

    student_sha256: str
    prompt_sha256: str
    decoding_sha256: str
    logprobs: str


class CertifiedLimit(Metrics, frozen=True, kw_only=True):
    """One promise: agreement on at least `agreement_share` of the student's own answers.

    The student answers where its uncertainty is at most `uncertainty_limit`. None where there is no
    limit, and then `reason` says why. `disagreements` of the `accepted` certification rows;
    `coverage` is the share of requests that it answers.
    """

    agreement_share: float
    uncertainty_limit: float | None = None
    accepted: int | None = None
    disagreements: int | None = None
    coverage: ShareEstimate | None = None
    reason: str | None = None


class LimitPoint(Metrics, frozen=True):
    """A limit of the grid on the certification rows.

    `bound_share` is the one-sided bound of the agreement at this limit alone.
    """

    uncertainty_limit: float
    coverage_share: float
    agreement_share: float | None
    bound_share: float | None


class Stratum(Metrics, frozen=True):
    """Certification rows of one kind: how many the limit accepts, and how many disagree of them."""

    rows: int
    accepted: int
    disagreements: int


class TeacherTokens(Metrics, frozen=True):
    """What the teacher's answers of the exam took: the base of its price per request."""

    requests: int
    prompt_tokens: int
    completion_tokens: int


class CertificateMetrics(Metrics, frozen=True, kw_only=True):
    """certificate.json: promises at several agreements, each with probability 1 - `delta_share`.

    `agreement_share` is the one that params ask for, a key of `limits` in per cent. `rows` are
    those set apart, `other_rows` those of the exam's headline; `unscored` of the former have no
    uncertainty, and are never the student's. `auroc` is the chance that a disagreement is less
    certain than an agreement. `open_weights` make the score of open answers.
    """

    FILE: ClassVar[str] = "certificate"

    agreement_share: float
    confidence_share: float
    delta_share: float
    place: int | None = None
    score: str
    rows: int
    other_rows: int
    unscored: int
    dropped: dict[str, int]
    limits: dict[str, CertifiedLimit]
    agreement: ShareEstimate | None
    auroc: ShareEstimate | None
    curve: tuple[LimitPoint, ...]
    strata: dict[str, dict[str, Stratum]]
    teacher_self: ShareEstimate | None = None
    teacher_tokens: TeacherTokens | None = None
    teacher: RoleUsage | None = None
    referee: RoleUsage | None = None
    open_weights: tuple[float, ...] | None = None
    identity: StudentIdentity
    rows_sha256: str

    @property
    def headline(self) -> CertifiedLimit:
        """The promise that params ask for."""
        return self.limits[limit_key(self.agreement_share)]


class CertifiedMetrics(Metrics, frozen=True):
    """certified.json: what `dvc metrics` shows of a certificate; None where there is no limit."""

    FILE: ClassVar[str] = "certified"

    agreement_share: float
    coverage_share: float | None
    uncertainty_limit: float | None

    @classmethod
    def of(cls, certificate: CertificateMetrics) -> "CertifiedMetrics":
        """Return the headline of a certificate."""
        limit = certificate.headline
        coverage = None if limit.coverage is None else limit.coverage.value_share
        return cls(limit.agreement_share, coverage, limit.uncertainty_limit)


def limit_key(agreement: float) -> str:
    """Return the key of a promise in `limits`, in per cent: `97`."""
    return f"{100 * agreement:.6g}"
