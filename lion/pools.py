"""Pools of instructions: sampling, growth, and the candidates for parents. Pure.

Train Pool: the rows that the student is tuned on next, replaced in each iteration. Cache Pool: all
rows so far with the teacher's answers, extended in each iteration (Lion, section 3.4).
"""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from lion.errors import DataError
from lion.records.rows import Feedback, Instruction, Kind, Signal, Verdict

T = TypeVar("T")


def rng_for(*, random_seed: int, purpose: str, depth: int) -> random.Random:
    """Return a random number generator that is a function of params alone."""
    return random.Random(f"{random_seed}/{purpose}/{depth}")  # noqa: S311 - reproducible, no secret


def sample(pool: Sequence[T], limit: int | None, rng: random.Random) -> list[T]:
    """Return `limit` rows of the pool, drawn uniformly without replacement, in the pool's order."""
    if limit is None or limit >= len(pool):
        return list(pool)
    return [pool[index] for index in sorted(rng.sample(range(len(pool)), limit))]


def grow(cache: Sequence[Instruction], new: Iterable[Instruction]) -> list[Instruction]:
    """Return the Cache Pool with `new` appended. Raises DataError for a repeated id."""
    ids = {instruction.id for instruction in cache}
    grown = list(cache)
    for instruction in new:
        if instruction.id in ids:
            raise DataError(f"{instruction.id} is in the Cache Pool already")
        ids.add(instruction.id)
        grown.append(instruction)
    return grown


def holdout(pool: Sequence[Instruction], count: int) -> tuple[list[Instruction], list[Instruction]]:
    """Return the pool without an exam, and the exam: the `count` rows with the smallest ids."""
    chosen = {instruction.id for instruction in sorted(pool, key=lambda row: row.id)[:count]}
    rest = [instruction for instruction in pool if instruction.id not in chosen]
    return rest, [instruction for instruction in pool if instruction.id in chosen]


def set_apart(
    exam: Sequence[Instruction], certify: float | str | None
) -> tuple[list[Instruction], list[Instruction]]:
    """Return the exam of the headline, and the rows that `exam.certify` sets apart.

    By a hash of the id, so that a row stays where it is as the exam grows; of a file by its rows'
    origin. Not by the id itself: a held-out exam has the smallest ids of its pool.
    """
    apart = {
        row.id
        for row in exam
        if row.origin == "certify"
        or (isinstance(certify, float) and _uniform(f"certify {row.id}") < certify)
    }
    return [row for row in exam if row.id not in apart], [row for row in exam if row.id in apart]


def compared_rows(
    exam: Sequence[Instruction], certify: float | str | None, quality: int, random_seed: int
) -> list[Instruction]:
    """Return the exam rows on which the referee compares, the same in every iteration."""
    own, _ = set_apart(exam, certify)
    return sample(own, quality, rng_for(random_seed=random_seed, purpose="quality", depth=0))


def _uniform(text: str) -> float:
    """Return a number in [0, 1) that follows from `text`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def parents(
    cache: Sequence[Instruction], verdicts: Iterable[Verdict], feedback: Feedback = "adversarial"
) -> dict[Kind, list[Instruction]]:
    """Return the candidates for parents, hard and easy, in the order of the Cache Pool.

    By verdict for adversarial feedback; else the whole Cache Pool for both.
    """
    if feedback != "adversarial":
        return {"hard": list(cache), "easy": list(cache)}
    difficulty = {verdict.id: verdict.difficulty for verdict in verdicts}
    return {
        "hard": [row for row in cache if difficulty.get(row.id) == "hard"],
        "easy": [row for row in cache if difficulty.get(row.id) == "easy"],
    }


def validation_rows(
    cache: Sequence[Instruction], share: float
) -> tuple[list[Instruction], list[Instruction]]:
    """Return the rows that no student is tuned on, and the others.

    They are a share of the base pool, at least one row where the share is not 0: those with the
    smallest hash of their id, so that every iteration validates on the same rows.
    """
    base = sorted((row.id for row in cache if row.iteration == "0"), key=_validation_order)
    chosen = set(base[: math.ceil(share * len(base))])
    return (
        [row for row in cache if row.id in chosen],
        [row for row in cache if row.id not in chosen],
    )


def nested_rows(cache: Sequence[Instruction], share: float, count: int) -> list[Instruction]:
    """Return `count` rows of the base pool, or all; a larger count has those of a smaller one.

    None of the `share` for validation; those with the smallest hash of their id.
    """
    _, rows = validation_rows(cache, share)
    base = [row for row in rows if row.iteration == "0"]
    return sorted(base, key=lambda row: _uniform(f"curve {row.id}"))[:count]


def _validation_order(identity: str) -> bytes:
    """Return a hash of the id; the smallest ids themselves may have become the exam."""
    return hashlib.sha256(f"validation {identity}".encode()).digest()


def replayed(
    new: Sequence[Instruction],
    cache: Sequence[Instruction],
    replay: float,
    rng: random.Random,
    forgotten: Mapping[str, float] | None = None,
) -> list[Instruction]:
    """Return `replay` old rows per new row, drawn uniformly from the rows that are not new.

    With `forgotten`, a weight by id, half of them is drawn in proportion to it; where fewer rows
    have a weight, the others are uniform, too.
    """
    fresh = {instruction.id for instruction in new}
    old = [instruction for instruction in cache if instruction.id not in fresh]
    count = round(replay * len(new))
    if forgotten is None or count >= len(old):
        return sample(old, count, rng)
    weighted = [(row, forgotten.get(row.id, 0.0)) for row in old]
    chosen = {row.id for row in _weighted_sample(weighted, count // 2, rng)}
    others = [row for row in old if row.id not in chosen]
    chosen |= {row.id for row in sample(others, count - len(chosen), rng)}
    return [row for row in old if row.id in chosen]


def _weighted_sample(
    weighted: Sequence[tuple[T, float]], limit: int, rng: random.Random
) -> list[T]:
    """Return `limit` items without replacement, in proportion to their weights; none of weight 0.

    The largest keys u^(1/w) of uniform u (Efraimidis and Spirakis 2006).
    """
    keyed = [(math.log(1 - rng.random()) / weight, item) for item, weight in weighted if weight > 0]
    keyed.sort(key=lambda pair: -pair[0])
    return [item for _, item in keyed[:limit]]


def forgetting(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Return by id how far a row's nats per token have risen above their least value so far."""
    return {
        verdict.id: signal.nll_nats - signal.lowest_nats
        for verdict in verdicts
        if isinstance(signal := verdict.signal, Signal)
        and signal.nll_nats is not None
        and signal.lowest_nats is not None
    }
