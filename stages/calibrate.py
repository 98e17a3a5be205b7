"""calibrate: the referee judges anchors, and a second referee judges a sample of its pairs.

Runs in the iterations that params name. The results decide nothing in the loop.
"""

from pathlib import Path

from lion import pools
from lion.config import project
from lion.discrimination import calibrate as calibration
from lion.discrimination.calibrate import Calibrated, calibrate
from lion.discrimination.pairwise import Pair
from lion.metrics.judging import (
    AgainstSecond,
    AgainstTruth,
    AgreementMetrics,
    CalibrateMetrics,
)
from lion.metrics.units import ShareEstimate
from lion.pipeline import stage
from lion.records.rows import Answer, Instruction, Verdict, reasons
from lion.statistics import Bootstrap


def main(work: stage.Work) -> str:
    """Write the reviews of the anchors and of the second referee, and their metrics."""
    files, settings = work.files, work.settings
    verdicts = files.read(work.data("verdicts.jsonl"), Verdict)
    responses: list[Answer] = []  # rows of another kind where the likelihood judged
    if settings.calibrate.second is not None:
        responses = files.read(work.data("responses.jsonl"), Answer)
    compared = calibration.second_sample(
        verdicts,
        # this iteration's Cache Pool has every judged row, with the same answers
        files.read(work.data("cache_pool.jsonl"), Instruction),
        responses,
        settings,
        depth=work.depth,
    )
    anchors = _anchors(work) if verdicts else []  # no requests once the loop has stopped
    templates = work.prompts("referee", good=work.settings.task.good)["referee"]
    calibrated = calibrate(anchors, compared, settings, work, templates)
    work.write_rows("anchor_reviews.jsonl", calibrated.anchors)
    work.write_rows("second_reviews.jsonl", calibrated.second)
    work.write_dropped(calibrated.dropped, len(calibrated.anchors) + len(calibrated.second))
    return _write_metrics(work, calibrated, verdicts)


def _anchors(work: stage.Work) -> list[Pair]:
    """Return the anchors: the same in every iteration, so later ones are ledger hits."""
    settings = work.settings
    limit, seed = settings.calibrate.anchor_rows, settings.random_seed
    source = settings.calibrate.anchors
    if source is None:
        return []
    if source == calibration.EXAM:
        exam = work.files.read(project.EXAM, Instruction)
        return calibration.exam_anchors(exam, settings.exam.scorer, limit, seed)
    rng = pools.rng_for(random_seed=seed, purpose="anchors", depth=0)
    return pools.sample(calibration.read_anchors(Path(source)), limit, rng)


def _write_metrics(work: stage.Work, calibrated: Calibrated, verdicts: list[Verdict]) -> str:
    evaluate = work.settings.evaluate
    tau = work.metrics(AgreementMetrics).noise.tau_points
    bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, work.settings.random_seed)
    ours = {row.id: row for row in verdicts}
    truth = calibration.against_truth(calibrated.anchors, tau, bootstrap)
    second = calibration.against_second(ours, calibrated.second, tau, bootstrap)
    work.write_metrics(
        CalibrateMetrics(
            anchors=truth,
            against_second=second,
            referee=calibrated.referee_usage,
            second=calibrated.second_usage,
            dropped=reasons(calibrated.dropped),
        )
    )
    return _sentence(truth, second)


def _sentence(truth: AgainstTruth, second: AgainstSecond) -> str:
    return (
        f"{truth.rows} anchors{_percent(truth.accuracy, ', the right answer ahead in')}; "
        f"{second.rows} rows before a second referee"
        f"{_percent(second.agreement, ', who agrees on')}"
    )


def _percent(estimate: ShareEstimate | None, label: str) -> str:
    return "" if estimate is None else f"{label} {100 * estimate.value_share:.1f} %"


if __name__ == "__main__":
    stage.run("calibrate", main)
