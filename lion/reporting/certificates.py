"""Certificates in words: the promise, what it is worth in money, and who looked how often."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lion.certify import looks, money
from lion.certify.money import PER, Costs
from lion.certify.reasons import percent_text
from lion.config import project
from lion.config.settings import Settings
from lion.iterations import IterationMetrics, Read
from lion.llm.prices import NANO, Prices
from lion.metrics import files
from lion.metrics.certificates import CertificateMetrics
from lion.prompting.protocol import Usage
from lion.reporting.table import dollars


def certificate_sentence(metrics: CertificateMetrics) -> str:
    """Return the promise of a certificate, or why there is none, without the full stop."""
    limit = metrics.headline
    agreement, sure = percent_text(limit.agreement_share), percent_text(metrics.confidence_share)
    if limit.coverage is None:
        return f"no threshold at {agreement}, everything goes to the teacher: {limit.reason}"
    return (
        f"it agrees with its teacher on at least {agreement} of what it answers itself, with "
        f"{sure} confidence; that is {100 * limit.coverage.value_share:.0f} % of the requests"
    )


def read_certificate(iteration: str, read: Read = files.read_if) -> CertificateMetrics | None:
    """Return the certificate of an iteration in the workspace, or None. Raises DataError."""
    return read(project.metrics(iteration, CertificateMetrics.FILE), CertificateMetrics)


def closing_sentences(
    lines: Sequence[IterationMetrics], settings: Settings, read: Read = files.read_if
) -> Iterator[str]:
    """Yield for each certified student its promise, its money, and a warning about looks.

    `read` reads the workspace's files by default, and has read `lines`.
    """
    for name in settings.certify.students:
        metrics = read_certificate(name, read)
        if metrics is None:
            continue
        saves = money_sentence(name, metrics, lines, settings)
        yield f"Student {name}: {certificate_sentence(metrics)}. {saves}"
        warning = looks.looks_sentence(metrics, looks.looks_at(metrics))
        if warning is not None:
            yield f"{warning}."


def money_sentence(
    name: str, metrics: CertificateMetrics, lines: Sequence[IterationMetrics], settings: Settings
) -> str:
    """Return what 1,000 requests cost with and without the student, and when it has paid."""
    costs = student_costs(name, metrics, lines, settings)
    if costs.teacher_alone is None:
        return (
            f"What it saves is not known: {settings.teacher.model} has no price. Add it to "
            f"{project.PRICES}."
        )
    sentence = (
        f"{PER:,} requests cost {dollars(costs.teacher_alone)} with the teacher alone, "
        f"{dollars(costs.with_student)} with the student"
    )
    return f"{sentence}; {_pays(costs)}."


def _pays(costs: Costs) -> str:
    if costs.saved is None or costs.saved <= 0:
        return "it never pays for itself"
    if costs.break_even is None:
        return "what it cost is not known on this machine"
    return f"it has paid for itself after {costs.break_even:,} requests"


def student_costs(
    name: str, metrics: CertificateMetrics, lines: Sequence[IterationMetrics], settings: Settings
) -> Costs:
    """Return the costs of 1,000 requests; unknown prices and runs elsewhere are None."""
    limit, certify = metrics.headline, settings.certify
    return money.request_costs(
        teacher=_teacher_price(metrics, settings, project.PRICES),
        coverage=0.0 if limit.coverage is None else limit.coverage.value_share,
        audit=certify.audit,
        hosting=round(certify.hosting_usd_per_1000 * NANO),
        spent=_spent(name, lines, certify.training_usd),
    )


def _teacher_price(metrics: CertificateMetrics, settings: Settings, prices: Path) -> int | None:
    """Return the nanodollars of 1,000 of the teacher's answers, by the exam's tokens."""
    tokens = metrics.teacher_tokens
    if tokens is None or not tokens.requests:
        return None
    usage = Usage(tokens.prompt_tokens, tokens.completion_tokens)
    cost = Prices.load(prices).cost(settings.teacher, usage)
    return None if cost is None else round(PER * cost / tokens.requests)


def _spent(name: str, lines: Sequence[IterationMetrics], training_usd: float) -> int | None:
    """Return what the student's own line of iterations cost here; None where that is not known."""
    by_name: Mapping[str, IterationMetrics] = {line.iteration: line for line in lines}
    total, current = round(training_usd * NANO), by_name.get(name)
    while current is not None:
        if current.nanodollars is None or current.unpriced:
            return None
        total += current.nanodollars
        current = by_name.get(current.previous or "")
    return total
