"""The retry policy: how often a request is sent again, and after how long (tenacity)."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from lion.config.settings import Api
from lion.llm.call_errors import RetryableError, ThrottledError


@dataclass(slots=True)
class RetryPolicy:
    """The attempts of one request: `api.tries` calls, those answered with 429 not counted.

    All attempts and waits together take `api.max_request_seconds` at most. No attempt begins where
    `is_stopping`; `sleep` waits between them.
    """

    api: Api
    is_stopping: Callable[[], bool]
    sleep: Callable[[float], Awaitable[None]]
    _throttled: int = 0

    def attempts(
        self, before_sleep: Callable[[tenacity.RetryCallState], None]
    ) -> tenacity.AsyncRetrying:
        """Return the attempts as tenacity iterates over them, for this request only."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=self._is_exhausted,
            wait=self._wait,
            sleep=self.sleep,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _is_exhausted(self, state: tenacity.RetryCallState) -> bool:
        self._throttled += isinstance(_error(state), ThrottledError)
        return (
            self.is_stopping()
            or (state.seconds_since_start or 0.0) > self.api.max_request_seconds
            or state.attempt_number - self._throttled >= self.api.tries
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, RetryableError) and error.after is not None:
            # a little jitter, or all requests wake in the same instant
            return min(error.after, self.api.max_wait) * random.uniform(1.0, 1.1)  # noqa: S311
        return float(tenacity.wait_random_exponential(multiplier=0.5, max=self.api.max_wait)(state))


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
