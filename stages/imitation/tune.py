"""tune: the student of the iteration before is fine-tuned on the new answers, and on old ones.

The loss is on the response alone. Where there is nothing new, no step is made: the student's folder
points to the one before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars

from lion import jsonl, project, stage
from lion.errors import DataError
from lion.instructions import pools
from lion.metrics.pools import TuneMetrics
from lion.model import chat, student
from lion.records import Dropped, Instruction, reasons
from lion.settings import Student, Tune

if TYPE_CHECKING:
    from lion.model.tuning import TuneReport

_CURVE = {
    "step": polars.Int64,
    "loss": polars.Float64,
    "learning_rate": polars.Float64,
    "tokens": polars.Int64,
}


def tune(work: stage.Work) -> str:
    """Write student/ and the training curve."""
    cache = jsonl.read(work.data("cache_pool.jsonl"), Instruction)
    new = {row.id for row in jsonl.read(work.data("train_pool.jsonl"), Instruction)}
    fresh = [row for row in cache if row.id in new]
    if not fresh:
        return _stand_still(work)
    student.load_libraries("transformers.trainer")  # and torch, which standing still does not need
    from lion.model import tuning_run

    tune_settings = work.settings.tune_at(work.iteration)
    rows = fresh + pools.replayed_at(
        work.depth, fresh, cache, tune_settings.replay, work.settings.random_seed
    )
    before = _student_before(work)
    examples = _examples(rows, before, work.settings.student)
    _refuse_too_long(examples, tune_settings)
    report = tuning_run.run(
        examples,
        student=before,
        out=work.data("student"),
        settings=work.settings,
        tune=tune_settings,
        random_seed=work.settings.random_seed + work.depth,
        name=f"tune@{work.iteration}",
    )
    _write(work, report, len(fresh), len(rows) - len(fresh))
    tuning_run.forget(f"tune@{work.iteration}")
    return f"{report.steps:,} steps on {len(fresh):,} new and {len(rows) - len(fresh):,} old rows"


def _student_before(work: stage.Work) -> Path:
    return project.BASE_STUDENT if work.iteration == project.BASE else work.before("student")


def _examples(rows: list[Instruction], before: Path, settings: Student) -> list[chat.Example]:
    encoder = chat.Encoder(student.load_tokenizer(before, settings), settings.prompt_format)
    return encoder.examples(
        [(row.id, row.messages, row.answer.text) for row in rows if row.answer is not None]
    )


def _refuse_too_long(examples: list[chat.Example], settings: Tune) -> None:
    """Raise TooManyDroppedError before a step is made where too many examples are left out."""
    from lion.model import tuning

    left_out = set(tuning.fit(examples, settings).too_long)
    longest = settings.max_length
    dropped = [
        Dropped("tune", "too_long", id=one.id, detail=f"{len(one.input_ids)} of {longest} tokens")
        for one in examples
        if one.id in left_out
    ]
    stage.check_dropped(dropped, settings.max_dropped, len(examples), "tune.max_dropped")


def _write(work: stage.Work, report: TuneReport | None, new: int = 0, old: int = 0) -> None:
    """Write the curve, what was too long and the metrics; zeros where there is no report."""
    curve = report.curve if report else ()
    too_long = report.too_long if report else ()
    with jsonl.replacing(project.metrics(work.iteration, "tune", "csv")) as temporary:
        polars.DataFrame(curve, schema=_CURVE).write_csv(temporary)
    dropped = [Dropped("tune", "too_long", id=one) for one in too_long]
    work.write_dropped(dropped)
    work.write_metrics(
        TuneMetrics(
            new_rows=new,
            old_rows=old,
            dropped=reasons(dropped),
            truncated=len(report.truncated) if report else 0,
            steps=report.steps if report else 0,
            supervised_tokens=report.tokens if report else 0,
            final_loss_nats=curve[-1].loss if curve else None,
        )
    )


def _stand_still(work: stage.Work) -> str:
    """Point to the student before: the loop has stopped, or generation brought nothing."""
    if work.iteration == project.BASE:
        raise DataError("the base pool has no answers to learn from; look at data/0/dropped.*")
    reason = f"no new instructions in iteration {work.iteration}"
    student.Pointer("student", work.previous, reason=reason).write(work.data("student"))
    _write(work, None)
    return f"no step: {reason}; the student is that of iteration {work.previous}"


if __name__ == "__main__":
    stage.main("tune", tune)
