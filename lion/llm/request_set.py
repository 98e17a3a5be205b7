"""What is asked for: one request ready to be sent, and all those of one `complete` call."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lion.config.settings import Endpoint
from lion.errors import TooManyDroppedError
from lion.prompting.protocol import Failure, Outcome
from lion.stage_table import Role

DropReason = Callable[[int, Outcome], str | None]
"""Returns why a phase drops the outcome of its request at an index, None where it keeps it."""

_CAP_NAMES = ("max_completion_tokens", "max_tokens")
_CUT_OFF = ("truncated", "cap_spent")
_SECTIONS = {"safety": "referee", "second": "calibrate.second"}
"""The section of params.yaml with a role's endpoint, where it is not called as the role is."""


def drop_failures(_: int, outcome: Outcome) -> str | None:
    """Return the reason of a failed request: what a phase drops that accepts every reply."""
    return outcome.reason if isinstance(outcome, Failure) else None


@dataclass(frozen=True, slots=True)
class DropLimit:
    """How many distinct requests may be dropped, and for what; None: any number.

    `parameter` is the name of the limit in params.yaml, for the message.
    """

    allowed: int | None = None
    reason: DropReason = drop_failures
    parameter: str = "max_dropped"


NO_LIMIT = DropLimit()


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A distinct request, ready to be sent; `index` is its place among those of the phase."""

    key: bytes
    body: bytes
    sample: int
    index: int = 0


@dataclass(slots=True)
class RequestSet:
    """The requests of one `complete` call: a key each, and the indices of those to be sent.

    `failed` holds the requests without a reply; `dropped` those that the phase drops for it, and
    those whose reply it rejects.
    """

    endpoint: Endpoint
    role: Role | None
    keys: list[bytes]
    distinct: int
    missing: list[int]
    limit: DropLimit
    failed: dict[bytes, Failure] = field(default_factory=dict)
    dropped: dict[bytes, Failure] = field(default_factory=dict)

    @property
    def stored(self) -> int:
        """The count of distinct requests that the ledger answers."""
        return self.distinct - len(self.missing)

    def record_outcome(self, key: bytes, index: int, outcome: Outcome) -> None:
        """Count an outcome where it is a failure, or where the phase drops it."""
        detail = outcome.detail if isinstance(outcome, Failure) else outcome.text
        if isinstance(outcome, Failure):
            self.failed[key] = outcome
        reason = self.limit.reason(index, outcome)
        if reason is not None:
            self.dropped[key] = Failure(reason, " ".join(detail.split())[:300])

    def too_many(self) -> TooManyDroppedError | None:
        """Return the error of more dropped requests than allowed, or None."""
        allowed = self.limit.allowed
        if allowed is None or len(self.dropped) <= allowed:
            return None
        last = self.dropped[next(reversed(self.dropped))]
        reasons = Counter(failure.reason for failure in self.dropped.values()).most_common()
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons)
        who = f"{self.endpoint.model} at {self.endpoint.base_url}"
        return TooManyDroppedError(
            f"{who}: {len(self.dropped)} of {self.distinct} requests dropped ({counts}), "
            f"{self.limit.parameter} allows {allowed}; the last: {last.reason}: {last.detail}. "
            f"{self._advice(reasons[0][0])}Everything answered so far is kept: run again to ask "
            "for the rest."
        )

    def _advice(self, reason: str) -> str:
        """Return what to change where most were cut off by the cap on tokens, or came too late."""
        if reason == "timeout":
            return "The server is too slow: raise `api.timeout`, or lower `api.concurrency`. "
        if reason not in _CUT_OFF:
            return ""
        section = _SECTIONS.get(self.role or "", self.role)
        place = f"{section}.request" if section else "request"
        request = self.endpoint.request
        for name in _CAP_NAMES:
            if name in request:
                return f"Raise the cap that cut them off, {place}.{name}: {request[name]}. "
        return f"The server's own limit cut them off: set {place}.max_tokens above it. "
