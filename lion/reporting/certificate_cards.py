"""The report page's cards about the certificate of the last student that has one."""

from collections.abc import Iterator
from typing import Any

from lion.certify.reasons import percent_text
from lion.escape import DASH
from lion.escape import line as one_line
from lion.metrics.certificates import CertificateMetrics, CertifiedLimit
from lion.reporting import numbers, plots
from lion.reporting.certificates import certificate_sentence
from lion.reporting.page_cards import card
from lion.reporting.snapshot import Run

_NAME = 40  # characters


def certificate_cards(run: Run) -> Iterator[dict[str, Any] | None]:
    """Yield agreement against coverage, the promises, and the strata."""
    certified = [
        (line.iteration, metrics)
        for line in run.lineage
        if (metrics := run.metrics(line.iteration, CertificateMetrics)) is not None
    ]
    if not certified:
        return
    iteration, metrics = certified[-1]
    yield _curve(iteration, metrics)
    yield _promises(iteration, metrics)
    yield _strata(metrics)


def _curve(iteration: str, metrics: CertificateMetrics) -> dict[str, Any] | None:
    values = [
        {
            "coverage": point.coverage_share,
            "agreement": point.agreement_share,
            "bound": point.bound_share,
        }
        for point in metrics.curve
        if point.agreement_share is not None
    ]
    if not values:
        return None
    points = [
        {
            "coverage": limit.coverage.value_share,
            "agreement": 1 - limit.disagreements / limit.accepted,
            "promise": percent_text(limit.agreement_share),
        }
        for limit in metrics.limits.values()
        if limit.coverage is not None and limit.accepted and limit.disagreements is not None
    ]
    note = (
        f"student {iteration}: {certificate_sentence(metrics)}. Points are the certified limits; "
        "the shade ends at the bound of each limit alone"
    )
    return card("Agreement against coverage", note, plot=plots.against_coverage(values, points))


def _promises(iteration: str, metrics: CertificateMetrics) -> dict[str, Any]:
    columns = ["agreement", "coverage", "accepted", "disagree", "limit", "why none"]
    rows = [_promise(limit) for limit in metrics.limits.values()]
    note = (
        f"student {iteration}, {metrics.rows:,} rows of its own; each with "
        f"{percent_text(metrics.confidence_share)} confidence"
    )
    return card("What it may answer alone", note, table={"columns": columns, "rows": rows})


def _promise(limit: CertifiedLimit) -> list[str]:
    bound = limit.uncertainty_limit
    return [
        percent_text(limit.agreement_share),
        numbers.share(None if limit.coverage is None else limit.coverage.value_share),
        numbers.count(limit.accepted),
        numbers.count(limit.disagreements),
        DASH if bound is None else f"{bound:.4g}",
        limit.reason or "",
    ]


def _strata(metrics: CertificateMetrics) -> dict[str, Any] | None:
    rows = [
        [
            kind,
            one_line(value, _NAME),
            f"{stratum.rows:,}",
            numbers.share(stratum.accepted / stratum.rows),
            f"{stratum.disagreements:,}",
        ]
        for kind, strata in metrics.strata.items()
        for value, stratum in strata.items()
    ]
    if not rows:
        return None
    columns = ["kind", "value", "rows", "coverage", "disagree"]
    note = "nothing is promised of a kind by itself; a kind that no row has is not covered at all"
    return card("By kind of request", note, table={"columns": columns, "rows": rows})
