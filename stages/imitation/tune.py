"""tune: the student of the iteration before is fine-tuned on the new answers, and on old ones.

The loss is on the response alone. Where there is nothing new, no step is made: the student's folder
points to the one before.
"""

from pathlib import Path

import polars

from lion import chat, console, jsonl, pools, project, stage, student, tuning
from lion.errors import DataError
from lion.records import Dropped, Instruction
from lion.settings import Student

_CURVE = {
    "step": polars.Int64,
    "loss": polars.Float64,
    "learning_rate": polars.Float64,
    "tokens": polars.Int64,
}


def tune(work: stage.Work) -> str:
    """Write student/ and the training curve."""
    cache = jsonl.read(work.data("cache_pool.jsonl"), Instruction.from_row)
    new = {row.id for row in jsonl.read(work.data("train_pool.jsonl"), Instruction.from_row)}
    fresh = [row for row in cache if row.id in new]
    if not fresh:
        return _stand_still(work)
    tune_settings = work.settings.tune_at(work.iteration)
    rng = pools.draw(random_seed=work.settings.random_seed, purpose="replay", depth=work.depth)
    rows = fresh + pools.replayed(fresh, cache, tune_settings.replay, rng)
    before = _student_before(work)
    examples = _examples(rows, before, work.settings.student)
    with console.progress(f"tune@{work.iteration}") as update:
        report = tuning.tune(
            examples,
            student=before,
            out=work.data("student"),
            settings=work.settings.student,
            tune=tune_settings,
            random_seed=work.settings.random_seed + work.depth,
            progress=lambda step, steps, _loss: update(step, steps),
        )
    _write(work, report, len(fresh), len(rows) - len(fresh))
    return f"{report.steps:,} steps on {len(fresh):,} new and {len(rows) - len(fresh):,} old rows"


def _student_before(work: stage.Work) -> Path:
    return project.BASE_STUDENT if work.iteration == project.BASE else work.before("student")


def _examples(rows: list[Instruction], before: Path, settings: Student) -> list[chat.Example]:
    encoder = chat.Encoder(student.load_tokenizer(before, settings), settings.prompt_format)
    return encoder.examples(
        [(row.id, row.messages, row.answer.text) for row in rows if row.answer is not None]
    )


def _write(work: stage.Work, report: tuning.TuneReport, new: int, old: int) -> None:
    with jsonl.replacing(project.metrics(work.iteration, "tune", "csv")) as temporary:
        polars.DataFrame(report.curve, schema=_CURVE).write_csv(temporary)
    work.write_dropped([Dropped("tune", "too_long", id=one) for one in report.too_long])
    work.write_metrics(
        {
            "new_rows": new,
            "old_rows": old,
            "too_long": len(report.too_long),
            "steps": report.steps,
            "supervised_tokens": report.tokens,
            "final_loss": report.curve[-1].loss if report.curve else None,
        }
    )


def _stand_still(work: stage.Work) -> str:
    """Point to the student before: the loop has stopped, or generation brought nothing."""
    if work.iteration == project.BASE:
        raise DataError("the base pool has no answers to learn from; look at data/0/dropped.*")
    reason = f"no new instructions in iteration {work.iteration}"
    student.Pointer("student", work.previous, reason=reason).write(work.data("student"))
    _write(work, tuning.TuneReport((), 0, 0, 0, ()), 0, 0)
    return f"no step: {reason}; the student is that of iteration {work.previous}"


if __name__ == "__main__":
    stage.main("tune", tune)
