"""A run's files as polars frames: pools, verdicts, responses, and the metrics of its iterations.

Each reader checks `format`; a file that polars refuses is read again row by row, so that the error
names the line. Ids are not recomputed here.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from lion import iterations
from lion.config import project
from lion.conversations import TaskTemplate, variable_part
from lion.errors import DataError
from lion.iterations import IterationMetrics
from lion.metrics.certificates import CertifiedMetrics
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.files import M
from lion.metrics.pools import GenerateMetrics
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Tree
from lion.records import jsonl
from lion.records.rows import FORMAT, Answer, Instruction, Record, Verdict
from lion.reporting.domains import domain_name
from lion.reporting.pool_diff import Side

_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
_ANSWER = pl.Struct({"text": pl.String, "finish_reason": pl.String, "model": pl.String})
_INSTRUCTION: Mapping[str, Any] = {
    "format": pl.Int64,
    "id": pl.String,
    "messages": _MESSAGES,
    "origin": pl.String,
    "parent": pl.String,
    "iteration": pl.String,
    "category": pl.String,
    "domain": pl.String,
    "nearest": pl.List(pl.String),  # an id and a number: polars lists have one type
    "answer": _ANSWER,
}
_SCORES: Mapping[str, Any] = {
    "teacher_mean": pl.Float64,
    "student_mean": pl.Float64,
    "gap": pl.Float64,
}


def pool_frame(path: Path, task: TaskTemplate | None = None) -> pl.DataFrame:
    """Return a pool, one row per id, in the file's order. Raises DataError.

    Columns: id, text (a conversation's turns in their order; of a declared `task` what differs from
    row to row), origin, parent, iteration, category, domain, nearest (ROUGE-L F with the nearest
    row when it was kept, 0 to 1), answer (the teacher's text). What a row lacks is null.
    """
    text = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    if task is not None:
        text = pl.col("messages").map_elements(
            lambda turns: variable_part(list(turns), task), return_dtype=pl.String
        )
    return _read(path, _INSTRUCTION, Instruction).select(
        "id",
        text.alias("text"),
        *("origin", "parent", "iteration", "category", "domain"),
        pl.col("nearest").list.get(1, null_on_oob=True).cast(pl.Float64).alias("nearest"),
        pl.col("answer").struct.field("text").alias("answer"),
    )


def verdicts_frame(path: Path) -> pl.DataFrame:
    """Return verdicts: id, teacher_mean, student_mean, gap, difficulty, nats. Raises DataError.

    `nats` are those per token of the teacher's answer, null where another judge decided.
    """
    schema = {"format": pl.Int64, "id": pl.String, **_SCORES, "difficulty": pl.String}
    signal = pl.Struct({"nll_nats": pl.Float64})
    frame = _read(path, {**schema, "signal": signal}, Verdict)
    nats = pl.col("signal").struct.field("nll_nats").alias("nats")
    return frame.select(pl.all().exclude("signal"), nats)


def answers_frame(path: Path) -> pl.DataFrame:
    """Return answers: id, text. Raises DataError.

    Where the likelihood judged, only audited rows have a text.
    """
    text = {"text": pl.String}
    schema = {"format": pl.Int64, "id": pl.String, **text, "response": pl.Struct(text)}
    own = pl.coalesce("text", pl.col("response").struct.field("text")).alias("text")
    return _read(path, schema, Answer).select("id", own)


def _read(path: Path, schema: Mapping[str, Any], kind: type[Record]) -> pl.DataFrame:
    # an iteration after the loop had stopped; that of an older Lion is empty
    if path.stat().st_size == 0 or jsonl.has_no_rows(path):
        return pl.DataFrame(schema=schema).drop("format")
    # `read_ndjson` takes four times as long for nested rows.
    row = pl.col("row").str.json_decode(pl.Struct(dict(schema)))
    rows = pl.scan_lines(path, name="row").filter(pl.col("row") != "")
    try:
        frame = rows.select(row).unnest("row").collect()
    except pl.exceptions.PolarsError as error:
        jsonl.read(path, kind)
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
    wrong = frame.filter(pl.col("format").ne_missing(FORMAT) | pl.col("id").is_null())
    if not wrong.is_empty():
        jsonl.read(path, kind)
        raise DataError(f"{path}: rows without an id or of another format")
    return frame.drop("format").unique("id", keep="first", maintain_order=True)


PoolName = Literal["cache", "train"]


def side(place: Place, pool: PoolName = "cache") -> Side:
    """Return one side of a comparison. Raises DataError and RevisionError."""
    if place.file is not None:
        return Side(str(place.file), pool_frame(place.file, revisions.task_of(place.tree)))
    tree, iteration = place.tree, revisions.iteration_of(place)
    verdicts, responses = (
        tree.local(project.data(iteration, name)) for name in ("verdicts.jsonl", "responses.jsonl")
    )
    rows = _local_pool(tree, iteration, pool)
    with ThreadPoolExecutor() as readers:  # polars holds no lock while it reads
        judged = readers.submit(verdicts_frame, verdicts) if verdicts else None
        answered = readers.submit(answers_frame, responses) if responses else None
        read = pool_frame(rows, revisions.task_of(tree))
    return Side(
        name=iteration if tree.name == revisions.WORKSPACE else f"{tree.name}:{iteration}",
        rows=read,
        verdicts=judged.result() if judged else None,
        responses=answered.result() if answered else None,
        generated=_metrics(tree, iteration, GenerateMetrics),
        exam=_metrics(tree, iteration, EvaluateMetrics),
        certified=_metrics(tree, iteration, CertifiedMetrics),
    )


def judged_pool(place: Place, pool: PoolName = "cache") -> pl.DataFrame:
    """Return a pool with each row's latest verdict, up to the place's iteration.

    Columns: those of `pool_frame`, then those of `verdicts_frame`, judged (the iteration of the
    verdict) and response (the student's response that was judged); null for a row
    without verdict. Raises DataError and RevisionError.
    """
    if place.file is not None:
        return _with_verdicts(pool_frame(place.file, revisions.task_of(place.tree)), [])
    tree, iteration = place.tree, revisions.iteration_of(place)
    chain = revisions.lineage(revisions.iterations(tree), iteration)
    judged = [_judged(tree, name) for name in reversed(chain)]  # the latest first
    return _with_verdicts(
        pool_frame(_local_pool(tree, iteration, pool), revisions.task_of(tree)),
        [frame for frame in judged if frame is not None],
    )


def _judged(tree: Tree, iteration: str) -> pl.DataFrame | None:
    verdicts = _frame(tree, project.data(iteration, "verdicts.jsonl"), verdicts_frame)
    responses = _frame(tree, project.data(iteration, "responses.jsonl"), answers_frame)
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
            "difficulty": pl.String,
            "nats": pl.Float64,
            **dict.fromkeys(("judged", "response"), pl.String),
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


@dataclass(frozen=True, slots=True)
class Run:
    """A run up to `iteration`: metrics of all iterations and of its lineage, and its Cache Pool.

    `rows` are those of `judged_pool`, with a column `about` (see `described`).
    """

    tree: Tree
    iteration: str
    lines: Sequence[IterationMetrics]
    lineage: Sequence[IterationMetrics]
    rows: pl.DataFrame

    @property
    def has_domains(self) -> bool:
        """Whether rows have domain labels; else the categories of their seeds are shown."""
        return bool(self.rows.get_column("domain").is_not_null().any())

    def metrics(self, iteration: str, kind: type[M]) -> M | None:
        """Return a metrics file of an iteration, or None. Raises DataError."""
        return revisions.document(self.tree, project.metrics(iteration, kind.FILE), kind)


def read_run(tree: Tree, iteration: str, rows: pl.DataFrame) -> Run:
    """Return the run up to `iteration`. Raises DataError."""
    predecessors = revisions.iterations(tree)
    chain = revisions.lineage(predecessors, iteration)
    previous = {name: before for name, before in predecessors.items() if before is not None}
    lines = iterations.lines(previous, lambda path, kind: revisions.document(tree, path, kind))
    lineage = [line for line in lines if line.iteration in chain]
    return Run(tree, iteration, lines, lineage, described(rows))


def described(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with a column `about`: their domain, else the category of the row's seed.

    A pool lists parents before their children, so one pass finds every seed.
    """
    if rows.get_column("domain").is_not_null().any():
        named = pl.col("domain").map_elements(domain_name, return_dtype=pl.String)
        return rows.with_columns(named.alias("about"))
    about: dict[str, str | None] = {}
    for identity, parent, category in rows.select("id", "parent", "category").iter_rows():
        about[identity] = category if category is not None else about.get(parent)
    return rows.with_columns(pl.Series("about", list(about.values()), dtype=pl.String))
