"""What was sent in batches and has not come back: remembered in the ledger's file.

Every step is on disk before the next one is taken, so that a crash never hides a batch that is
paid for. Knows keys, bytes and the provider's names, and sends nothing (see `batch_api`).
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import Endpoint
from lion.errors import BusyError
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.caps import Amount, Cap, Demand, Shortage
from lion.llm.ledger import Ledger
from lion.llm.live_reservations import InFlight, clients_in_flight
from lion.llm.request_set import PreparedRequest
from lion.llm.turns import QueuePlace
from lion.locks import held_by

PREPARED = "prepared"
"""Written down, and perhaps uploaded; whether the provider made a batch of it is not known."""
_CHUNK = 500
_COLUMNS = "token, endpoint, model, api_key_env, stage, requests, file, batch, status, detail, at"


@dataclass(frozen=True, slots=True)
class Submission:
    """One batch of ours. `token` is our name for it, `file` and `batch` are the provider's.

    `status` is `prepared`, or what the provider last said; `detail` what it said of a failure.
    """

    token: str
    endpoint: str
    model: str
    api_key_env: str | None
    stage: str
    requests: int
    file: str | None
    batch: str | None
    status: str
    detail: str
    at: str

    @property
    def who(self) -> Endpoint:
        """The endpoint to fetch it from, with address, model and key only."""
        return Endpoint(
            base_url=self.endpoint,
            model=self.model,
            api_key_env=self.api_key_env,
            send_seed=False,
            request={},
        )


class BatchStore:
    """The batches in a ledger. Every method raises AskError where the file cannot be used."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turn = QueuePlace()

    def prepare(
        self,
        who: Endpoint,
        stage: str,
        items: Sequence[PreparedRequest],
        most: Sequence[Amount] | None,
        cap: Cap,
    ) -> int:
        """Write down a batch of `items` and set aside `most` of each, in one transaction.

        Returns how many of them the budget allows: the others are left out. Raises BusyError, and
        sets nothing aside, where it may allow more once calls in flight have ended. Their clients
        begin no further one for a while.
        """
        token = secrets.token_hex(16)
        numbers: list[int | None] = [None] * len(items)
        holders: tuple[Path, ...] = ()
        with self._ledger.transaction() as connection:
            if most is not None:
                numbers, holders = self._reserve(connection, most, cap)
            pairs = zip(items, numbers, strict=True)
            rows = [
                (token, item.key, item.body, item.sample, number)
                for item, number in pairs
                if not holders and (most is None or number is not None)
            ]
            if rows:
                connection.execute(
                    "INSERT INTO batches"
                    " (token, endpoint, model, api_key_env, stage, requests, status)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (token, who.base_url, who.model, who.api_key_env, stage, len(rows), PREPARED),
                )
                connection.executemany("INSERT INTO batched VALUES (?, ?, ?, ?, ?)", rows)
        if holders:
            raise BusyError(
                "budget: what is left for a batch is reserved for calls in flight of other "
                f"processes on this ledger{held_by(*holders)}. Run again after that process, end "
                "it if it hangs, or raise `budget`."
            )
        return len(rows)

    def _reserve(
        self, connection: sqlite3.Connection, most: Sequence[Amount], cap: Cap
    ) -> tuple[list[int | None], tuple[Path, ...]]:
        """Set aside `most` of each; return the numbers, None where the cap is reached.

        Nothing where calls in flight are to be waited for: the lock files of their clients are
        returned then.
        """
        live = clients_in_flight(connection, self._ledger.path)
        held = sum(live.values(), InFlight())
        demands = [Demand(amount, amount) for amount in most]
        grants = self._ledger.grant(demands, cap, held.margins, held.total)
        numbers = [grant[0] if isinstance(grant, tuple) else None for grant in grants]
        waits = Shortage(elsewhere=True) in grants
        self._turn.keep_or_leave(connection, waits=waits)
        if waits:
            self._ledger.release(number for number in numbers if number is not None)
        return numbers, tuple(live) if waits else ()

    def open(self, who: Endpoint | None = None) -> list[Submission]:
        """Return what has not come back, the oldest first; of one endpoint and model, or of all."""
        with self._ledger.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM batches WHERE NOT closed ORDER BY rowid"  # noqa: S608 - our own columns
            )
            submissions = [Submission(*row) for row in rows]
        return [
            row
            for row in submissions
            if who is None or (row.endpoint, row.model) == (who.base_url, who.model)
        ]

    def note(self, token: str, *, status: str, file: str | None, batch: str | None) -> None:
        """Remember what the provider said."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE batches SET status = ?, file = ?, batch = ? WHERE token = ?",
                (status, file, batch, token),
            )

    def requests(self, token: str) -> list[tuple[bytes, bytes]]:
        """Return key and body of every request of a batch that is not settled."""
        with self._ledger.transaction() as connection:
            return connection.execute(
                "SELECT key, request FROM batched WHERE token = ? AND request IS NOT NULL"
                " ORDER BY rowid",
                (token,),
            ).fetchall()

    def sent(self, token: str) -> list[bytes]:
        """Return the keys of a batch that are not settled."""
        query = "SELECT key FROM batched WHERE token = ? AND request IS NOT NULL ORDER BY rowid"
        with self._ledger.transaction() as connection:
            return [key for (key,) in connection.execute(query, (token,))]

    def unsettled(
        self, token: str, keys: Sequence[bytes]
    ) -> dict[bytes, tuple[PreparedRequest, int | None]]:
        """Return those of `keys` (a few hundred) that a batch has not settled, by key.

        Each with its request and the number of what is set aside for it.
        """
        marks = ",".join("?" * len(keys))
        query = (
            "SELECT key, request, sample, reservation FROM batched"  # noqa: S608 - question marks
            f" WHERE token = ? AND request IS NOT NULL AND key IN ({marks})"
        )
        with self._ledger.transaction() as connection:
            rows = connection.execute(query, (token, *keys)).fetchall()
        return {
            key: (PreparedRequest(key, body, sample), number) for key, body, sample, number in rows
        }

    def settle(
        self,
        token: str,
        entries: Sequence[Entry | FailedCall],
        untried: Collection[bytes] = (),
    ) -> None:
        """Keep what came back, and forget that it is awaited, in one transaction.

        A failed request counts as tried in a batch, unless its key is in `untried`.
        """
        tried = [
            (token, row.key)
            for row in entries
            if isinstance(row, FailedCall) and row.key not in untried
        ]
        done = [(token, row.key) for row in entries if isinstance(row, Entry) or row.key in untried]
        with self._ledger.transaction() as connection:
            self._ledger.write(entries)
            connection.executemany("DELETE FROM batched WHERE token = ? AND key = ?", done)
            connection.executemany(
                "UPDATE batched SET request = NULL, reservation = NULL WHERE token = ? AND key = ?",
                tried,
            )

    def close(self, token: str, status: str, detail: str = "") -> None:
        """End a batch, all of which is settled."""
        with self._ledger.transaction() as connection:
            _close(connection, token, status, detail)

    def undo(self, token: str, detail: str) -> None:
        """End a batch that the provider refused as a whole: nothing of it was asked or billed."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "DELETE FROM reserved WHERE id IN"
                " (SELECT reservation FROM batched WHERE token = ? AND reservation IS NOT NULL)",
                (token,),
            )
            connection.execute("DELETE FROM batched WHERE token = ?", (token,))
            _close(connection, token, "failed", detail)

    def forget(self, submission: Submission) -> int:
        """Give a batch up, as calls that may have been billed; return how many requests it had."""
        with self._ledger.transaction() as connection:
            rows = connection.execute(
                "SELECT key, tokens, nanodollars, reservation FROM batched"
                " LEFT JOIN reserved ON reserved.id = reservation"
                " WHERE token = ? AND request IS NOT NULL",
                (submission.token,),
            ).fetchall()
            lost = [
                FailedCall(
                    key,
                    "batch_forgotten",
                    submission.batch or submission.token,
                    Call(
                        submission.endpoint,
                        submission.model,
                        submission.stage,
                        prompt=tokens or None,
                        nanodollars=money or None,
                        reservation=number,
                    ),
                )
                for key, tokens, money, number in rows
            ]
            self.settle(submission.token, lost)
            _close(connection, submission.token, "forgotten", "")
        return len(lost)

    def awaited(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that are in an open batch."""
        return set(self._count(keys, "request IS NOT NULL"))

    def tried(self, keys: Sequence[bytes]) -> Counter[bytes]:
        """Return how often each of `keys` came back from a batch without a reply."""
        return self._count(keys, "request IS NULL")

    def _count(self, keys: Sequence[bytes], which: str) -> Counter[bytes]:
        counts: Counter[bytes] = Counter()
        with self._ledger.transaction() as connection:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT key FROM batched WHERE {which} AND key IN ({marks})"  # noqa: S608 - our own words and question marks
                counts.update(key for (key,) in connection.execute(query, chunk))
        return counts

    def queue_refused(self, who: Endpoint, reason: str) -> int | None:
        """Return the requests of the newest batch that failed for `reason` within a day, or None.

        Older ones say nothing of today's limits.
        """
        with self._ledger.transaction() as connection:
            row = connection.execute(
                "SELECT requests FROM batches WHERE endpoint = ? AND model = ? AND detail LIKE ?"
                " AND at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')"
                " ORDER BY rowid DESC LIMIT 1",
                (who.base_url, who.model, f"{reason}%"),
            ).fetchone()
        return None if row is None else int(row[0])


def _close(connection: sqlite3.Connection, token: str, status: str, detail: str) -> None:
    connection.execute(
        "UPDATE batches SET status = ?, detail = ?, closed = 1 WHERE token = ?",
        (status, detail, token),
    )
