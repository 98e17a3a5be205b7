"""The ledger: replies already paid for, one SQLite file outside DVC's outputs and git.

A reply is on disk (WAL, synchronous=FULL) before anything uses it. Failures are recorded beside
the replies and are never read back as answers: they stay retryable. Knows keys and bytes, not
what they mean.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lion.errors import AskError

FORMAT = 1
_LOOK_UP_CHUNK = 500

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    endpoint TEXT NOT NULL,
    request BLOB NOT NULL,
    sample INTEGER NOT NULL,
    reply BLOB NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS failures (
    key BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A reply to be kept: its key, whom it was asked of, the whole request, and its bytes."""

    key: bytes
    endpoint: str
    request: bytes
    sample: int
    reply: bytes


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that brought no usable reply, and why."""

    key: bytes
    endpoint: str
    reason: str
    detail: str


class Ledger:
    """An open ledger. Several processes may hold the same file open.

    Raises AskError where the file cannot be opened or is of a later format.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._prepare(path)
        except sqlite3.Error as error:
            raise AskError(
                f"{path}: the ledger cannot be opened: {error}. Look at the file and the disk; "
                "a copy of it keeps what was paid for."
            ) from error

    def _prepare(self, path: Path) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise AskError(
                f"{path}: the ledger has format {found}, this version reads up to {FORMAT}. "
                "Update Lion."
            )
        self._connection.executescript(_SCHEMA)
        self._connection.execute(f"PRAGMA user_version={FORMAT}")

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
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _LOOK_UP_CHUNK):
            chunk = keys[start : start + _LOOK_UP_CHUNK]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, reply FROM replies WHERE key IN ({marks})"  # noqa: S608 - marks are our own question marks
            try:
                found.update(self._connection.execute(query, chunk))
            except sqlite3.Error as error:
                raise AskError(
                    f"the ledger cannot be read: {error}. Look at the file and the disk; a copy "
                    "of it keeps what was paid for."
                ) from error
        return found

    def write(self, entries: Iterable[Entry | FailedCall]) -> None:
        """Write all `entries` in one transaction; they are durable on return.

        A key that is known already keeps its first reply.
        """
        replies, failures = [], []
        for entry in entries:
            if isinstance(entry, Entry):
                replies.append(
                    (entry.key, entry.endpoint, entry.request, entry.sample, entry.reply)
                )
            else:
                failures.append((entry.key, entry.endpoint, entry.reason, entry.detail))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR IGNORE INTO replies (key, endpoint, request, sample, reply)"
                " VALUES (?, ?, ?, ?, ?)",
                replies,
            )
            self._connection.executemany(
                "INSERT INTO failures (key, endpoint, reason, detail) VALUES (?, ?, ?, ?)",
                failures,
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise AskError(
                f"the ledger cannot be written: {error}. Make room on the disk and run again; "
                "every reply kept so far is safe."
            ) from error

    def count(self) -> int:
        """Return the number of replies kept."""
        return int(self._connection.execute("SELECT count(*) FROM replies").fetchone()[0])
