"""Weights follow what the student still learns; what never moves is named."""

import math
from collections import Counter
from itertools import product

import pytest

from lion.generation.generate import History
from lion.generation.learning_progress import (
    FLOOR,
    Judged,
    falls,
    resisting,
    rows_with_gaps,
    weights,
    weights_by_falls,
)
from lion.generation.topic_labels import labelled
from lion.records.rows import Instruction, Signal, Verdict
from lion.simulator import task_families

LETTERS = [" ".join(one) for one in product("abcd", repeat=3)]


def row(text: str) -> Instruction:
    made = Instruction.new([{"role": "user", "content": text}], origin="seed", iteration="0")
    return labelled(made)


def kind(opening: str, gaps: list[float], first: int = 0) -> list[Judged]:
    """Return rows of one opening, each with letters of its own."""
    texts = LETTERS[first : first + len(gaps)]
    return [Judged(row(f"{opening} {one}"), gap) for one, gap in zip(texts, gaps, strict=True)]


LEARNT = "please shift all alphabet letters forward by one place in"
STUCK = "now track every single swap between four friends of mine holding"
BEFORE = kind(LEARNT, [8.0] * 20) + kind(STUCK, [8.0] * 20)
NOW = kind(LEARNT, [2.0] * 20, 20) + kind(STUCK, [8.0] * 20, 20)
PARENTS = [one.row for one in NOW]


def mean_weights(found: dict[str, float], rows: list[Judged]) -> float:
    return sum(found[one.row.id] for one in rows) / len(rows)


def test_what_moves_outweighs_what_does_not() -> None:
    """20 relatives of either kind (19 without the row itself), shrunk to their mean by 4."""
    found = weights(PARENTS, BEFORE, NOW)
    assert math.isclose(sum(found.values()) / len(found), 1.0)
    moved, still = (19 * 6 + 4 * 3) / 23, 4 * 3 / 23
    mean = (moved + still) / 2
    expected = (FLOOR + (1 - FLOOR) * moved / mean) / (FLOOR + (1 - FLOOR) * still / mean)
    ratio = mean_weights(found, NOW[:20]) / mean_weights(found, NOW[20:])
    assert ratio == pytest.approx(expected)


def test_without_history_the_choice_is_uniform() -> None:
    assert set(weights(PARENTS, [], NOW).values()) == {1.0}
    assert set(weights(PARENTS, BEFORE, []).values()) == {1.0}
    assert weights([], BEFORE, NOW) == {}


def test_what_moved_alike_weighs_alike_however_many_there_are() -> None:
    others = kind("for a change say whether one of these is odd:", [3.0] * 60)
    before = kind(LEARNT, [8.0] * 40) + kind(STUCK, [8.0] * 20) + others
    now = kind(LEARNT, [5.0] * 20, 20) + kind(STUCK, [5.0] * 10, 20) + others
    found = weights([one.row for one in now[:30]], before, now)
    assert list(found.values()) == pytest.approx([1.0] * 30)


def test_a_row_without_words_or_relatives_has_a_weight() -> None:
    strange = [row("?!"), row("unheard of entirely")]
    found = weights([*PARENTS, *strange], BEFORE, NOW)
    assert all(0 < found[one.id] < math.inf for one in strange)


def test_getting_worse_everywhere_is_no_progress_and_no_error() -> None:
    found = weights(PARENTS, kind(LEARNT, [1.0] * 20), kind(LEARNT, [9.0] * 20, 20))
    assert all(0 < one < math.inf for one in found.values())


def test_relatives_are_of_the_same_family() -> None:
    """In the laboratory, whose labels of domains do not tell its families apart, words do."""
    import numpy as np

    from lion.generation import learning_progress

    tasks = task_families.pool(1000, random_seed=901, skew=1.3)
    index = learning_progress._index([row(task.instruction) for task in tasks])
    alike = (index @ index.T).toarray() >= learning_progress.ALIKE
    np.fill_diagonal(alike, val=False)
    same = np.array([[a.family == b.family for b in tasks] for a in tasks])
    assert (alike & same).sum() / alike.sum() > 0.97
    assert (alike.sum(axis=1) > 0).mean() > 0.9


def test_what_resists_is_named_largest_gap_first() -> None:
    def told(name: str, gap: float) -> list[Judged]:
        return kind(f"write a {name}:", [gap] * 6)

    before = told("poem", 6.0) + told("story", 7.0) + told("song", 8.0) + told("letter", 1.0)
    now = told("poem", 6.0) + told("story", 7.5) + told("song", 4.0) + told("letter", 1.0)
    assert resisting(before, now) == ["write story", "write poem"]
    assert resisting([], now) == resisting(before, []) == []
    few = [one for name in Counter(("poem", "story")) for one in told(name, 6.0)[:4]]
    assert resisting(few, few) == []


def test_undecided_rows_are_not_judged() -> None:
    one, other = row("write a poem"), row("write a song")
    verdicts = [
        Verdict(one.id, 9.0, 4.0, 5.0, "hard", None),
        Verdict(other.id, None, None, None, "undecided", "no_scores"),
    ]
    assert rows_with_gaps([one, other], verdicts) == [Judged(one, 5.0)]


def test_falls_leave_out_what_was_replayed_and_what_is_new() -> None:
    before = kind(LEARNT, [3.0, 2.0, 1.0])
    now = [Judged(judged.row, 0.5) for judged in [*before, *kind(STUCK, [1.0])]]
    left = falls(before, now, {before[1].row.id})
    assert [(judged.row, judged.gap) for judged in left] == [
        (before[0].row, 2.5),
        (before[2].row, 0.5),
    ]


def test_parents_weigh_by_the_falls_of_their_relatives() -> None:
    """As by gaps: 19 relatives without the row itself, shrunk to their mean by 4."""
    fallen = kind(LEARNT, [6.0] * 20) + kind(STUCK, [0.0] * 20)
    weighed = weights_by_falls([judged.row for judged in fallen], fallen)
    moved, still = (19 * 6 + 4 * 3) / 23, 4 * 3 / 23
    mean = (moved + still) / 2
    expected = (FLOOR + (1 - FLOOR) * moved / mean) / (FLOOR + (1 - FLOOR) * still / mean)
    ratio = mean_weights(weighed, fallen[:20]) / mean_weights(weighed, fallen[20:])
    assert ratio == pytest.approx(expected)
    assert set(weights_by_falls(PARENTS, []).values()) == {1.0}
    assert weights_by_falls([], fallen) == {}


def test_a_row_that_rises_weighs_no_less_than_the_floor() -> None:
    risen = kind(LEARNT, [-2.0] * 20) + kind(STUCK, [4.0] * 20)
    weighed = weights_by_falls([judged.row for judged in risen], risen)
    assert mean_weights(weighed, risen[:20]) >= FLOOR
    assert mean_weights(weighed, risen[:20]) < mean_weights(weighed, risen[20:])


def test_where_the_likelihood_judged_progress_is_its_fall() -> None:
    """Of rows judged twice that were not replayed; generation is told which those are."""
    rows = [judged.row for judged in kind(LEARNT, [0.0] * 20) + kind(STUCK, [0.0] * 20)]

    def verdicts(nats: list[float]) -> list[Verdict]:
        return [
            Verdict(row.id, None, None, None, "hard", None, "likelihood", 1.0, Signal(n, n, n))
            for row, n in zip(rows, nats, strict=True)
        ]

    before, now = verdicts([4.0] * 40), verdicts([1.0] * 20 + [4.0] * 20)
    weighed = History(rows, now, before).weights(rows)
    assert weighed[rows[0].id] > 2 * weighed[rows[-1].id]
    replayed = frozenset(row.id for row in rows[:20])
    assert set(History(rows, now, before, replayed).weights(rows).values()) == {1.0}
