"""How fast is asked: limits kept, limits learnt, and what a 429 changes."""

import asyncio

import pytest

from lion.llm.rate_limit import AdaptiveRateLimiter, TokenBucket


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def starts(limiter: AdaptiveRateLimiter, clock: Clock, count: int, tokens: int = 10) -> list[float]:
    """Return when `count` calls may start, one asking after the other."""

    async def run() -> list[float]:
        found = []
        for _ in range(count):
            task = asyncio.ensure_future(limiter.acquire(tokens))
            while not task.done():
                await asyncio.sleep(0)
                if not task.done():
                    clock.now += 0.001
            found.append(task.result())
        return found

    real = asyncio.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lion.llm.rate_limit.asyncio.sleep", lambda _: real(0))
        return asyncio.run(run())


def test_without_a_limit_nothing_waits() -> None:
    clock = Clock()
    assert starts(AdaptiveRateLimiter(None, None, clock), clock, 1000) == [0.0] * 1000


def test_a_limit_of_requests_is_kept_and_used() -> None:
    """Over any second no more than the rate and the burst; in the long run all of it."""
    clock = Clock()
    found = starts(AdaptiveRateLimiter(600, None, clock), clock, 200)
    assert found[-1] == pytest.approx(20, rel=0.05)
    for begin in found:
        assert sum(begin <= one < begin + 1 for one in found) <= 10 * 1.5 + 1


def test_a_limit_of_tokens_is_kept() -> None:
    clock = Clock()
    found = starts(AdaptiveRateLimiter(None, 6000, clock), clock, 100, tokens=20)
    assert found[-1] == pytest.approx(20, rel=0.05)


def test_a_429_cuts_the_rate_to_what_was_served() -> None:
    clock = Clock()
    limiter = AdaptiveRateLimiter(None, None, clock)
    for _ in range(100):
        clock.now += 0.02
        limiter.record_reply(10, {})
    assert limiter.rate is None
    limiter.record_throttled(clock.now, None)
    assert limiter.rate == pytest.approx(50, rel=0.1)


def test_calls_that_began_before_the_cut_say_nothing_new() -> None:
    clock = Clock()
    limiter = AdaptiveRateLimiter(6000, None, clock)
    for _ in range(200):
        clock.now += 0.01
        limiter.record_reply(10, {})
    limiter.record_throttled(clock.now, None)
    rate = limiter.rate
    for _ in range(20):
        limiter.record_throttled(clock.now - 1, None)
    assert limiter.rate == rate


def test_quiet_seconds_raise_the_rate_up_to_the_limit_told() -> None:
    clock = Clock()
    limiter = AdaptiveRateLimiter(600, None, clock)
    clock.now = 1.0
    for _ in range(3):
        limiter.record_throttled(clock.now, None)
    low = limiter.rate
    assert low is not None and low < 10
    for _ in range(20_000):
        clock.now += 0.1
        limiter.record_reply(10, {})
    assert limiter.rate == 10


def test_where_all_are_refused_all_wait() -> None:
    clock = Clock()
    limiter = AdaptiveRateLimiter(None, None, clock)
    for _ in range(3):
        limiter.record_throttled(clock.now, 7.0)
    assert starts(limiter, clock, 1) == [pytest.approx(7.0, abs=0.01)]


@pytest.mark.parametrize(
    ("limit", "left", "reset", "rate"),
    [
        ("600", "599", "100ms", 10.0),
        ("14400", "14370", "3m0s", 1 / 6),  # by the day, as some count
        ("600", "600", "0s", None),
        ("600", "many", "1s", None),
        ("600", "599", "soon", None),
        ("600", "599", "1" + "0" * 300, None),
        ("600", "599", "99999d", None),
    ],
)
def test_limits_are_learnt_from_headers(
    limit: str, left: str, reset: str, rate: float | None
) -> None:
    limiter = AdaptiveRateLimiter(None, None, Clock())
    names = {"limit": limit, "remaining": left, "reset": reset}
    limiter.record_reply(
        10, {f"x-ratelimit-{name}-requests": value for name, value in names.items()}
    )
    assert limiter.rate == (None if rate is None else pytest.approx(rate))


def test_a_limit_told_in_params_is_not_overruled() -> None:
    limiter = AdaptiveRateLimiter(60, None, Clock())
    headers = {"limit": "6000", "remaining": "5999", "reset": "10ms"}
    limiter.record_reply(
        10, {f"x-ratelimit-{name}-requests": value for name, value in headers.items()}
    )
    assert limiter.rate == 1.0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock)
    clock.now = 1000.0
    assert bucket.wait() == 0
    assert bucket.level == 50
