"""report: the iterations of params side by side, as CSV for plots and spreadsheets.

The list of iterations comes from params, never from the files that happen to lie there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import polars

from lion import console
from lion import iterations as summary
from lion.config import project
from lion.pipeline import dvc_project, revisions, stage
from lion.records import jsonl
from lion.reporting import certificates, table
from lion.reporting.worth import MarkedRun, worth_sentences

_COLUMNS = (
    "iteration",
    "previous",
    "accuracy_share",
    "teacher_accuracy_share",
    "quality_percent",
    "hard_share",
    "mean_gap_points",
    "train_pool",
    "cache_pool",
    "asked",
    "kept",
    "requests",
    "tokens",
)


def main(work: stage.Work) -> str:
    """Write report/progress.csv and report/loss.csv."""
    iterations = {name: iteration.previous for name, iteration in work.settings.iterations.items()}
    _complete([project.BASE, *iterations])
    lines = summary.lines(iterations)
    rows = [{column: getattr(line, column) for column in _COLUMNS} for line in lines]
    _write(Path("report/progress.csv"), polars.DataFrame(rows, infer_schema_length=None))
    curves = [
        # as texts: a curve without a step has no types
        polars.read_csv(project.metrics(line.iteration, "tune", "csv"), infer_schema=False).select(
            polars.lit(line.iteration).alias("iteration"), polars.all()
        )
        for line in lines
    ]
    _write(Path("report/loss.csv"), polars.concat(curves, how="diagonal"))
    if project.TABLE_FOLLOWS not in os.environ:
        sentences = certificates.closing_sentences(lines, work.settings)
        worth = worth_sentences(lines, MarkedRun(work.settings))
        console.stdout.print(table.closing(lines, sentences, worth))
    return f"{len(lines)} iterations side by side; `lion table` prints them again"


def _complete(iterations: Sequence[str]) -> None:
    """Bring the metrics that this clone never pulled.

    DVC fetches no file for a stage that depends on a folder, so a figure of an older iteration
    would be a hole after `dvc repro --pull --allow-missing`.
    """
    folders = [Path("metrics") / name for name in iterations]
    missing = [path for folder in folders for path in dvc_project.absent_outputs(folder)]
    if missing:
        revisions.bring(missing)


def _write(path: Path, frame: polars.DataFrame) -> None:
    with jsonl.replacing(path) as temporary:
        frame.write_csv(temporary)


if __name__ == "__main__":
    stage.run("report", main)
