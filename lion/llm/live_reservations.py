"""What live clients' calls in flight may use, for the other processes on the same ledger.

The ledger has the bound of each call (`reserved`); the table `live` has the sums of each client, a
`LedgerWriter`, with the margins above the bounds. A row counts while its client holds the lock
(flock) on a file of its own beside the ledger. The kernel ends the lock with the process, however
that ends; a process id would be used again, and is another one in a container.
"""

import fcntl
import glob
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
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


class LockError(AskError):
    """The lock of a client cannot be taken or looked at."""


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
        self._closed = False
        self.others: tuple[Path, ...] = ()
        """Lock files of the other live clients with calls in flight, at the last look."""
        self._calls: dict[int, InFlight] = {}
        self._sum = InFlight()

    def without(self, settled: Iterable[int]) -> InFlight:
        """Return the sums of the calls in flight but the `settled` ones."""
        calls = (self._calls[number] for number in settled if number in self._calls)
        return self._sum - sum(calls, InFlight())

    def elsewhere(self, connection: sqlite3.Connection) -> InFlight:
        """Return the sums of the other live clients' calls. Raises LockError."""
        live = clients_in_flight(connection, self._ledger, but=self._client)
        self.others = tuple(live)
        return sum(live.values(), InFlight())

    def publish(self, connection: sqlite3.Connection, held: InFlight) -> None:
        """Write this client's sums for the others, where they have changed. Raises LockError.

        Nothing after `close`: an abandoned thread may still be at work, and sends nothing.
        """
        if self._closed or held == self._sum:
            return
        if not held.bounds.calls:
            connection.execute("DELETE FROM live WHERE client = ?", (self._client,))
            return
        if self._lock is None:
            _remove_unlocked(self._ledger)
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
        self._closed = True
        if self._lock is not None:
            _lock_file(self._ledger, self._client).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def clients_in_flight(
    connection: sqlite3.Connection, ledger: Path, but: str = ""
) -> dict[Path, InFlight]:
    """Return the sums of all live clients' calls `but` one's, by lock file. Raises LockError.

    Deletes the rows of dead clients. To be called within a transaction of the ledger.
    """
    connection.execute(_TABLE)
    live = {}
    rows = connection.execute("SELECT * FROM live WHERE client != ?", (but,)).fetchall()
    for client, *numbers in rows:
        file = _lock_file(ledger, client)
        if _is_locked(file):
            calls, tokens, nanodollars, *margins = numbers
            live[file] = InFlight(Amount(calls, tokens, nanodollars), Amount(0, *margins))
        else:
            connection.execute("DELETE FROM live WHERE client = ?", (client,))
            _remove(file)
    return live


def _lock_file(ledger: Path, client: str) -> Path:
    return ledger.with_name(f"{ledger.name}-live-{client}")


def _remove_unlocked(ledger: Path) -> None:
    """Remove lock files that have no row: their clients were killed with no call in flight.

    No client is between the making of its file and its lock: both lie in one transaction.
    """
    for file in ledger.parent.glob(f"{glob.escape(ledger.name)}-live-*"):
        with suppress(LockError):  # of another user: it does no harm
            if not _is_locked(file):
                _remove(file)


def _remove(file: Path) -> None:
    with suppress(OSError):  # of another user: it does no harm
        file.unlink(missing_ok=True)


def _lock(path: Path) -> int:
    """Return a descriptor of a new file that holds its lock. Raises LockError."""
    with _translated(path):
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)  # others only look at it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
    return descriptor


def _is_locked(path: Path) -> bool:
    """Return whether some process, this one included, holds the lock. Raises LockError."""
    with _translated(path), suppress(FileNotFoundError):  # its client has ended
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LockError(
            f"{path}: the lock cannot be used: {error.strerror}. A budget needs the ledger on a "
            "disk with locks, and files that this user may read: move the ledger to a local disk, "
            "or run as the user of the other process."
        ) from error
