"""Whole servers for the benches of asking, as scripts of `fake_server.process`.

`calm` answers after some seconds. `storm` allows `ALLOWED` requests a second (429 and Retry-After
above), resets 2 % of the connections, stalls 1 %, breaks 1 % of the JSON and leaves 1 % empty.
`slow` answers after a log-normal time of median 10 s and enforces limits of requests and tokens a
minute.
An answer is a function of the request's bytes alone.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fake_server.behaviour import Behaviour, Call, refuses, says

ALLOWED = 50.0  # requests a second in the storm
STALL = 20.0  # seconds
MEDIAN, SIGMA = 10.0, 0.25  # seconds, and the spread of its logarithm
REQUESTS_A_MINUTE, TOKENS_A_MINUTE = 18_000, 10_000_000
PROMPT, COMPLETION = 50, 450  # tokens of a call

Answer = Callable[[Call], Behaviour]


def latency(rng: random.Random) -> float:
    """Return the seconds of a slow reply: log-normal, median 10, mean 10.3, 99th percentile 18."""
    return MEDIAN * math.exp(rng.gauss(0.0, SIGMA))


@dataclass
class Bucket:
    """Units that flow in at `rate` a second, at most one second of them."""

    rate: float
    level: float = 0.0
    at: float = field(default_factory=time.monotonic)

    def take(self, units: float) -> bool:
        """Take `units` where they are there."""
        now = time.monotonic()
        self.level, self.at = min(self.rate, self.level + (now - self.at) * self.rate), now
        if self.level < units:
            return False
        self.level -= units
        return True


def reply(text: str, delay: float = 0.0) -> Behaviour:
    """Answer with a text, at the tokens of a usual call."""
    return says(text, usage=(PROMPT, COMPLETION), model="m", delay=delay)


def calm(seconds: float) -> Answer:
    """Answer every call after so many seconds."""
    return lambda call: reply(_words(call), seconds)


def storm(seconds: float) -> Answer:
    """Limit the rate, and break one reply in twenty."""
    rng, requests = random.Random(0), Bucket(ALLOWED)

    def answer(call: Call) -> Behaviour:
        if not requests.take(1.0):
            return _too_fast()
        return _broken(rng.random(), reply(_words(call), seconds))

    return answer


def slow() -> Answer:
    """Take the time of a large model, and limit requests and tokens."""
    rng = random.Random(0)
    requests, tokens = Bucket(REQUESTS_A_MINUTE / 60), Bucket(TOKENS_A_MINUTE / 60)

    def answer(call: Call) -> Behaviour:
        if not (requests.take(1.0) and tokens.take(float(PROMPT + COMPLETION))):
            return _too_fast()
        return reply(_words(call), latency(rng))

    return answer


def _words(call: Call) -> str:
    return f"words {hashlib.sha256(call.raw).hexdigest()} " * 3


def _too_fast() -> Behaviour:
    return refuses(429, "slow down", code="rate_limit_exceeded", headers={"Retry-After": "1"})


def _broken(draw: float, whole: Behaviour) -> Behaviour:
    if draw < 0.02:
        return replace(whole, reset=True)
    if draw < 0.03:
        return replace(whole, delay=whole.delay + STALL)
    if draw < 0.04:
        return replace(whole, body=whole.body[: len(whole.body) // 2])
    return reply("", whole.delay) if draw < 0.05 else whole
