"""Open-ended exams: sums, quality and win rates of reviews that exist already."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fixtures import ROOT
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from lion.cli import main
from lion.evaluation import open_exam
from lion.evaluation.open_exam import Compared
from lion.statistics import Bootstrap

VICUNA = ROOT / "../shared/data/vicuna80"
BOOTSTRAP = Bootstrap(0.95, 100, 0)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["exam", "reviews", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.skipif(not VICUNA.is_dir(), reason="Vicuna-80 lies beside the project")
def test_vicunas_own_reviews_come_to_the_published_sums() -> None:
    """583.0 and 704.0, from the file's scores and from our reading of all eighty texts."""
    reviews = VICUNA / "reviews/review_alpaca-13b_vicuna-13b.jsonl"
    found = json.loads(run(VICUNA / "question.jsonl", reviews, "--json"))
    for reading in ("stated", "read"):
        one = found[reading]
        assert (one["candidate_points_sum"], one["reference_points_sum"], one["rows"]) == (
            583.0,
            704.0,
            80,
        )
        assert len(one["categories"]) == 9
    assert found["differences"] == []


def test_every_difference_between_file_and_text_is_told(tmp_path: Path) -> None:
    questions = lines(tmp_path / "q", *({"id": n, "instruction": "?"} for n in range(4)))
    reviews = lines(
        tmp_path / "r",
        {"id": 0, "text": "8 6\nGood.", "score": [8, 6]},
        {"id": 1, "text": "8 6\nGood.", "score": [8, 7]},
        {"id": 2, "text": "Good.", "score": [8, 7]},
        {"id": 3, "text": "Bad.", "score": [-1, -1]},
    )
    found = json.loads(run(questions, reviews, "--json"))
    assert [one["question"] for one in found["differences"]] == ["1", "2"]
    assert found["unread"] == ["2", "3"]
    assert (found["stated"]["rows"], found["read"]["rows"]) == (3, 2)  # -1 is no score
    assert "question 2: the file (8.0, 7.0), its text no_scores" in run(questions, reviews)


def test_the_candidate_may_be_either(tmp_path: Path) -> None:
    questions = lines(tmp_path / "q", {"id": "a", "question": "?", "category": "x"})
    reviews = lines(tmp_path / "r", {"id": "a", "text": "8 4"})
    found = [
        json.loads(run(questions, reviews, "--json", "--candidate", who))["read"] for who in "12"
    ]
    assert [one["quality"]["value_percent"] for one in found] == [200, 50]
    assert [(one["win"], one["loss"]) for one in found] == [(1, 0), (0, 1)]
    assert [one["win_rate"]["value_percent"] for one in found] == [100, 0]
    assert [one["categories"]["x"]["value_percent"] for one in found] == [200, 50]
    assert [one["candidate_points_sum"] for one in found] == [8, 4]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"id": 1, "text": "8 6"}, {"id": 1, "text": "8 6"}], "stands twice"),
        ([{"text": "8 6"}], "line 1: one of question_id, id"),
        ([{"id": 1, "text": "8 6", "score": "8 6"}], "two numbers"),
        ([{"id": 2, "text": "8 6"}], "nothing for 1 of 1 questions"),
        ([], "no row"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(
    tmp_path: Path, rows: list[object], told: str
) -> None:
    questions = lines(tmp_path / "q", {"id": 1, "text": "?"})
    command = ["exam", "reviews", str(questions), str(lines(tmp_path / "r", *rows))]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert told in done.output


def drawn(count: int, by_length: float, seed: int) -> list[Compared]:
    """Return rows where the candidate wins by lot, the likelier the longer it writes."""
    rng = np.random.default_rng(seed)
    longer = rng.normal(300, 400, count)
    wins = rng.random(count) < expit(by_length * np.tanh(longer / longer.std()))
    return [
        Compared("x", 8 if win else 6, 7, (int(1000 + more), 1000))
        for win, more in zip(wins, longer, strict=True)
    ]


def test_the_regression_is_scipys() -> None:
    """Against a general minimiser of the same penalised likelihood."""
    rows = drawn(200, 2.0, 1)
    longer = np.array([one.lengths[0] - one.lengths[1] for one in rows if one.lengths], dtype=float)
    feature, wins = np.tanh(longer / longer.std()), np.array([one.candidate > 7 for one in rows])

    def loss(at: np.ndarray) -> float:
        logits = at[0] + at[1] * feature
        fit = np.where(wins, log_expit(logits), log_expit(-logits)).sum()
        return float(-fit + 0.005 * at[0] ** 2 + 0.05 * at[1] ** 2)

    expected = 100 * expit(minimize(loss, [0.0, 0.0]).x[0])
    found = open_exam.length_controlled(rows, BOOTSTRAP)
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-3)


def test_length_alone_wins_nothing_at_equal_length() -> None:
    rows = drawn(2000, 3.0, 2)
    plain, controlled = (
        estimate(rows, BOOTSTRAP) for estimate in (open_exam.win_rate, open_exam.length_controlled)
    )
    assert plain is not None and controlled is not None
    assert plain.value > 60
    assert controlled.low is not None and controlled.high is not None
    assert controlled.low < 50 < controlled.high


@pytest.mark.parametrize("score", [1, 10])
def test_who_always_wins_has_a_finite_rate(score: int) -> None:
    rows = [Compared("x", score, 5, (number, 10)) for number in range(20)]
    found = open_exam.length_controlled(rows, BOOTSTRAP)
    assert found is not None and 0 <= found.value <= 100
    assert (found.value > 95) is (score == 10)


def test_without_lengths_there_is_no_length_control() -> None:
    assert open_exam.length_controlled([Compared("x", 8, 6, None)], BOOTSTRAP) is None
    assert open_exam.open_ended_metrics([], BOOTSTRAP).quality is None
