"""The phase `certify`: what a student may answer alone, with a guarantee.

The rows that `exam.certify` sets apart test the limits; the exam's other rows make them. Writes no
file.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lion import pools, statistics
from lion.certify import confidence, open_answers, reasons, thresholds
from lion.certify.labels import AnsweredRow, Labeller
from lion.certify.reasons import Evidence
from lion.certify.strata import strata
from lion.certify.thresholds import LabelledRow, Promise
from lion.config.settings import Settings
from lion.llm.protocols import Clients
from lion.metrics.certificates import (
    CertificateMetrics,
    CertifiedLimit,
    LimitPoint,
    StudentIdentity,
    TeacherTokens,
    limit_key,
)
from lion.metrics.units import ShareEstimate
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Dropped, ExamAnswer, Instruction
from lion.records.rows import reasons as counted_reasons
from lion.statistics import Bootstrap

AGREEMENTS = (0.9, 0.95, 0.97, 0.99)
"""The promises of every certificate, beside that of params."""


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificate, and the rows that it could not use."""

    metrics: CertificateMetrics
    dropped: list[Dropped]


@dataclass(frozen=True, slots=True)
class LabelledSide:
    """Rows with both answers, and what the limits see of them, in the same order."""

    answered: Sequence[AnsweredRow]
    labelled: Sequence[LabelledRow]

    @property
    def agreements(self) -> list[bool]:
        """Whether each row agrees."""
        return [row.agrees for row in self.labelled]


def certify(
    exam: Sequence[Instruction],
    answers: Sequence[ExamAnswer],
    settings: Settings,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    *,
    iteration: str,
    identity: StudentIdentity,
    tokens: TeacherTokens | None = None,
) -> Certified:
    """Return the certificate of the student of `iteration`, who gave `answers` in the exam.

    `tokens` are those of the teacher's answers. Raises TooManyDroppedError and what asking raises.
    """
    labeller = Labeller(settings, clients, templates)
    by_id = {answer.id: answer for answer in answers}
    others, apart = (
        labeller.answered(part, by_id) for part in pools.set_apart(exam, settings.exam.certify)
    )
    agreeing = labeller.agreeing([*others, *apart])
    weights = _open_weights(settings, others, agreeing)
    tests, makers = (_side(settings, part, agreeing, weights) for part in (apart, others))
    twice = statistics.accuracy(labeller.teacher_twice(apart), settings.evaluate.confidence)
    evidence = Evidence(
        tests.labelled,
        makers.labelled,
        settings.certify.confidence,
        None if twice is None else twice.high,
    )
    limits = _limits(settings, iteration, evidence)
    headline = limits[limit_key(settings.certify.agreement)].uncertainty_limit
    metrics = CertificateMetrics(
        agreement_share=settings.certify.agreement,
        confidence_share=settings.certify.confidence,
        delta_share=_delta(settings, iteration),
        place=_place(settings, iteration),
        score=confidence.score_name(settings.exam.scorer),
        rows=len(tests.labelled),
        other_rows=len(makers.labelled),
        unscored=sum(row.uncertainty is None for row in tests.labelled),
        dropped=counted_reasons(labeller.dropped),
        limits=limits,
        agreement=_share(settings, tests.agreements),
        auroc=_auroc(settings, tests.labelled),
        curve=_curve(evidence, _delta(settings, iteration)),
        strata=strata(tests.answered, tests.labelled, headline),
        teacher_self=ShareEstimate.of(twice),
        teacher_tokens=tokens,
        teacher=labeller.teacher_usage,
        referee=labeller.referee_usage,
        open_weights=weights,
        identity=identity,
        rows_sha256=rows_hash(row.instruction for row in tests.answered),
    )
    return Certified(metrics, labeller.dropped)


def rows_hash(rows: Iterable[Instruction]) -> str:
    """Return the SHA-256 of the rows' ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(row.id for row in rows)).encode()).hexdigest()


def _open_weights(
    settings: Settings, others: Sequence[AnsweredRow], agreeing: Mapping[str, bool]
) -> tuple[float, ...] | None:
    """Return the weights of the score of open answers; None for other answers."""
    if settings.exam.scorer.kind != "referee":
        return None
    rows = [(row.student, agreeing[id]) for row in others if (id := row.instruction.id) in agreeing]
    return open_answers.fit_weights(rows)


def _side(
    settings: Settings,
    rows: Sequence[AnsweredRow],
    agreeing: Mapping[str, bool],
    weights: tuple[float, ...] | None,
) -> LabelledSide:
    scorer = settings.exam.scorer
    judged = [row for row in rows if row.instruction.id in agreeing]
    return LabelledSide(
        judged,
        [
            LabelledRow(
                open_answers.open_uncertainty(row.student, weights)
                if scorer.kind == "referee"
                else confidence.uncertainty(row.student, scorer),
                agreeing[row.instruction.id],
            )
            for row in judged
        ],
    )


def _place(settings: Settings, iteration: str) -> int | None:
    """Return which of the students that share the rows this one is, from 1; None: it has them."""
    certify = settings.certify
    alone = certify.rows_for == "one_student"
    return None if alone else certify.students.index(iteration) + 1


def _delta(settings: Settings, iteration: str) -> float:
    place = _place(settings, iteration)
    return round(thresholds.spent_delta(settings.certify.confidence, place), 12)


def _limits(settings: Settings, iteration: str, evidence: Evidence) -> dict[str, CertifiedLimit]:
    """Return the promise at each agreement, the lowest first."""
    delta = _delta(settings, iteration)
    agreements = sorted({*AGREEMENTS, settings.certify.agreement})
    return {
        limit_key(agreement): _limit(settings, Promise(agreement, delta), evidence)
        for agreement in agreements
    }


def _limit(settings: Settings, promise: Promise, evidence: Evidence) -> CertifiedLimit:
    walk = thresholds.walk(evidence.rows, evidence.others, promise)
    passed = walk.passed
    if passed is None:
        return CertifiedLimit(
            agreement_share=promise.agreement,
            reason=reasons.no_threshold(walk, evidence, promise),
        )
    accepted = [thresholds.is_accepted(row.uncertainty, passed.limit) for row in evidence.rows]
    return CertifiedLimit(
        agreement_share=promise.agreement,
        uncertainty_limit=passed.limit,
        accepted=passed.accepted,
        disagreements=passed.disagreements,
        coverage=_share(settings, accepted),
    )


def _share(settings: Settings, marks: Sequence[bool]) -> ShareEstimate | None:
    return ShareEstimate.of(statistics.accuracy(marks, settings.evaluate.confidence))


def _auroc(settings: Settings, rows: Sequence[LabelledRow]) -> ShareEstimate | None:
    """Return the chance that a disagreement is less certain than an agreement."""
    scored = [(row.uncertainty, row.agrees) for row in rows if row.uncertainty is not None]
    evaluate = settings.evaluate
    bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
    wrong = [value for value, agrees in scored if not agrees]
    right = [value for value, agrees in scored if agrees]
    return ShareEstimate.of(statistics.auc_of_groups(wrong, right, bootstrap))


def _curve(evidence: Evidence, delta: float) -> tuple[LimitPoint, ...]:
    """Return coverage and agreement at each limit of the grid; empty without rows."""
    points = []
    total = len(evidence.rows)
    for limit in (
        thresholds.limit_grid([row.uncertainty for row in evidence.others]) if total else ()
    ):
        accepted = [row for row in evidence.rows if thresholds.is_accepted(row.uncertainty, limit)]
        wrong = sum(not row.agrees for row in accepted)
        points.append(
            LimitPoint(
                limit,
                len(accepted) / total,
                1 - wrong / len(accepted) if accepted else None,
                thresholds.lower_bound(len(accepted), wrong, delta),
            )
        )
    return tuple(points)
