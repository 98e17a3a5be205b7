"""An open-ended exam: answers of two sides, compared by the referee, and the metrics of that.

Two settings of the paper: the Vicuna protocol (scores on the first line, one order, the reference
first) and the calibrated one (evidence first, both orders averaged).

Quality is the paper's ratio of sums. It grows with length where judges prefer long answers, so the
main figure is the length-controlled win rate (Dubois et al. 2024, arXiv:2404.04475): a logistic
regression of the winner on the difference in length, evaluated at equal length. With one pair of
models there is no term for the difficulty of a question.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lion import statistics
from lion.config.settings import Settings
from lion.discrimination import pairwise, verdicts
from lion.discrimination.pairwise import Pair
from lion.errors import DataError
from lion.evaluation import vicuna_files
from lion.evaluation.vicuna_files import Question
from lion.failure_limit import check_dropped
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.metrics.exams import OpenEnded, OpenExamMetrics
from lion.metrics.units import PercentEstimate
from lion.prompting import teacher
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import ORDERS, Answer, Dropped, Instruction, Review, reasons
from lion.statistics import Bootstrap, Estimate

TEACHER = "teacher"
_RIDGE = 0.1
"""Ridge of the slope: keeps it finite where the longer answer always wins."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Compared:
    """One question's mean scores over the orders, and the lengths of both answers in characters.

    `lengths` is None if the answers are not available.
    """

    category: str
    candidate: float
    reference: float
    lengths: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class OpenExam:
    """The questions of an exam, and what answering and judging them needs.

    `templates` are the prompts of teacher and referee. `respondent` loads a checkpoint.
    """

    questions: Sequence[Question]
    settings: Settings
    clients: Clients
    templates: Mapping[PromptRole, Prompts]
    respondent: Callable[[Path], Respondent]

    def compare(self, reference: str, candidate: str, *, scores_first: bool) -> OpenExamMetrics:
        """Return the metrics of `candidate` against `reference`.

        A side is a file of answers, a student's folder, or `teacher`. Raises DataError if a side is
        none of these, TooManyDroppedError, and what the client raises.
        """
        pairs = self._pairs(reference, candidate)
        orders = ORDERS[:1] if scores_first else ORDERS
        settings, share = self.settings, self.settings.evaluate.max_dropped
        with self.clients.open("referee", settings.referee) as client:
            wanted = [(pair, order) for pair in pairs for order in orders]
            form = "scores_first" if scores_first else settings.referee.form
            reviews = pairwise.ask(client, wanted, self.templates["referee"], form, share)
            usage = client.account.versioned()
        dropped = pairwise.dropped(reviews, "exam")
        check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
        evaluate = settings.evaluate
        bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
        rows = _averaged(self.questions, pairs, reviews, len(orders))
        return OpenExamMetrics(
            setting=1 if scores_first else 2,
            figures=open_ended_metrics(rows, bootstrap),
            dropped=reasons(dropped),
            referee=usage,
        )

    def _pairs(self, reference: str, candidate: str) -> list[Pair]:
        first, second = (self._texts(side) for side in (reference, candidate))
        return [
            Pair(question.key, question.text, ours, Answer(question.key, theirs, "stop", None), "")
            for question, ours, theirs in zip(self.questions, first, second, strict=True)
        ]

    def _texts(self, side: str) -> list[str]:
        path = Path(side)
        if side == TEACHER:
            return self._taught()
        if path.is_file():
            return vicuna_files.join(self.questions, vicuna_files.read_answers(path), path)
        if path.is_dir():
            respondent = self.respondent(path)
            responses = respondent.respond(self._instructions(), self.settings.random_seed)
            return [response.text for response in responses]
        raise DataError(
            f"{side}: neither a file of answers nor a student's folder. Name one, or `{TEACHER}`."
        )

    def _instructions(self) -> list[Instruction]:
        return [
            Instruction.new(
                [{"role": "user", "content": question.text}], origin="exam", iteration="0"
            )
            for question in self.questions
        ]

    def _taught(self) -> list[str]:
        rows = self._instructions()
        requests = [teacher.answer_request(row, self.templates["teacher"]) for row in rows]
        with self.clients.open("teacher", self.settings.teacher) as client:
            outcomes = client.ask(requests, max_failed=0)
        answers = [teacher.parse_answer(*pair, "keep") for pair in zip(rows, outcomes, strict=True)]
        failed = [row for row in answers if isinstance(row, Dropped)]
        check_dropped(failed, 0.0, len(answers), "an exam's reference")
        return [row.text for row in answers if isinstance(row, Answer)]


def _averaged(
    questions: Sequence[Question], pairs: Sequence[Pair], reviews: Sequence[Review], orders: int
) -> list[Compared]:
    """Return the questions that have scores in all orders, with their mean scores."""
    means = verdicts.means(reviews, orders)
    return [
        Compared(
            question.category,
            means[pair.id][1],
            means[pair.id][0],
            (len(pair.student.text), len(pair.teacher)),
        )
        for question, pair in zip(questions, pairs, strict=True)
        if pair.id in means
    ]


def open_ended_metrics(rows: Sequence[Compared], bootstrap: Bootstrap) -> OpenEnded:
    """Return all metrics of `rows`; a metric is None if there is nothing to measure."""
    outcomes = Counter(_outcome(row) for row in rows)
    categories = sorted({row.category for row in rows})
    return OpenEnded(
        rows=len(rows),
        candidate_points_sum=sum(row.candidate for row in rows),
        reference_points_sum=sum(row.reference for row in rows),
        quality=PercentEstimate.of(_quality(rows, bootstrap)),
        win_rate=PercentEstimate.of(win_rate(rows, bootstrap)),
        length_controlled_win_rate=PercentEstimate.of(length_controlled(rows, bootstrap)),
        win=outcomes["win"],
        tie=outcomes["tie"],
        loss=outcomes["loss"],
        categories={
            name: PercentEstimate.of(
                _quality([row for row in rows if row.category == name], bootstrap)
            )
            for name in categories
        },
    )


def win_rate(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    """Return the share of questions that the candidate wins, in percent; a tie is half a win."""
    return statistics.mean([100 * _preference(row) for row in rows], bootstrap)


def length_controlled(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    """Return the win rate at equal length, in percent; None if a length is unknown.

    logit P(win) = a + b tanh((candidate's - reference's length) / their standard deviation), with
    a ridge on b; the figure is 100 / (1 + exp(-a)).
    """
    import numpy as np

    lengths = [row.lengths for row in rows if row.lengths is not None]
    if not rows or len(lengths) < len(rows):
        return None
    longer = np.array([candidate - reference for candidate, reference in lengths], dtype=float)
    spread = longer.std()
    features = np.tanh(longer / spread) if spread else np.zeros_like(longer)
    wins = [_preference(row) for row in rows]
    return statistics.paired(wins, features.tolist(), _at_equal_length, bootstrap)


def _at_equal_length(wins: Any, features: Any, axis: int) -> Any:
    """Return win rates in percent (...) of resamples (..., rows), all fitted at once by Newton."""
    import numpy as np
    from scipy.special import expit

    assert axis == -1
    a, b = np.zeros(wins.shape[:-1]), np.zeros(wins.shape[:-1])
    for _ in range(_STEPS):
        chance = expit(a[..., None] + b[..., None] * features)
        weight = chance * (1 - chance)
        error = wins - chance
        # a ridge of 0.01 on `a` keeps it finite where one side always wins
        slope_a = error.sum(-1) - 0.01 * a
        slope_b = (error * features).sum(-1) - _RIDGE * b
        aa, bb = weight.sum(-1) + 0.01, (weight * features**2).sum(-1) + _RIDGE
        ab = (weight * features).sum(-1)
        scale = aa * bb - ab**2
        # bounded: a full Newton step from far away overshoots
        a = a + np.clip((bb * slope_a - ab * slope_b) / scale, -1, 1)
        b = b + np.clip((aa * slope_b - ab * slope_a) / scale, -1, 1)
    return 100 * expit(a)


def _preference(row: Compared) -> float:
    return {"win": 1.0, "tie": 0.5, "loss": 0.0}[_outcome(row)]


def _outcome(row: Compared) -> str:
    if row.candidate == row.reference:
        return "tie"
    return "win" if row.candidate > row.reference else "loss"


def _quality(rows: Sequence[Compared], bootstrap: Bootstrap) -> Estimate | None:
    return statistics.quality([(row.candidate, row.reference) for row in rows], bootstrap)
