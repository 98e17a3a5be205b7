"""The one retry policy: how often a request is sent again, and after how long (tenacity)."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from lion.config.settings import Api
from lion.llm.transport import RetryableError, ThrottledError


@dataclass(slots=True)
class Tries:
    """The tries of one request: `api.tries` calls, not counting a server's plea for patience.

    And no longer than `api.patience` seconds in all, whatever the calls say. None is begun where
    `has_ended`; `nap` sleeps between them.
    """

    api: Api
    has_ended: Callable[[], bool]
    nap: Callable[[float], Awaitable[None]]
    _throttled: int = 0

    def policy(
        self, before_sleep: Callable[[tenacity.RetryCallState], None]
    ) -> tenacity.AsyncRetrying:
        """Return the policy, to be used for this request alone."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=self._enough,
            wait=self._wait,
            sleep=self.nap,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        self._throttled += isinstance(_error(state), ThrottledError)
        return (
            self.has_ended()
            or (state.seconds_since_start or 0.0) > self.api.patience
            or state.attempt_number - self._throttled >= self.api.tries
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, RetryableError) and error.after is not None:
            # a little jitter, or all wake in the same instant
            return min(error.after, self.api.max_wait) * random.uniform(1.0, 1.1)  # noqa: S311
        return float(tenacity.wait_random_exponential(multiplier=0.5, max=self.api.max_wait)(state))


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
