"""What `lion ledger` does: look at, verify, export, import and prune what was paid for.

Works on the ledger's file beside whoever writes to it. A key is checked against its request before
it is believed: a colleague's file cannot put an answer under another question.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from lion.errors import AskError, DataError
from lion.llm.calls import Call, Entry
from lion.llm.ledger import ANSWERED, Ledger
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.prompting import protocol
from lion.records import jsonl
from lion.records.rows import FORMAT

_COLUMNS = ("endpoint", "request", "sample", "reply", "at")
_BATCH = 1000
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """The calls of one model or of one stage, in all revisions that the ledger served.

    `wasted` of the `calls` brought nothing; `failed` is their number. Latencies in seconds, None
    where no call was timed: one in a batch waits for hours, which says nothing of the server.
    """

    names: tuple[str, ...]
    calls: int
    failed: int
    tokens: int
    nanodollars: int
    unpriced: int
    p50: float | None
    p99: float | None

    @property
    def wasted(self) -> float:
        """The share of the calls that brought nothing."""
        return self.failed / self.calls if self.calls else 0.0


def by_model(path: Path) -> list[CallStatistics]:
    """Return the calls by endpoint and model, the most costly first."""
    groups = _groups(path, "endpoint", "model")
    return sorted(groups, key=lambda group: (-group.nanodollars, -group.calls))


def by_stage(path: Path) -> list[CallStatistics]:
    """Return the calls by stage, such as `review@2`, in the order of the first calls."""
    return _groups(path, "stage")


def _groups(path: Path, *names: str) -> list[CallStatistics]:
    import polars
    from polars import col

    query = (
        f"SELECT {', '.join(names)}, outcome != '{ANSWERED}' AS failed,"  # noqa: S608 - our own words
        " ifnull(prompt, 0) + ifnull(completion, 0) AS tokens, nanodollars, seconds"
        " FROM calls ORDER BY rowid"
    )
    with closing(_reading(path)) as connection:
        cursor = connection.execute(query)
        columns = [column for column, *_ in cursor.description]
        frame = polars.DataFrame(
            cursor.fetchall(),
            schema=columns,
            schema_overrides={"nanodollars": polars.Int64},
            orient="row",
        )
    timed = col("seconds").filter(col("seconds") > 0)
    summed = frame.group_by(names, maintain_order=True).agg(
        polars.len().alias("calls"),
        col("failed").sum(),
        col("tokens").sum(),
        col("nanodollars").sum(),
        col("nanodollars").is_null().sum().alias("unpriced"),
        timed.quantile(0.5).alias("p50"),
        timed.quantile(0.99).alias("p99"),
    )
    return [CallStatistics(row[: len(names)], *row[len(names) :]) for row in summed.iter_rows()]


def hit_rate(runs: Path) -> float | None:
    """Return the share of requests that the ledger answered in the last run of every stage."""
    needed = hits = 0
    for path in sorted(runs.glob("*.json")):
        for counts in files.read_metrics(path, RunRecord).asked.values():
            needed += counts.needed
            hits += counts.hits
    return hits / needed if needed else None


def failures(path: Path) -> dict[str, int]:
    """Return how many calls failed for which reason, the most frequent first."""
    query = (
        "SELECT outcome, count(*) FROM calls WHERE outcome != 'answered'"
        " GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    with closing(_reading(path)) as connection:
        return dict(connection.execute(query))


def ledger_problems(path: Path) -> list[str]:
    """Return what is wrong with the file or with a row of it, at most a hundred lines."""
    with closing(_reading(path)) as connection:
        texts = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        if texts:
            return [f"{path}: {text}" for text in texts[:_SHOWN]]
        problems = (_problem(key, row) for key, row in _rows(connection))
        return list(islice(filter(None, problems), _SHOWN))


def _problem(key: bytes, row: Mapping[str, Any]) -> str | None:
    if _key(row) != key:
        return f"{key.hex()}: the key does not belong to its request"
    outcome = protocol.parse(row["reply"])
    if isinstance(outcome, protocol.Failure) and not protocol.is_final(outcome):
        return f"{key.hex()}: {outcome.reason}: {outcome.detail}"
    return None


def export_replies(path: Path, out: Path) -> int:
    """Write every reply to `out`, JSONL or Parquet by its suffix; return their number.

    Requests and replies are JSON in both. Raises DataError.
    """
    with closing(_reading(path)) as connection:
        rows = (_as_json(row) for _, row in _rows(connection))
        if out.suffix == ".jsonl":
            return _write_lines(out, rows)
        if out.suffix == ".parquet":
            return _write_parquet(out, rows)
    raise DataError(f"{out}: .jsonl or .parquet is expected")


def import_replies(ledger: Ledger, source: Path) -> tuple[int, int]:
    """Add a colleague's ledger or export; return the counts of new and of known replies.

    Their calls are not ours: nothing is added to what was spent. Raises DataError before anything
    is added where a row does not belong to its key or cannot be read.
    """
    entries = list(_foreign(source))
    stored = ledger.stored_keys([entry.key for entry in entries])
    new = [entry for entry in entries if entry.key not in stored]
    for start in range(0, len(new), _BATCH):
        ledger.add(new[start : start + _BATCH])
    return len(new), len(entries) - len(new)


def _reading(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise DataError(f"{path}: no such ledger; `lion run` begins one")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
        connection.execute("SELECT key FROM replies LIMIT 1")
    except sqlite3.Error as error:
        raise AskError(f"{path}: the ledger cannot be read: {error}") from error
    return connection


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[bytes, dict[str, Any]]]:
    query = (
        "SELECT key, endpoint, CAST(request AS BLOB), sample, CAST(reply AS BLOB), at"
        " FROM replies ORDER BY at, key"
    )
    for key, *values in connection.execute(query):
        yield key, dict(zip(_COLUMNS, values, strict=True))


def _key(row: Mapping[str, Any]) -> bytes:
    return protocol.key_of(row["endpoint"], row["request"], row["sample"])


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    text = {name: row[name].decode("utf-8", "replace") for name in ("request", "reply")}
    return {"format": FORMAT, **row, **text}


def _write_lines(out: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with jsonl.replacing(out) as temporary, temporary.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _write_parquet(out: Path, rows: Iterator[dict[str, Any]]) -> int:
    import polars

    frame = polars.DataFrame(list(rows), infer_schema_length=None)
    with jsonl.replacing(out) as temporary:
        frame.write_parquet(temporary)
    return frame.height


def _foreign(source: Path) -> Iterator[Entry]:
    for number, row in enumerate(_foreign_rows(source), start=1):
        try:
            request, reply = (
                row[name].encode() if isinstance(row[name], str) else bytes(row[name])
                for name in ("request", "reply")
            )
            endpoint, sample = str(row["endpoint"]), int(row["sample"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{source}, row {number}: no reply of a ledger: {error!r}") from error
        outcome = protocol.parse(reply)
        if isinstance(outcome, protocol.Failure) and not protocol.is_final(outcome):
            raise DataError(f"{source}, row {number}: {outcome.reason}: {outcome.detail}")
        key = protocol.key_of(endpoint, request, sample)
        if row.get("key", key) != key:
            raise DataError(f"{source}, row {number}: the key does not belong to its request")
        yield Entry(key, request, sample, reply, Call(endpoint))


def _foreign_rows(source: Path) -> Iterator[Mapping[str, Any]]:
    if source.suffix == ".jsonl":
        yield from jsonl.read_objects(source)
    elif source.suffix == ".parquet":
        import polars

        try:
            rows = polars.read_parquet(source)
        except (polars.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{source}: cannot be read as Parquet: {error}") from error
        yield from rows.iter_rows(named=True)
    else:
        with closing(_reading(source)) as connection:
            yield from ({**row, "key": key} for key, row in _rows(connection))
