"""calibrate: the referee judges answers that are known, and a second one judges what it judged.

Only in the iterations that params name; nothing of it decides what the loop does.
"""

from pathlib import Path

from lion import pools
from lion.config import project
from lion.discrimination import anchors as calibrating
from lion.discrimination.calibrate import Calibrated, calibrate, drawn
from lion.discrimination.pairwise import Pair
from lion.metrics.judging import (
    AgainstSecond,
    AgainstTruth,
    AgreementMetrics,
    CalibrateMetrics,
)
from lion.metrics.units import ShareEstimate
from lion.pipeline import stage
from lion.records.rows import Answer, Instruction, Tally, Verdict, reasons
from lion.statistics import Bootstrap


def main(work: stage.Work) -> str:
    """Write the reviews of the anchors and of the second referee, and what they come to."""
    files, settings = work.files, work.settings
    verdicts = files.read(work.data("verdicts.jsonl"), Verdict)
    compared = drawn(
        verdicts,
        # the iteration's own Cache Pool: it holds all that was judged, with the same answers
        files.read(work.data("cache_pool.jsonl"), Instruction),
        files.read(work.data("responses.jsonl"), Answer),
        settings,
        depth=work.depth,
    )
    anchors = _anchors(work) if verdicts else []  # a loop that has stopped spends nothing
    templates = work.prompts("referee")["referee"]
    calibrated = calibrate(anchors, compared, settings, work, templates)
    # closing rows keep the files from being empty where nothing was asked
    closing = Tally("calibrate", 0)
    files.write(work.data("anchor_reviews.jsonl"), [*calibrated.anchors, closing])
    files.write(work.data("second_reviews.jsonl"), [*calibrated.second, closing])
    work.write_dropped(calibrated.dropped)
    return _write_metrics(work, calibrated, verdicts)


def _anchors(work: stage.Work) -> list[Pair]:
    """Return the anchors: the same in every iteration, so that the ledger knows them."""
    settings = work.settings
    limit, seed = settings.calibrate.anchor_rows, settings.random_seed
    source = settings.calibrate.anchors
    if source is None:
        return []
    if source == calibrating.EXAM:
        exam = work.files.read(project.EXAM, Instruction)
        return calibrating.made(exam, settings.exam.scorer, limit, seed)
    rng = pools.rng_for(random_seed=seed, purpose="anchors", depth=0)
    return pools.sample(calibrating.read_anchors(Path(source)), limit, rng)


def _write_metrics(work: stage.Work, calibrated: Calibrated, verdicts: list[Verdict]) -> str:
    evaluate = work.settings.evaluate
    tau = work.metrics(AgreementMetrics).noise.tau_points
    bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, work.settings.random_seed)
    ours = {row.id: row for row in verdicts}
    truth = calibrating.against_truth(calibrated.anchors, tau, bootstrap)
    second = calibrating.against_second(ours, calibrated.second, tau, bootstrap)
    work.write_metrics(
        CalibrateMetrics(
            anchors=truth,
            against_second=second,
            referee=calibrated.asked_referee,
            second=calibrated.asked_second,
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


def _percent(estimate: ShareEstimate | None, told: str) -> str:
    return "" if estimate is None else f"{told} {100 * estimate.value_share:.1f} %"


if __name__ == "__main__":
    stage.run("calibrate", main)
