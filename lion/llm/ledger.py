"""The ledger: replies already paid for, one SQLite file outside DVC's outputs and git.

A reply is on disk (WAL, synchronous=FULL) before anything uses it. Every call is recorded with what
it used, the failed ones too, which are never read back as answers: they stay retryable. Knows keys,
bytes and amounts, not what they mean.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from lion import console
from lion.errors import AskError
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.caps import Amount, Cap, Demand, Shortage
from lion.locks import held_by
from lion.prompting.reply_document import valid_text

FORMAT = 3
ANSWERED = "answered"
_LOOK_UP_CHUNK = 500
_LOCK_TIMEOUT, _LOCK_POLL, _LOCK_NOTICE = 60.0, 0.01, 5.0  # seconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    endpoint TEXT NOT NULL,
    request BLOB NOT NULL,
    sample INTEGER NOT NULL,
    reply BLOB NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS calls (
    key BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    stage TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    prompt INTEGER,
    completion INTEGER,
    nanodollars INTEGER,
    seconds REAL NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS reserved (
    id INTEGER PRIMARY KEY,
    tokens INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS spent (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    calls INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL,
    unpriced INTEGER NOT NULL
);
INSERT OR IGNORE INTO spent VALUES (1, 0, 0, 0, 0);
CREATE TABLE IF NOT EXISTS batches (
    token TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    api_key_env TEXT,
    stage TEXT NOT NULL,
    requests INTEGER NOT NULL,
    file TEXT,
    batch TEXT,
    status TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    closed INTEGER NOT NULL DEFAULT 0,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS batched (
    token TEXT NOT NULL,
    key BLOB NOT NULL,
    request BLOB,
    sample INTEGER NOT NULL,
    reservation INTEGER
);
CREATE INDEX IF NOT EXISTS batched_key ON batched (key);
CREATE INDEX IF NOT EXISTS batched_token ON batched (token);
"""
_SPEND = (
    "UPDATE spent SET calls = calls + ?, tokens = tokens + ?,"
    " nanodollars = nanodollars + ?, unpriced = unpriced + ?"
)
# belongs to no format: it is made with the first count above a bound
_RATIOS = """
CREATE TABLE IF NOT EXISTS ratios (
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (endpoint, model)
)
"""
_LEARN_RATIO = (
    "INSERT INTO ratios VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET ratio = max(ratio, excluded.ratio)"
)
_INTERRUPTED = " WHERE id NOT IN (SELECT reservation FROM batched WHERE reservation IS NOT NULL)"
# format 2 has no batches; format 1 kept only failed calls, without tokens and money
_FROM_1 = """
INSERT INTO calls (key, endpoint, model, stage, outcome, detail, seconds, at)
    SELECT key, endpoint, '', '', reason, detail, 0, at FROM failures;
INSERT INTO calls (key, endpoint, model, stage, outcome, detail, seconds, at)
    SELECT key, endpoint, '', '', 'answered', '', 0, at FROM replies;
UPDATE spent SET calls = (SELECT count(*) FROM calls), unpriced = (SELECT count(*) FROM calls);
DROP TABLE failures;
"""

_NOTHING = Amount()


class Ledger:
    """An open ledger. Several processes may hold the same file open.

    Raises AskError where the file cannot be opened or is of a later format.
    """

    def __init__(self, path: Path) -> None:
        # SQLite follows links as well; what lies beside the file is beside the target
        self.path = path.resolve()
        self._joined = False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(
                path, timeout=_LOCK_NOTICE, isolation_level=None, check_same_thread=False
            )
            self._refuse_later(path)  # before anything of the file is changed
            self._use_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            self._prepare()
        except sqlite3.Error as error:
            raise AskError(
                f"{path}: the ledger cannot be opened: {error}. Look at the file and the disk; "
                "a copy of it keeps what was paid for."
            ) from error

    def _use_wal(self) -> None:
        """Switch to the write-ahead log, and wait while another process does the same.

        SQLite answers this pragma with "locked" at once: its own time-out does not hold here.
        """
        deadline = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_LOCK_POLL)

    def _format(self) -> int:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _refuse_later(self, path: Path) -> None:
        version = self._format()
        if version > FORMAT:
            self._connection.close()
            raise AskError(
                f"{path}: the ledger has format {version}, this version reads up to {FORMAT}. "
                "Update Lion."
            )

    def _prepare(self) -> None:
        if self._format() == FORMAT:
            return
        with self._transaction():
            version = self._format()  # another process may have come first
            script = _SCHEMA + (_FROM_1 if version == 1 else "") if version < FORMAT else ""
            for statement in filter(str.strip, script.split(";\n")):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={FORMAT}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run a block as one transaction, durable at its end, or as a part of `transaction`."""
        if self._joined:
            yield
            return
        self._wait_for_lock("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _wait_for_lock(self, statement: str) -> None:
        """Execute a statement that needs the lock; say from time to time who holds it."""
        deadline = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                self._connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            index = self.path.with_name(f"{self.path.name}-shm")  # SQLite's locks in this mode
            console.say(
                f"waiting for the ledger{held_by(self.path, index)}. It is written by one process "
                "at a time: end that one if it hangs"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block, and all methods called in it, in one transaction. Raises AskError."""
        with self._writing(), self._transaction():
            self._joined = True
            try:
                yield self._connection
            finally:
                self._joined = False

    def __enter__(self) -> Self:
        """Return the ledger itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._connection.close()

    def look_up(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the replies' bytes of those `keys` that are known. Raises AskError."""
        return dict(self._select("key, reply", keys))

    def stored_keys(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that have a reply. Raises AskError."""
        return {key for (key,) in self._select("key", keys)}

    def has_failed(self, key: bytes, reason: str, times: int) -> bool:
        """Return whether calls for `key` failed for `reason`, so many `times` at least."""
        query = "SELECT count(*) FROM calls WHERE key = ? AND outcome = ?"
        return int(self._rows(query, (key, reason))[0][0]) >= times

    def answered_request(self, endpoint: str, model: str) -> tuple[bytes, bytes, int] | None:
        """Return key, body and sample of the last request that `model` there has answered.

        An imported reply counts, though no call brought it.
        """
        query = (
            "SELECT key, request, sample FROM replies WHERE endpoint = ?"
            " AND instr(CAST(request AS TEXT), ?) > 0 ORDER BY rowid DESC LIMIT 1"
        )
        values = (endpoint, f'"model":{orjson.dumps(model).decode()}')
        return next(iter(self._rows(query, values)), None)

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterator[Any]:
        for start in range(0, len(keys), _LOOK_UP_CHUNK):
            chunk = keys[start : start + _LOOK_UP_CHUNK]
            marks = ",".join("?" * len(chunk))
            yield from self._rows(f"SELECT {columns} FROM replies WHERE key IN ({marks})", chunk)  # noqa: S608 - our own words and question marks

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return the rows of a query. Raises AskError where the file cannot be read."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise AskError(
                f"the ledger cannot be read: {error}. Look at the file and the disk; a copy "
                "of it keeps what was paid for, and `lion ledger verify` names what is damaged."
            ) from error

    def add(self, entries: Iterable[Entry]) -> None:
        """Keep replies that somebody else paid for. Raises AskError."""
        with self._writing(), self._transaction():
            self._keep(entries)

    def prune(self) -> int:
        """Forget failed calls, and settle interrupted ones; return their number.

        What was spent stays counted, and what interrupted calls had set aside, the most they can
        have cost, is counted as spent. What open batches have set aside stays so. No other process
        may be asking meanwhile. Raises AskError.
        """
        with self._writing():
            with self._transaction():
                lost = self._reserved(_INTERRUPTED)
                self._connection.execute(_SPEND, (lost.calls, lost.tokens, lost.nanodollars, 0))
                failed = self._connection.execute("DELETE FROM calls WHERE outcome != 'answered'")
                reserved = self._connection.execute(f"DELETE FROM reserved{_INTERRUPTED}")  # noqa: S608 - our own words
            self._wait_for_lock("VACUUM")
        return failed.rowcount + reserved.rowcount

    def _keep(self, entries: Iterable[Entry]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO replies (key, endpoint, request, sample, reply)"
            " VALUES (?, ?, ?, ?, ?)",
            [(row.key, row.call.endpoint, row.request, row.sample, row.reply) for row in entries],
        )

    def write(self, entries: Iterable[Entry | FailedCall]) -> None:
        """Write all `entries` in one transaction; they are durable on return.

        A key that is known already keeps its first reply. Raises AskError.
        """
        rows = list(entries)
        calls = [row.call for row in rows]
        with self._writing(), self._transaction():
            self._keep(row for row in rows if isinstance(row, Entry))
            self._connection.executemany(
                "INSERT INTO calls (key, endpoint, model, stage, outcome, detail, prompt,"
                " completion, nanodollars, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_call_row(row) for row in rows],
            )
            self._connection.executemany(
                "DELETE FROM reserved WHERE id = ?",
                [(call.reservation,) for call in calls if call.reservation is not None],
            )
            self._connection.execute(_SPEND, _sums(calls))
            self._learn_ratios(calls)

    def grant(
        self,
        demands: Sequence[Demand],
        cap: Cap,
        margins: Amount = _NOTHING,
        elsewhere: Amount = _NOTHING,
        *,
        turn: bool = True,
    ) -> list[tuple[int, Amount] | Shortage]:
        """Set aside the bound of each demand; return its number and what it may use at most.

        A shortage where too little is left of `cap` beside what is spent and set aside, the
        `margins` of live calls above that, and the demands before. `elsewhere` is what other
        clients' calls hold of all this: beside them no call is alone. Without a `turn` another
        client comes first, and nothing is set aside. What a killed process had set aside stays so:
        its calls may have been billed. Raises AskError.
        """
        granted: list[tuple[int, Amount] | Shortage] = []
        with self._writing(), self._transaction():
            total = self._spent() + self._reserved() + margins
            for demand in demands:
                least = self._least(demand)
                amount = demand.within(cap, total, None if elsewhere.calls else least)
                if amount is None or not turn:
                    fits = demand.within(cap, total - elsewhere, least) is not None
                    granted.append(Shortage(elsewhere=fits))
                    continue
                granted.append((self._set_aside(demand.bound), amount))
                total += amount
        return granted

    def _least(self, demand: Demand) -> Amount | None:
        return demand.alone and demand.bound.times(self.largest_ratio(*demand.alone))

    def largest_ratio(self, endpoint: str, model: str) -> float:
        """Return the largest count of a reply over its upper bound so far, at least 1."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'ratios'"):
            return 1.0
        query = "SELECT ratio FROM ratios WHERE endpoint = ? AND model = ?"
        ratios: list[float] = [ratio for (ratio,) in self._rows(query, (endpoint, model))]
        return max([1.0, *ratios])

    def _learn_ratios(self, calls: Sequence[Call]) -> None:
        """Remember counts above the upper bound, for every later call of every process."""
        rows = [(call.endpoint, call.model, call.ratio) for call in calls if call.ratio > 1]
        if rows:
            self._connection.execute(_RATIOS)
            self._connection.executemany(_LEARN_RATIO, rows)

    def _set_aside(self, amount: Amount) -> int:
        cursor = self._connection.execute(
            "INSERT INTO reserved (tokens, nanodollars) VALUES (?, ?)",
            (amount.tokens, amount.nanodollars),
        )
        return int(cursor.lastrowid or 0)

    def release(self, numbers: Iterable[int]) -> None:
        """Remove the reservations (by id) of calls that were never sent. Raises AskError."""
        with self._writing(), self._transaction():
            self._connection.executemany(
                "DELETE FROM reserved WHERE id = ?", [(number,) for number in numbers]
            )

    def spent(self) -> tuple[Amount, Amount]:
        """Return what was spent, and what is set aside for calls in flight or interrupted."""
        return self._spent(), self._reserved()

    def _spent(self) -> Amount:
        query = "SELECT calls, tokens, nanodollars, unpriced FROM spent"
        return Amount(*self._rows(query)[0])

    def _reserved(self, which: str = "") -> Amount:
        query = "SELECT count(*), ifnull(sum(tokens), 0), ifnull(sum(nanodollars), 0) FROM reserved"
        return Amount(*self._rows(query + which)[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AskError(
                f"the ledger cannot be written: {error}. Make room on the disk and run again; "
                "every reply kept so far is safe."
            ) from error

    def count(self) -> int:
        """Return the number of replies kept."""
        return int(self._rows("SELECT count(*) FROM replies")[0][0])


def _call_row(row: Entry | FailedCall) -> tuple[object, ...]:
    outcome, detail = (ANSWERED, "") if isinstance(row, Entry) else (row.reason, row.detail)
    call = row.call
    used = (call.prompt, call.completion, call.nanodollars, call.seconds)
    words = map(valid_text, (outcome, detail))  # a server's may end in half a surrogate pair
    return (row.key, call.endpoint, call.model, call.stage, *words, *used)


def _sums(calls: Sequence[Call]) -> tuple[int, int, int, int]:
    tokens = sum((call.prompt or 0) + (call.completion or 0) for call in calls)
    money = sum(call.nanodollars or 0 for call in calls)
    return len(calls), tokens, money, sum(call.nanodollars is None for call in calls)
