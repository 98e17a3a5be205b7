"""What is asked for: one request ready to be sent, and all those of one `ask`."""

from dataclasses import dataclass

from lion.errors import TooManyDroppedError
from lion.prompting.protocol import Failure


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A distinct request, ready to be sent."""

    key: bytes
    body: bytes
    sample: int


@dataclass(slots=True)
class RequestSet:
    """The requests of one `ask`: a key each, and the places of those that nobody answered yet.

    `failed` are the billed refusals that are known: asking again would not help. `answered` tells
    whether the ledger has a reply of `who` to any request of this client.
    """

    who: str
    keys: list[bytes]
    distinct: int
    missing: list[int]
    failed: dict[bytes, Failure]
    allowed: int
    answered: bool

    @property
    def known(self) -> int:
        """How many distinct requests are answered."""
        return self.distinct - len(self.missing)

    def too_many(self) -> TooManyDroppedError | None:
        """Return the error of more failures than allowed, or None."""
        if len(self.failed) <= self.allowed:
            return None
        last = self.failed[next(reversed(self.failed))]
        return TooManyDroppedError(
            f"{self.who}: {len(self.failed)} requests failed, {self.allowed} are allowed; the "
            f"last: {last.reason}: {last.detail}. Everything answered so far is kept: run again "
            "to ask for the rest."
        )
