"""The nearest text by cosine is found, whatever is compared together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lion.errors import DataError
from lion.generation.filters.near_duplicates import DIGITS, NearDuplicateIndex, Vector
from lion.generation.filters.novelty import Neighbour
from lion.generation.filters.quality import RejectReason
from lion.metrics.units import RoleUsage
from lion.prompting.protocol import Failure

LOST = Failure("http_400", "too long")


class Behaviour:
    """An embedder that knows its texts' vectors by heart."""

    def __init__(self, vectors: Mapping[str, Sequence[float] | Failure]) -> None:
        self.vectors = vectors
        self.asked: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        self.asked.append(list(texts))
        found = [self.vectors[text] for text in texts]
        return [
            one if isinstance(one, Failure) else np.array(one, dtype=np.float32) for one in found
        ]

    def used(self) -> RoleUsage:
        return RoleUsage(
            requests=sum(map(len, self.asked)),
            failed=0,
            prompt_tokens=7,
            completion_tokens=0,
            replies_without_usage=0,
        )


def gate(
    vectors: Mapping[str, Sequence[float] | Failure], limit: float = 0.9
) -> tuple[NearDuplicateIndex, Behaviour]:
    told = Behaviour(vectors)
    return NearDuplicateIndex(limit, told), told


def test_the_nearest_and_its_cosine_by_hand() -> None:
    """Length does not matter: (3, 4) and (1, 0) have the cosine 0.6."""
    near, _ = gate({"east": (2, 0), "north": (0, 5), "text": (3, 4)})
    near.fill([("e", "east"), ("n", "north")])
    assert near.neighbour("text") == Neighbour("n", 0.8)


def test_the_limit_itself_is_new() -> None:
    vectors = {"east": (2, 0), "text": (3, 4)}
    for limit, reason in ((0.6, None), (0.59, "near_duplicate")):
        near, _ = gate(vectors, limit)
        near.fill([("e", "east")])
        rejected = near.reject_reason(near.neighbour("text"))
        assert (rejected and rejected.reason) == reason
    assert rejected == RejectReason("near_duplicate", "e at 0.6000")


def test_nothing_is_near_in_an_empty_pool() -> None:
    near, _ = gate({"text": (3, 4)})
    near.fill([])
    assert near.neighbour("text") is None
    assert near.reject_reason(None) is None


def test_what_was_added_is_compared_from_then_on() -> None:
    near, told = gate({"pool": (1, 0), "one": (0, 1), "two": (0.1, 1)})
    near.fill([("p", "pool")])
    near.expect(["one", "two"])
    assert near.neighbour("two") == Neighbour("p", 0.0995)
    near.neighbour("one")
    near.add("1", "one")
    assert near.neighbour("two") == Neighbour("1", 0.995)
    assert told.asked == [["pool"], ["one", "two"]], "each text is embedded once"


def test_of_equally_near_texts_the_first_added_is_named() -> None:
    near, _ = gate({"a": (1, 0), "b": (1, 0), "c": (1, 0), "text": (1, 0)})
    near.fill([("b", "b"), ("a", "a")])
    near.expect(["text", "c"])
    near.neighbour("c")
    near.add("c", "c")
    assert near.neighbour("text") == Neighbour("b", 1.0)


def test_a_candidate_without_an_embedding_is_a_failure_with_its_reason() -> None:
    near, _ = gate({"pool": (1, 0), "lost": LOST, "text": (0, 1)})
    near.fill([("p", "pool")])
    near.expect(["text", "lost"])
    assert near.reject_reason(near.neighbour("lost")) == RejectReason(
        "http_400", "embedding: too long"
    )
    assert near.reject_reason(near.neighbour("text")) is None


def test_texts_of_the_pool_without_an_embedding_are_counted() -> None:
    near, told = gate({"pool": (1, 0), "lost": LOST})
    near.fill([("l", "lost"), ("p", "pool")])
    assert (near.used().pool, near.used().not_embedded) == (1, 1)
    assert near.used().asked == told.used()


def test_vectors_of_another_length_are_refused() -> None:
    near, _ = gate({"pool": (1, 0), "text": (1, 0, 0)})
    near.fill([("p", "pool")])
    with pytest.raises(DataError, match="of 2 and of 3 numbers"):
        near.neighbour("text")


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1100), st.integers(1, 12), st.integers(2, 5))
def test_rounds_and_one_by_one_decide_as_the_formula_does(
    seed: int, known: int, candidates: int, size: int
) -> None:
    """The oracle: u.v / (|u| |v|) in float64 with every text of the pool and all kept before."""
    rng = np.random.default_rng(seed)
    vectors = {str(n): rng.integers(-3, 4, size) + 0.5 for n in range(known + candidates)}
    pool = [(str(n), str(n)) for n in range(known)]
    texts = [str(n) for n in range(known, known + candidates)]
    decided = []
    for together in (True, False):
        near, _ = gate({text: tuple(vector) for text, vector in vectors.items()}, 0.9)
        near.fill(pool)
        if together:
            near.expect(texts)
        kept = [text for text in texts if _kept(near, text)]
        decided.append(kept)
    assert decided[0] == decided[1]
    expected: list[str] = []
    for text in texts:
        others = [vectors[name] for name in [*(name for name, _ in pool), *expected]]
        one = vectors[text]
        cosines = [
            round(float(one @ v / (np.linalg.norm(one) * np.linalg.norm(v))), DIGITS)
            for v in others
        ]
        if max(cosines, default=-1.0) <= 0.9:
            expected.append(text)
    assert decided[0] == expected


def _kept(near: NearDuplicateIndex, text: str) -> bool:
    if near.reject_reason(near.neighbour(text)) is not None:
        return False
    near.add(text, text)
    return True
