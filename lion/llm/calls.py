"""Calls as the ledger keeps them: what each used, and the reply or the reason of its failure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it happened: who was asked for which stage, and what it used and cost.

    Tokens are None where the server did not count; `nanodollars` None where the price is unknown.
    `reservation` is what `reserve` returned, to be settled by this call. `ratio` is the server's
    count over the call's upper bound, 0 where it is not known or not believed.
    """

    endpoint: str
    model: str = ""
    stage: str = ""
    prompt: int | None = None
    completion: int | None = None
    nanodollars: int | None = None
    seconds: float = 0.0
    reservation: int | None = None
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A reply to be kept: its key, the whole request, its bytes, and the call that brought it."""

    key: bytes
    request: bytes
    sample: int
    reply: bytes
    call: Call


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that brought no usable reply, and why."""

    key: bytes
    reason: str
    detail: str
    call: Call
