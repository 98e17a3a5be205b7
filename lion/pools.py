"""What enters a pool, what is drawn from it, and how it grows. Pure.

Train Pool: what the student is tuned on next; replaced in each iteration. Cache Pool: everything so
far, with the teacher's answers; grown in each iteration (Lion, section 3.4).
"""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from lion.errors import DataError
from lion.records.rows import Feedback, Instruction, Kind, Verdict

T = TypeVar("T")


def rng_for(*, random_seed: int, purpose: str, depth: int) -> random.Random:
    """Return a generator of random numbers that follows from params alone."""
    return random.Random(f"{random_seed}/{purpose}/{depth}")  # noqa: S311 - reproducible, no secret


def sample(pool: Sequence[T], limit: int | None, rng: random.Random) -> list[T]:
    """Return `limit` rows of the pool, drawn uniformly without replacement, in the pool's order."""
    if limit is None or limit >= len(pool):
        return list(pool)
    return [pool[index] for index in sorted(rng.sample(range(len(pool)), limit))]


def grow(cache: Sequence[Instruction], new: Iterable[Instruction]) -> list[Instruction]:
    """Return the Cache Pool with `new` appended. Raises DataError where an id is there already."""
    known = {instruction.id for instruction in cache}
    grown = list(cache)
    for instruction in new:
        if instruction.id in known:
            raise DataError(f"{instruction.id} is in the Cache Pool already")
        known.add(instruction.id)
        grown.append(instruction)
    return grown


def holdout(pool: Sequence[Instruction], count: int) -> tuple[list[Instruction], list[Instruction]]:
    """Split the `count` rows of the smallest ids off as an exam: the same rows in every clone."""
    chosen = {instruction.id for instruction in sorted(pool, key=lambda row: row.id)[:count]}
    rest = [instruction for instruction in pool if instruction.id not in chosen]
    return rest, [instruction for instruction in pool if instruction.id in chosen]


def parents(
    cache: Sequence[Instruction], verdicts: Iterable[Verdict], feedback: Feedback = "adversarial"
) -> dict[Kind, list[Instruction]]:
    """Return the instructions that may be drawn from, hard and easy, in the Cache Pool's order.

    By verdict where there is feedback; else all of the Cache Pool, for both.
    """
    if feedback != "adversarial":
        return {"hard": list(cache), "easy": list(cache)}
    difficulty = {verdict.id: verdict.difficulty for verdict in verdicts}
    return {
        "hard": [row for row in cache if difficulty.get(row.id) == "hard"],
        "easy": [row for row in cache if difficulty.get(row.id) == "easy"],
    }


def replayed_at(
    depth: int,
    new: Sequence[Instruction],
    cache: Sequence[Instruction],
    replay: float,
    random_seed: int,
) -> list[Instruction]:
    """Return the old rows that the student at `depth` is tuned on beside the `new` ones."""
    rng = rng_for(random_seed=random_seed, purpose="replay", depth=depth)
    return replayed(new, cache, replay, rng)


def replayed(
    new: Sequence[Instruction], cache: Sequence[Instruction], replay: float, rng: random.Random
) -> list[Instruction]:
    """Return `replay` old rows per new row, drawn uniformly from what is not new."""
    fresh = {instruction.id for instruction in new}
    old = [instruction for instruction in cache if instruction.id not in fresh]
    return sample(old, round(replay * len(new)), rng)
