"""split: hard or easy by the gap, and whether the loop goes on."""

from collections import Counter
from dataclasses import asdict as fields_of
from dataclasses import replace

from msgspec.structs import asdict

from lion.discrimination import judge_reliability, verdicts
from lion.discrimination.split import Divided, split
from lion.metrics.judging import (
    AgreementMetrics,
    Audited,
    CalibrationMetrics,
    Counted,
    Noise,
    SplitMetrics,
    Stop,
)
from lion.metrics.units import ShareEstimate
from lion.pipeline import stage
from lion.records.rows import Review, Selection, Verdict


def main(work: stage.Work) -> str:
    """Write verdicts.jsonl, stop.json, and how far full judging would agree.

    Where no one reads verdicts there are none, and the loop goes on.
    """
    no_reader = work.settings.no_reader_at(work.iteration)
    divided = _divided(work)
    if no_reader is not None:
        divided = replace(divided, stop_reason=None)
    reason = divided.stop_reason
    work.write_rows("verdicts.jsonl", divided.verdicts)
    work.files.write_metrics(work.data("stop.json"), Stop(stop=reason is not None, reason=reason))
    counts = _write_metrics(work, divided)
    if no_reader is not None:
        return f"no verdicts: {no_reader}"
    counted = f"{counts.hard:,} hard, {counts.easy:,} easy, {counts.undecided:,} undecided"
    return counted if reason is None else f"{counted}; the loop stops: {reason}"


def _divided(work: stage.Work) -> Divided:
    files = work.files
    return split(
        files.read(work.data("selection.jsonl"), Selection),
        files.read(work.data("reviews.jsonl"), Review),
        files.read(work.before("verdicts.jsonl"), Verdict),
        work.metrics(CalibrationMetrics).noise_points,
        work.settings.split,
        random_seed=work.settings.random_seed,
        depth=work.depth,
    )


def _write_metrics(work: stage.Work, divided: Divided) -> Counted:
    counts = verdicts.measures(divided.verdicts)
    agreement = verdicts.agreement(divided.audit)
    share = None if agreement is None else agreement.value
    stopped = divided.stop_reason
    work.write_metrics(SplitMetrics(**asdict(counts), agreement_share=share, stopped=stopped))
    within = judge_reliability.within(divided.verdicts, divided.tau, divided.noise)
    basis = Counter(row.basis for row in divided.verdicts)
    work.write_metrics(
        AgreementMetrics(
            agreement=ShareEstimate.of(agreement),
            audit=Audited(**fields_of(divided.audit)),
            contradictions=divided.contradictions,
            noise=Noise(
                deviation_points=divided.noise, tau_points=divided.tau, within_share=within
            ),
            basis=dict(sorted(basis.items())),
            likelihood_auc=divided.likelihood_auc,
        )
    )
    return counts


if __name__ == "__main__":
    stage.run("split", main)
