"""Asking ends where too small a share of enough candidates is kept, never by a chance of few."""

import random

from hypothesis import given
from hypothesis import strategies as st

from lion.generation.rounds import YieldMonitor


def test_a_last_round_that_keeps_none_by_chance_is_no_dry_monitor() -> None:
    monitor = YieldMonitor(0.05)
    assert not monitor.is_too_low(20, 19)
    assert not any(monitor.is_too_low(2, 0) for _ in range(3))


@given(st.floats(0, 1), st.lists(st.integers(1, 50), min_size=100, max_size=100))
def test_what_keeps_nothing_is_too_low_within_a_hundred_candidates_and_a_round(
    least: float, rounds: list[int]
) -> None:
    monitor, tried = YieldMonitor(least), 0
    for count in rounds:
        tried += count
        if monitor.is_too_low(count, 0):
            break
    assert tried < 100 + 50


def test_a_share_that_is_large_enough_is_never_dry_however_the_rounds_fall() -> None:
    """Half is kept, a twentieth is wanted: 10,000 monitors, rounds of one to five."""
    rng = random.Random(3)
    dry = 0
    for _ in range(10_000):
        monitor = YieldMonitor(0.05)
        for _ in range(20):
            count = rng.randint(1, 5)
            dry += monitor.is_too_low(count, sum(rng.random() < 0.5 for _ in range(count)))
    assert dry == 0


def test_a_smaller_share_is_too_low() -> None:
    assert YieldMonitor(0.5).is_too_low(40, 19)
    assert not YieldMonitor(0.5).is_too_low(40, 20)
