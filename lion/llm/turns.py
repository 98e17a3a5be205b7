"""Turns of the clients on one ledger: a client that waits with no call in flight goes first.

Else a busy client, which refills what it frees at once, would keep a waiting one out until it ends.
A turn is a row that expires: one of a stopped or killed process delays the others for seconds.
"""

import secrets
import sqlite3
import time

_LEASE = 2.0
"""Seconds that a turn is kept after its client asked last; it asks every 0.2 s."""
_PRIORITY = 900.0
"""Seconds that a waiting client goes first: calls in flight end in that time.

Those of a stopped process never do."""
_REFRESH = 0.5  # seconds between two writes of a turn: each one is a sync of the disk

# belongs to no format of the ledger, as `live`
_TABLE = """
CREATE TABLE IF NOT EXISTS waiting (
    client TEXT PRIMARY KEY,
    since REAL NOT NULL,
    seen REAL NOT NULL
)
"""
_WAIT = (
    "INSERT INTO waiting VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET seen = excluded.seen"
    " WHERE abs(excluded.seen - seen) > ?3"
)


class QueuePlace:
    """One client's place in the queue. What takes a `connection` belongs into a transaction."""

    def __init__(self) -> None:
        self._client = secrets.token_hex(8)

    def has_come(self, connection: sqlite3.Connection) -> bool:
        """Return whether no other client waits, or this one waits the longest."""
        connection.execute(_TABLE)
        now = time.time()
        connection.execute("DELETE FROM waiting WHERE abs(? - seen) > ?", (now, _LEASE))
        query = "SELECT client FROM waiting WHERE since > ? ORDER BY since, client LIMIT 1"
        first = connection.execute(query, (now - _PRIORITY,)).fetchone()
        return first in (None, (self._client,))

    def keep_or_leave(self, connection: sqlite3.Connection, *, waits: bool) -> None:
        """Keep this client's place where it `waits`, or give it up."""
        connection.execute(_TABLE)
        if waits:
            connection.execute(_WAIT, (self._client, time.time(), _REFRESH))
        else:
            connection.execute("DELETE FROM waiting WHERE client = ?", (self._client,))
