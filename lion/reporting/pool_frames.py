"""Pools, verdicts and answers as polars frames: what reads 60,000 rows at once.

Each reader checks `format`; a file that polars refuses is read again row by row, for the message
that names the line. Ids are not recomputed here. Decides nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lion.errors import DataError
from lion.records import jsonl
from lion.records.rows import FORMAT, Answer, Instruction, Record, Verdict

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
    "nearest": pl.List(pl.String),  # an id and a number, so both as text
    "answer": _ANSWER,
}
_SCORES: Mapping[str, Any] = {
    "teacher_mean": pl.Float64,
    "student_mean": pl.Float64,
    "gap": pl.Float64,
}


def pool_frame(path: Path) -> pl.DataFrame:
    """Return a pool, one row per id, in the file's order. Raises DataError.

    Columns: id, text (a conversation's turns in their order), origin, parent, iteration, category,
    domain, nearest (ROUGE-L F with the nearest row when it was kept, 0 to 1), answer (the teacher's
    text). What a row lacks is null.
    """
    text = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    return _read(path, _INSTRUCTION, Instruction).select(
        "id",
        text.alias("text"),
        *("origin", "parent", "iteration", "category", "domain"),
        pl.col("nearest").list.get(1, null_on_oob=True).cast(pl.Float64).alias("nearest"),
        pl.col("answer").struct.field("text").alias("answer"),
    )


def verdicts_frame(path: Path) -> pl.DataFrame:
    """Return verdicts: id, teacher_mean, student_mean, gap, difficulty. Raises DataError."""
    schema = {"format": pl.Int64, "id": pl.String, **_SCORES, "difficulty": pl.String}
    return _read(path, schema, Verdict)


def answers_frame(path: Path) -> pl.DataFrame:
    """Return answers: id, text. Raises DataError."""
    schema = {"format": pl.Int64, "id": pl.String, "text": pl.String}
    return _read(path, schema, Answer)


def _read(path: Path, schema: Mapping[str, Any], kind: type[Record]) -> pl.DataFrame:
    if path.stat().st_size == 0:  # the loop had stopped
        return pl.DataFrame(schema=schema).drop("format")
    # Lines, then one decoding: `read_ndjson` takes four times as long over nested rows.
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
