"""What a place names, gathered into frames: its pool, verdicts, answers and figures. Reads only."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import polars as pl

from lion.config import project
from lion.errors import DataError
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.files import M
from lion.metrics.pools import GenerateMetrics
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Tree
from lion.reporting import pool_frames
from lion.reporting.pool_diff import Side

PoolName = Literal["cache", "train"]


def side(place: Place, pool: PoolName = "cache") -> Side:
    """Return one side of a comparison. Raises DataError and RevisionError."""
    if place.file is not None:
        return Side(str(place.file), pool_frames.pool_frame(place.file))
    tree, iteration = place.tree, revisions.iteration_of(place)
    verdicts, responses = (
        tree.local(project.data(iteration, name)) for name in ("verdicts.jsonl", "responses.jsonl")
    )
    rows = _local_pool(tree, iteration, pool)
    with ThreadPoolExecutor() as readers:  # polars holds no lock while it reads
        judged = readers.submit(pool_frames.verdicts_frame, verdicts) if verdicts else None
        answered = readers.submit(pool_frames.answers_frame, responses) if responses else None
        read = pool_frames.pool_frame(rows)
    return Side(
        name=iteration if tree.name == revisions.WORKSPACE else f"{tree.name}:{iteration}",
        rows=read,
        verdicts=judged.result() if judged else None,
        responses=answered.result() if answered else None,
        generated=_metrics(tree, iteration, GenerateMetrics),
        exam=_metrics(tree, iteration, EvaluateMetrics),
    )


def judged_pool(place: Place, pool: PoolName = "cache") -> pl.DataFrame:
    """Return a pool with what was last found out about each row, up to the place's iteration.

    The columns of `frames.pool_frame`, then teacher_mean, student_mean, gap, difficulty, judged
    (the iteration of that verdict) and response (the student's answer that it judged); null where
    the row was never judged. Raises DataError and RevisionError.
    """
    if place.file is not None:
        return _with_verdicts(pool_frames.pool_frame(place.file), [])
    tree, iteration = place.tree, revisions.iteration_of(place)
    chain = revisions.lineage(revisions.iterations(tree), iteration)
    judged = [_judged(tree, name) for name in reversed(chain)]  # the latest first
    return _with_verdicts(
        pool_frames.pool_frame(_local_pool(tree, iteration, pool)),
        [frame for frame in judged if frame is not None],
    )


def _judged(tree: Tree, iteration: str) -> pl.DataFrame | None:
    verdicts = _frame(tree, project.data(iteration, "verdicts.jsonl"), pool_frames.verdicts_frame)
    responses = _frame(tree, project.data(iteration, "responses.jsonl"), pool_frames.answers_frame)
    if verdicts is None or responses is None:
        return None
    return verdicts.with_columns(pl.lit(iteration).alias("judged")).join(
        responses.rename({"text": "response"}), on="id", how="left"
    )


def _with_verdicts(pool: pl.DataFrame, judged: list[pl.DataFrame]) -> pl.DataFrame:
    none = pl.DataFrame(
        schema={
            "id": pl.String,
            **dict.fromkeys(("teacher_mean", "student_mean", "gap"), pl.Float64),
            **dict.fromkeys(("difficulty", "judged", "response"), pl.String),
        }
    )
    latest = pl.concat([none, *judged]).unique("id", keep="first", maintain_order=True)
    return pool.join(latest, on="id", how="left", maintain_order="left")


def _local_pool(tree: Tree, iteration: str, pool: PoolName) -> Path:
    path = project.data(iteration, f"{pool}_pool.jsonl")
    local = tree.local(path)
    if local is None:
        raise DataError(
            f"{path}: {tree.name} has no such file: no run made it, or nothing brought it here. "
            "`lion run`, `dvc checkout` or `dvc pull` may."
        )
    return local


def _frame(tree: Tree, path: Path, read: Callable[[Path], pl.DataFrame]) -> pl.DataFrame | None:
    local = tree.local(path)
    return None if local is None else read(local)


def _metrics(tree: Tree, iteration: str, kind: type[M]) -> M | None:
    return revisions.document(tree, project.metrics(iteration, kind.FILE), kind)
