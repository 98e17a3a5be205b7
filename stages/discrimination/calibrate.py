"""calibrate: the referee judges answers that are known, and a second one judges what it judged.

Only in the iterations that params name; nothing of it decides what the loop does.
"""

from collections.abc import Sequence
from pathlib import Path

from lion import jsonl, project, stage
from lion.instructions import pools
from lion.judgement import calibrating, judging
from lion.judgement.judging import Pair
from lion.judgement.measures import Bootstrap
from lion.metrics import files
from lion.metrics.judging import (
    AgainstSecond,
    AgainstTruth,
    AgreementMetrics,
    CalibrateMetrics,
)
from lion.metrics.units import RoleUsage, ShareEstimate
from lion.records import Answer, Instruction, Review, Tally, Verdict, reasons
from lion.settings import Referee

_Judged = tuple[list[Review], RoleUsage | None]


def calibrate(work: stage.Work) -> str:
    """Write the reviews of the anchors and of the second referee, and what they come to."""
    settings = work.settings
    verdicts = jsonl.read(work.data("verdicts.jsonl"), Verdict)
    anchors = _anchors(work) if verdicts else []  # a loop that has stopped spends nothing
    known, by_known = _judge(work, anchors, None)
    compared = _drawn(work, verdicts) if settings.calibrate.second else []
    again, by_second = _judge(work, compared, settings.calibrate.second)
    dropped = judging.dropped([*known, *again], "calibrate")
    share = settings.evaluate.max_dropped
    stage.check_dropped(dropped, share, len(known) + len(again), "evaluate.max_dropped")
    # closing rows keep the files from being empty where nothing was asked
    jsonl.write(work.data("anchor_reviews.jsonl"), [*known, Tally("calibrate", 0)])
    jsonl.write(work.data("second_reviews.jsonl"), [*again, Tally("calibrate", 0)])
    work.write_dropped(dropped)
    tau = _tau(work)
    evaluate = settings.evaluate
    bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
    ours = {row.id: row for row in verdicts}
    truth = calibrating.against_truth(known, tau, bootstrap)
    second = calibrating.against_second(ours, again, tau, bootstrap)
    work.write_metrics(
        CalibrateMetrics(
            anchors=truth,
            against_second=second,
            referee=by_known,
            second=by_second,
            dropped=reasons(dropped),
        )
    )
    return _sentence(truth, second)


def _tau(work: stage.Work) -> float:
    found = files.read(project.metrics(work.iteration, "agreement"), AgreementMetrics)
    return found.noise.tau_points


def _judge(work: stage.Work, pairs: Sequence[Pair], second: Referee | None) -> _Judged:
    if not pairs:
        return [], None
    return judging.by_referee(work, pairs, work.settings.evaluate.max_dropped, second)


def _anchors(work: stage.Work) -> list[Pair]:
    """Return the anchors: the same in every iteration, so that the ledger knows them."""
    settings = work.settings
    limit, seed = settings.calibrate.anchor_rows, settings.random_seed
    source = settings.calibrate.anchors
    if source is None:
        return []
    if source == calibrating.EXAM:
        exam = jsonl.read(project.EXAM, Instruction)
        return calibrating.made(exam, settings.exam.scorer, limit, seed)
    rng = pools.draw(random_seed=seed, purpose="anchors", depth=0)
    return pools.sample(calibrating.read(Path(source)), limit, rng)


def _drawn(work: stage.Work, verdicts: Sequence[Verdict]) -> list[Pair]:
    """Return what the second referee judges, of what the first one decided in both orders."""
    settings = work.settings
    decided = [row.id for row in verdicts if row.gap is not None and row.basis == "both_orders"]
    rng = pools.draw(random_seed=settings.random_seed, purpose="second", depth=work.depth)
    drawn = pools.sample(decided, settings.calibrate.second_rows, rng)
    # the iteration's own Cache Pool: it holds all that was judged, with the same answers
    cache = jsonl.read(work.data("cache_pool.jsonl"), Instruction)
    responses = jsonl.read(work.data("responses.jsonl"), Answer)
    rows, answers = {row.id: row for row in cache}, {row.id: row for row in responses}
    return [judging.pair(rows[identity], answers[identity]) for identity in drawn]


def _sentence(truth: AgainstTruth, second: AgainstSecond) -> str:
    return (
        f"{truth.rows} anchors{_percent(truth.accuracy, ', the right answer ahead in')}; "
        f"{second.rows} rows before a second referee"
        f"{_percent(second.agreement, ', who agrees on')}"
    )


def _percent(found: ShareEstimate | None, told: str) -> str:
    return "" if found is None else f"{told} {100 * found.value_share:.1f} %"


if __name__ == "__main__":
    stage.main("calibrate", calibrate)
