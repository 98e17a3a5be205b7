"""What live clients' calls in flight may use, for the other processes on the same ledger.

The ledger has the bound of each call (`reserved`); the table `live` has the sums of each client, a
`LedgerWriter`, with the margins above the bounds. A row counts while its client holds the lock
(flock) on a file of its own beside the ledger. The kernel ends the lock with the process, however
that ends; a process id would be used again, and is another one in a container.
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lion.errors import AskError
from lion.llm.caps import Amount

# belongs to no format of the ledger: it is made with the first call under a cap, and has no row
# where no call is in flight
_TABLE = """
CREATE TABLE IF NOT EXISTS live (
    client TEXT PRIMARY KEY,
    calls INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL,
    margin_tokens INTEGER NOT NULL,
    margin_nanodollars INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class InFlight:
    """The bounds of calls in flight, which the ledger has as reserved, and the margins above."""

    bounds: Amount = field(default_factory=Amount)
    margins: Amount = field(default_factory=Amount)

    def __add__(self, other: "InFlight") -> "InFlight":
        """Return the sums."""
        return InFlight(self.bounds + other.bounds, self.margins + other.margins)

    def __sub__(self, other: "InFlight") -> "InFlight":
        """Return the differences."""
        return InFlight(self.bounds - other.bounds, self.margins - other.margins)

    @property
    def total(self) -> Amount:
        """The most that these calls may use."""
        return self.bounds + self.margins


class LiveReservations:
    """The calls in flight of one client, by reservation, and the sums of the other clients.

    What takes a `connection` belongs into a transaction of the ledger.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._client = secrets.token_hex(8)
        self._lock: int | None = None  # a descriptor
        self._calls: dict[int, InFlight] = {}
        self._sum = InFlight()

    def without(self, settled: Iterable[int]) -> InFlight:
        """Return the sums of the calls in flight but the `settled` ones."""
        calls = (self._calls[number] for number in settled if number in self._calls)
        return self._sum - sum(calls, InFlight())

    def elsewhere(self, connection: sqlite3.Connection) -> InFlight:
        """Return the sums of the other live clients' calls. Deletes the rows of dead clients."""
        return _live(connection, self._ledger, self._client)

    def publish(self, connection: sqlite3.Connection, held: InFlight) -> None:
        """Write this client's sums for the others, where they have changed. Raises AskError."""
        if held == self._sum:
            return
        if not held.bounds.calls:
            connection.execute("DELETE FROM live WHERE client = ?", (self._client,))
            return
        if self._lock is None:
            self._lock = _lock(_lock_file(self._ledger, self._client))
        bounds, margins = held.bounds, held.margins
        connection.execute(
            "INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._client,
                bounds.calls,
                bounds.tokens,
                bounds.nanodollars,
                margins.tokens,
                margins.nanodollars,
            ),
        )

    def record(self, settled: Iterable[int], granted: Mapping[int, InFlight]) -> None:
        """Note what ended and what began, once the transaction is durable."""
        self._sum = self.without(settled) + sum(granted.values(), InFlight())
        for number in settled:
            self._calls.pop(number, None)
        self._calls.update(granted)

    def close(self) -> None:
        """Give up the lock: of calls that are not settled, the bounds alone count from here on."""
        if self._lock is not None:
            _lock_file(self._ledger, self._client).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def live_margins(connection: sqlite3.Connection, ledger: Path) -> Amount:
    """Return what the calls in flight of all clients may use above what the ledger has of them.

    To be called within a transaction of the ledger.
    """
    return _live(connection, ledger, "").margins


def _live(connection: sqlite3.Connection, ledger: Path, but: str) -> InFlight:
    connection.execute(_TABLE)
    live = InFlight()
    for client, *numbers in connection.execute("SELECT * FROM live").fetchall():
        if client == but:
            continue
        file = _lock_file(ledger, client)
        if _is_locked(file):
            calls, tokens, nanodollars, *margins = numbers
            live += InFlight(Amount(calls, tokens, nanodollars), Amount(0, *margins))
        else:
            connection.execute("DELETE FROM live WHERE client = ?", (client,))
            file.unlink(missing_ok=True)
    return live


def _lock_file(ledger: Path, client: str) -> Path:
    return ledger.with_name(f"{ledger.name}-live-{client}")


def _lock(path: Path) -> int:
    """Return a descriptor of a new file that holds its lock. Raises AskError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)  # others only look at it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        raise AskError(
            f"{path}: the file cannot be locked: {error}. A budget needs the ledger on a disk with "
            "locks."
        ) from error
    return descriptor


def _is_locked(path: Path) -> bool:
    """Return whether some process, this one included, holds the lock."""
    with suppress(FileNotFoundError):  # its client has ended
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False
