"""split: hard or easy by the gap, and whether the loop goes on."""

from collections import Counter
from dataclasses import asdict as fields_of

from msgspec.structs import asdict

from lion import jsonl, project, stage
from lion.judgement import calibration, discrimination
from lion.metrics import files
from lion.metrics.judging import (
    AgreementMetrics,
    Audited,
    CalibrationMetrics,
    Noise,
    SplitMetrics,
    Stop,
)
from lion.metrics.units import ShareEstimate
from lion.records import Review, Selection, Verdict


def split(work: stage.Work) -> str:
    """Write verdicts.jsonl, stop.json, and how far full judging would agree."""
    settings = work.settings.split
    selections = jsonl.read(work.data("selection.jsonl"), Selection)
    reviews = discrimination.pooled(jsonl.read(work.data("reviews.jsonl"), Review))
    trusted = files.read(project.metrics(work.iteration, "calibration"), CalibrationMetrics)
    noise = trusted.noise_points
    tau = calibration.tau(settings, noise)
    verdicts = discrimination.selected(selections, reviews, tau, settings.half_judged)
    reason = discrimination.stop_reason(verdicts, settings, tau)
    if reason is None and settings.stop_in_noise:
        before = jsonl.read(work.before("verdicts.jsonl"), Verdict)
        reason = calibration.stop_reason(verdicts, before, tau, noise)
    jsonl.write(work.data("verdicts.jsonl"), verdicts)
    files.write(work.data("stop.json"), Stop(stop=reason is not None, reason=reason))
    measures = discrimination.measures(verdicts)
    audit = discrimination.audit(selections, reviews, verdicts, tau)
    known = discrimination.agreement(audit)
    basis = Counter(row.basis for row in verdicts)
    share = None if known is None else known.value
    work.write_metrics(SplitMetrics(**asdict(measures), agreement_share=share, stopped=reason))
    within = calibration.within(verdicts, tau, noise)
    details = AgreementMetrics(
        agreement=ShareEstimate.of(known),
        audit=Audited(**fields_of(audit)),
        contradictions=discrimination.contradictions(reviews),
        noise=Noise(deviation_points=noise, tau_points=tau, within_share=within),
        basis=dict(sorted(basis.items())),
    )
    work.write_metrics(details)
    told = f"{measures.hard:,} hard, {measures.easy:,} easy, {measures.undecided:,} undecided"
    return told if reason is None else f"{told}; the loop stops: {reason}"


if __name__ == "__main__":
    stage.main("split", split)
