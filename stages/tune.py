"""tune: the student of the iteration before is fine-tuned on the new answers, and on old ones.

The loss is on the response alone. Where there is nothing new, no step is made: the student's folder
points to the one before.
"""

import polars

from lion.config import project
from lion.config.settings import Tune
from lion.errors import DataError
from lion.metrics.pools import TuneMetrics
from lion.pipeline import stage
from lion.records import jsonl
from lion.records.rows import Dropped, Instruction, Verdict, reasons
from lion.student import checkpoint
from lion.training import finetune_job
from lion.training.tune import Tuned, tune

_CURVE = {
    "step": polars.Int64,
    "loss": polars.Float64,
    "learning_rate": polars.Float64,
    "tokens": polars.Int64,
    "validation_loss": polars.Float64,
}


def main(work: stage.Work) -> str:
    """Write student/, the training curve, and which old rows were replayed."""
    cache = work.files.read(work.data("cache_pool.jsonl"), Instruction)
    new = {row.id for row in work.files.read(work.data("train_pool.jsonl"), Instruction)}
    is_base = work.iteration == project.BASE
    before = project.BASE_STUDENT if is_base else work.before("student")
    rules = _rules(work)
    if rules is None:
        return _stand_still(work)
    out = work.data("student")
    verdicts: list[Verdict] = []
    if rules.replay_choice == "forgotten":
        verdicts = work.files.read(work.data("verdicts.jsonl"), Verdict)
    tuned = tune(
        cache,
        new,
        before,
        out,
        work.settings,
        rules,
        finetune_job.fine_tuning(work.settings, work.name),
        depth=work.depth,
        verdicts=verdicts,
    )
    if tuned is None:
        return _stand_still(work)
    _write(work, tuned)
    return f"{tuned.report.steps:,} steps on {tuned.new:,} new and {len(tuned.replayed):,} old rows"


def _rules(work: stage.Work) -> Tune | None:
    """Return how to tune: a baseline for as many steps as its iteration; None if that made none."""
    rules = work.settings.tune_at(work.iteration)
    if work.baseline is None:
        return rules
    steps = work.metrics(TuneMetrics, work.baseline.like).steps
    return rules.model_copy(update={"steps": steps, "epochs": None}) if steps else None


def _write(work: stage.Work, tuned: Tuned | None) -> None:
    """Write the curve, what was too long and the metrics; zeros where nothing was tuned."""
    report = tuned.report if tuned else None
    best = report.best if report else None
    curve = report.curve if report else ()
    with jsonl.replacing(project.metrics(work.iteration, "tune", "csv")) as temporary:
        frame = polars.DataFrame(curve, schema=_CURVE)
        frame = frame if best else frame.drop("validation_loss")
        frame.write_csv(temporary)
    dropped = [Dropped("tune", "too_long", id=id) for id in (report.too_long if report else ())]
    work.write_dropped(dropped, (report.examples if report else 0) + len(dropped))
    ids = tuned.replayed if tuned else ()
    work.files.write_document(work.data("replayed.json"), {"ids": list(ids)})
    work.write_metrics(
        TuneMetrics(
            new_rows=tuned.new if tuned else 0,
            old_rows=len(tuned.replayed) if tuned else 0,
            dropped=reasons(dropped),
            truncated=len(report.truncated) if report else 0,
            steps=report.steps if report else 0,
            supervised_tokens=report.tokens if report else 0,
            final_loss_nats=curve[-1].loss if curve else None,
            validation_rows=tuned.validated if tuned and best else None,
            best_step=best.step if best else None,
            validation_loss_nats=best.loss if best else None,
        )
    )


def _stand_still(work: stage.Work) -> str:
    """Point to the student before: the loop has stopped, or generation brought nothing."""
    if work.iteration == project.BASE:
        raise DataError("the base pool has no answers to learn from; look at data/0/dropped.*")
    reason = f"no new instructions in iteration {work.iteration}"
    checkpoint.Pointer("student", work.previous, reason=reason).write(work.data("student"))
    _write(work, None)
    return f"no step: {reason}; the student is that of iteration {work.previous}"


if __name__ == "__main__":
    stage.run("tune", main)
