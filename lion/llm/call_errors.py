"""What a call may fail of, by what helps: another attempt, a wait, another request, or none."""

from lion.errors import EndpointError
from lion.prompting.protocol import Failure


class CallError(Exception):
    """A call without a usable reply; `after` is the server's Retry-After in seconds.

    `billable` where the server may have worked, and charged, for it all the same.
    """

    def __init__(
        self, failure: Failure, after: float | None = None, *, billable: bool = False
    ) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.after = after
        self.billable = billable


class RetryableError(CallError):
    """Another attempt may succeed."""


class ThrottledError(RetryableError):
    """The server asks to wait (429); the request itself is accepted."""


class RefusedError(CallError):
    """The server refuses this request for its content; asking again would not help."""


class EndpointRefusedError(EndpointError):
    """The server refuses whatever it is asked; `failure` is what it said of this request."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure
