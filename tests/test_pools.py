"""Pools: what is drawn, split off and grown, the same in every clone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.pools import forgetting, grow, holdout, parents, replayed, rng_for, sample
from lion.records.rows import Instruction, Signal, Verdict


def row(name: int | str) -> Instruction:
    return Instruction.new(
        [{"role": "user", "content": f"task {name}"}], origin="seed", iteration="0"
    )


POOL = [row(number) for number in range(40)]


def rng(depth: int = 1, random_seed: int = 0, purpose: str = "respond") -> object:
    return rng_for(random_seed=random_seed, purpose=purpose, depth=depth)


@given(st.integers(0, 45), st.integers(0, 99))
def test_a_sample_has_distinct_rows_in_the_pools_order(limit: int, seed: int) -> None:
    found = sample(POOL, limit, rng_for(random_seed=seed, purpose="p", depth=0))
    places = [POOL.index(one) for one in found]
    assert len(found) == min(limit, len(POOL))
    assert places == sorted(set(places))


def test_without_a_limit_all_are_drawn() -> None:
    assert sample(POOL, None, rng_for(random_seed=0, purpose="p", depth=0)) == POOL


def test_draws_follow_from_seed_purpose_and_depth_alone() -> None:
    def drawn(**changes: object) -> list[Instruction]:
        made = rng_for(**{"random_seed": 0, "purpose": "respond", "depth": 1, **changes})  # type: ignore[arg-type]
        return sample(POOL, 20, made)

    assert drawn() == drawn()
    others = [drawn(), drawn(depth=2), drawn(random_seed=1), drawn(purpose="quality")]
    assert len({tuple(one.id for one in found) for found in others}) == 4


def test_samples_are_uniform() -> None:
    """Each of 40 rows is drawn in a quarter of 2,000 draws of 10, within five deviations."""
    made = rng_for(random_seed=0, purpose="p", depth=0)
    counts = Counter(one.id for _ in range(2000) for one in sample(POOL, 10, made))
    assert len(counts) == 40
    assert max(abs(count - 500) for count in counts.values()) < 5 * (2000 * 0.25 * 0.75) ** 0.5


@given(st.integers(0, 50), st.randoms(use_true_random=False))
def test_a_holdout_is_the_same_whatever_the_files_order(count: int, shuffle: "object") -> None:
    mixed = POOL.copy()
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    rest, held = holdout(POOL, count)
    other_rest, other_held = holdout(mixed, count)
    assert {one.id for one in held} == {one.id for one in other_held}
    assert {one.id for one in rest} == {one.id for one in other_rest}
    assert len(held) == min(count, len(POOL))
    assert not {one.id for one in rest} & {one.id for one in held}
    assert rest == [one for one in POOL if one in rest]


def test_new_rows_move_few_rows_of_a_holdout() -> None:
    """A file that grows keeps its exam but for those rows whose place a new one takes."""
    _, held = holdout(POOL, 10)
    _, later = holdout([*POOL, row("new")], 10)
    assert len({one.id for one in held} & {one.id for one in later}) >= 9


def test_the_cache_grows_at_its_end_and_twice_never() -> None:
    grown = grow(POOL[:3], POOL[3:5])
    assert grown == POOL[:5]
    with pytest.raises(DataError, match=POOL[1].id):
        grow(POOL[:3], [POOL[1]])
    with pytest.raises(DataError, match=POOL[7].id):
        grow(POOL[:3], [POOL[7], POOL[7]])


def test_parents_are_the_hard_and_the_easy_in_the_caches_order() -> None:
    kinds = ["hard", "easy", "undecided"]
    found = [
        Verdict(one.id, None, None, None, kinds[number % 3], None)  # type: ignore[arg-type]
        for number, one in enumerate(POOL[:9])
    ]
    drawn = parents(POOL, reversed(found))
    assert drawn == {
        "hard": [POOL[0], POOL[3], POOL[6]],
        "easy": [POOL[1], POOL[4], POOL[7]],
    }


@given(st.floats(0, 20), st.integers(0, 20))
def test_replay_draws_old_rows_for_new_ones(replay: float, new: int) -> None:
    """`replay` per new row, each old row at most once, never a new one."""
    fresh = POOL[:new]
    found = replayed(fresh, POOL, replay, rng_for(random_seed=0, purpose="replay", depth=1))
    assert len(found) == min(round(replay * new), len(POOL) - new)
    assert len({one.id for one in found}) == len(found)
    assert not {one.id for one in found} & {one.id for one in fresh}


def risen(weights: dict[int, float]) -> list[Verdict]:
    """Return verdicts of the pool whose nats have risen by `weights`, by the row's number."""
    return [
        Verdict(
            one.id,
            None,
            None,
            None,
            "easy",
            None,
            "likelihood",
            1.0,
            Signal(1.0 + weights.get(number, 0.0), 1.0, 1.0),
        )
        for number, one in enumerate(POOL)
    ]


def test_half_of_the_replay_goes_to_what_was_forgotten() -> None:
    """Of 20 rows 10 by the rise: of 12 that rose, in proportion; the others from what is left."""
    forgotten = forgetting(risen({number: 1.0 if number < 6 else 9.0 for number in range(12)}))
    counts: Counter[str] = Counter()
    for seed in range(400):
        made = rng_for(random_seed=seed, purpose="replay", depth=1)
        drawn = replayed(POOL[-5:], POOL, 4.0, made, forgotten)
        assert len(drawn) == len({one.id for one in drawn}) == 20
        assert drawn == [one for one in POOL if one in drawn], "in the pool's order"
        counts.update(one.id for one in drawn)
    much, little, never = (
        sum(counts[one.id] for one in POOL[low:high]) / (high - low) / 400
        for low, high in ((6, 12), (0, 6), (12, 35))
    )
    assert much > 0.9 > little > never > 0.3


def test_where_nothing_was_forgotten_the_replay_is_uniform() -> None:
    for verdicts in ([], risen({})):
        made = rng_for(random_seed=0, purpose="replay", depth=1)
        drawn = replayed(POOL[-5:], POOL, 2.0, made, forgetting(verdicts))
        assert len(drawn) == 10
    few = forgetting(risen({3: 0.5, 4: 0.5}))
    drawn = replayed(POOL[-5:], POOL, 2.0, rng_for(random_seed=0, purpose="r", depth=1), few)
    assert len(drawn) == 10
    assert {POOL[3].id, POOL[4].id} <= {one.id for one in drawn}


def test_a_row_without_nats_was_not_forgotten() -> None:
    unknown = Verdict(POOL[0].id, None, None, None, "undecided", "too_long", "likelihood")
    judged = Verdict(POOL[1].id, 8.0, 2.0, 6.0, "hard", None)
    assert forgetting([unknown, judged, *risen({})[2:3]]) == {POOL[2].id: 0.0}
