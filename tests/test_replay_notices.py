"""Where every old row is replayed, nothing is left for progress and for what is forgotten."""

import pytest
from fixtures import Workplace

from lion.pipeline.checks.replay_notices import replay_notices

BOTH = {"generate.choice": "progress", "tune.replay_choice": "forgotten"}
SIZES = {"seed.size": 100, "generate.hard": 20, "generate.easy": 10, "review.judge": "likelihood"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, []),
        # 30 new rows of 100: four times as many are every old row in iteration 1 alone
        (BOTH | {"tune.replay": 3.0}, []),
        (BOTH | {"tune.replay": 4.0}, ["iteration 1: `tune.replay: 4`", "in iteration 2 has no"]),
        # a share for validation is never replayed: one row less, and progress has it to measure on
        (BOTH | {"tune.replay": 3.4}, ["iteration 1: `tune.replay: 3.4`", "in iteration 2 has no"]),
        (BOTH | {"tune.replay": 3.3}, []),
        (
            BOTH | {"tune.replay": 3.3, "tune.validation_share": 0.01},
            ["forgotten` decides no"],
        ),
        ({"generate.choice": "progress", "tune.replay": 4.0}, ["`generate.choice: progress`"]),
        ({"generate.choice": "progress", "tune.replay": 0.0}, []),
        (BOTH | {"tune.replay": 4.0, "tune.replay_choice": "uniform"}, ["`generate.choice"]),
        (
            {"generate.choice": "progress", "tune.replay": 4.0, "review.judge": "referee"},
            [],
        ),
    ],
)
def test_a_choice_that_decides_nothing_is_named(
    workplace: Workplace, params: dict[str, object], expected: list[str]
) -> None:
    iterations = {
        name: {"previous": before, "generate": {}, "tune": {}}
        for name, before in (("1", "0"), ("2", "1"))
    }
    settings = workplace.params({**SIZES, "iterations": iterations, **params})
    notices = list(replay_notices(settings))
    assert len(notices) == len(expected)
    for notice, words in zip(notices, expected, strict=True):
        assert words in notice
        assert notice.endswith("Lower `tune.replay`.")


def test_old_rows_are_counted_along_the_line_whatever_the_order(workplace: Workplace) -> None:
    """100 rows, then 130: three times 40 are all of them in iteration 1 alone."""
    lines = [("2", "1"), ("1", "0"), ("1b", "0")]
    iterations = {name: {"previous": before, "generate": {}, "tune": {}} for name, before in lines}
    sizes = {**SIZES, "generate.hard": 30, "tune.replay": 3.0}
    settings = workplace.params({**sizes, "iterations": iterations, "generate.choice": "progress"})
    assert [notice.split(",")[0] for notice in replay_notices(settings)] == [
        "iteration 1: `tune.replay: 3` takes every old row"
    ]
