"""The rate at which an endpoint may be asked: limits configured, and limits learnt.

A 429 lowers the rate once per round trip, seconds without one raise it again (additive increase,
multiplicative decrease, as in TCP). Sends nothing and retries nothing.
"""

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Clock = Callable[[], float]

_CUT = 0.98
"""Share of the served rate that a 429 leaves."""
_RISE = 0.01
"""Share of the rate that the first second without a 429 adds; each later second adds twice that."""
_WINDOW = 2.0
"""Seconds over which the served rate is measured."""
_LEAST_SPAN = 0.05
_BURST = 0.5
"""Seconds of the rate that may start at once, after a stall of the event loop (a slow disk, a burst
of replies)."""
_LONGEST_NAP = 0.25
_LONGEST_RESET = 366 * 86400.0  # seconds; a longer one is no limit that fills up again
_ALL_REFUSED = 3  # 429s in a row: all calls wait
_FEW = 10  # replies within the window: too few to lower the rate after one 429


@dataclass(slots=True)
class TokenBucket:
    """Units that are added at `rate` a second, up to `_BURST` seconds of them and at least one."""

    rate: float
    clock: Clock
    level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        """Start full."""
        self.level = self._most
        self._at = self.clock()

    @property
    def _most(self) -> float:
        return max(1.0, self.rate * _BURST)

    def wait(self) -> float:
        """Return the seconds until units may be taken."""
        now = self.clock()
        self.level = min(self._most, self.level + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, -self.level / self.rate) if self.level < 0 else 0.0

    def take(self, units: float) -> None:
        """Take `units`; the level may fall below zero, and the next call waits."""
        self.level -= units


class AdaptiveRateLimiter:
    """Lets calls start in the order of their `acquire`, as fast as the limits allow.

    `requests` and `tokens` are limits a minute, None where unknown.
    """

    def __init__(
        self, requests: float | None, tokens: float | None, clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._most = requests / 60 if requests else None
        self._requests = TokenBucket(self._most, clock) if self._most else None
        self._tokens = TokenBucket(tokens / 60, clock) if tokens else None
        self._served: deque[float] = deque()
        self._usual = 0.0  # tokens of a call, a running mean
        self._began = self._cut_at = self._risen_at = clock()
        self._blocked_until = -float("inf")
        self._was_cut = False
        self._refused_in_a_row = 0
        self._turns: deque[tuple[asyncio.Future[float], int]] = deque()
        self._giving: asyncio.Task[None] | None = None

    @property
    def rate(self) -> float | None:
        """Calls a second that may start now; None where nothing limits them."""
        return self._requests.rate if self._requests else None

    async def acquire(self, tokens: int) -> float:
        """Wait until a call of about `tokens` may start; return when (seconds, monotonic)."""
        if not self._turns and self._wait() <= 0:
            return self._take(tokens)
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._turns.append((turn, tokens))
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give_turns())
        return await turn

    def release_all(self) -> None:
        """Let every waiting call go on: its batch stops, and it is not sent."""
        while self._turns:
            turn, _ = self._turns.popleft()
            if not turn.done():
                turn.set_result(self._clock())

    async def _give_turns(self) -> None:
        """Let calls start; an error here is raised by every `acquire` that waits."""
        try:
            await self._give_all()
        except Exception as error:  # raised where the turns are waited for
            for turn, _ in self._turns:
                if not turn.done():
                    turn.set_exception(error)
            self._turns.clear()

    async def _give_all(self) -> None:
        """Let calls start in their order, all that may at once: not one per turn of the loop."""
        while self._turns:
            wait = self._wait()
            if wait > 0:
                await asyncio.sleep(min(wait, _LONGEST_NAP))  # the rate may change meanwhile
                continue
            turn, tokens = self._turns[0]
            if not turn.done():  # else it was cancelled
                turn.set_result(self._take(tokens))
            self._turns.popleft()

    def _take(self, tokens: int) -> float:
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(self._usual or tokens)
        return self._clock()

    def _wait(self) -> float:
        buckets = [bucket for bucket in (self._requests, self._tokens) if bucket]
        return max(self._blocked_until - self._clock(), *(bucket.wait() for bucket in buckets), 0.0)

    def record_reply(self, tokens: int, headers: Mapping[str, str]) -> None:
        """Count a call that was answered, with `tokens` of prompt and completion together."""
        self.record_response()
        if self._tokens:
            self._tokens.take(tokens - (self._usual or tokens))
        self._usual += (tokens - self._usual) / 20 if self._usual else tokens
        self._learn(headers)

    def record_response(self) -> None:
        """Count a call that the server's limits let through, with whatever result."""
        now = self._clock()
        self._refused_in_a_row = 0
        self._served.append(now)
        while self._served[0] < now - _WINDOW:
            self._served.popleft()
        self._rise(now)

    def _rise(self, now: float) -> None:
        """Raise the rate once a second, up to the known limit."""
        if self._requests is None or now < self._risen_at + 1:
            return
        self._risen_at = now
        calm = min(10, int(now - self._cut_at))  # seconds
        self._requests.rate *= 1 + min(1.0, _RISE * 2 ** (calm - 1))
        if self._most is not None:
            self._requests.rate = min(self._requests.rate, self._most)

    def record_throttled(self, started: float, after: float | None) -> None:
        """Lower the rate after a 429 to a call that began at `started`; `after` is its Retry-After.

        Both in seconds. A call that began before the last cut changes nothing. After several 429s
        in a row all calls wait for `after`.
        """
        now = self._clock()
        self._refused_in_a_row += 1
        if after is not None and self._refused_in_a_row >= _ALL_REFUSED:
            self._blocked_until = max(self._blocked_until, now + after)
        if self._was_cut and started < self._cut_at:
            return
        if len(self._served) < _FEW and self._refused_in_a_row < _ALL_REFUSED:
            return  # too few replies so far: the 429 may concern this request alone
        span = min(_WINDOW, now - self._began)
        measured = max(1.0, len(self._served)) / max(span, _LEAST_SPAN)
        rate = _CUT * min(measured, self.rate or measured)
        if self._requests is None:
            self._requests = TokenBucket(rate, self._clock)
        self._requests.rate = rate
        self._cut_at = self._risen_at = now
        self._was_cut = True

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Read the limits that OpenAI and others send with each reply.

        The used part of a limit is available again after `reset`: the two give its rate, whether it
        counts by the minute or by the day.
        """
        if self._most is None:
            limit = _header_rate(headers, "requests")
            if limit is not None:
                self._most = limit
                self._requests = self._requests or TokenBucket(limit, self._clock)
        if self._tokens is None:
            limit = _header_rate(headers, "tokens")
            if limit is not None:
                self._tokens = TokenBucket(limit, self._clock)


def _header_rate(headers: Mapping[str, str], kind: str) -> float | None:
    """Return a limit in units a second, or None where the headers give none."""
    try:
        limit = float(headers[f"x-ratelimit-limit-{kind}"])
        left = float(headers[f"x-ratelimit-remaining-{kind}"])
        seconds = _duration(headers[f"x-ratelimit-reset-{kind}"])
    except (KeyError, ValueError):
        return None
    if not all(map(math.isfinite, (limit, left, seconds))):
        return None
    if limit <= 0 or not 0 < seconds <= _LONGEST_RESET or not 0 <= left < limit:
        return None
    return (limit - left) / seconds


def _duration(text: str) -> float:
    """Return the seconds of `6m0s`, `1.5s`, `120ms` or `3`. Raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"no duration: {text!r}")
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(number) * scale[unit] for number, unit in parts)
