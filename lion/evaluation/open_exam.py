"""Readers of an open-ended exam's files: questions, answers and reviews, joined by question.

Two formats: Vicuna-80's own (FastChat: `question_id`, `text`, `category`, `score`), and plain JSONL
with a question in `instruction` or `question`, an answer in `output` or `answer`, and a key `id`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lion import statistics
from lion.config.settings import Settings
from lion.discrimination import pairwise, verdicts
from lion.discrimination.pairwise import Pair
from lion.errors import DataError
from lion.failure_limit import check_dropped
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.llm.request_set import DropLimit
from lion.metrics.exams import OpenEnded, OpenExamMetrics
from lion.metrics.units import PercentEstimate
from lion.prompting import judge_parser, teacher
from lion.prompting.templates import PromptRole, Prompts
from lion.records import jsonl
from lion.records.rows import ORDERS, Answer, Dropped, Instruction, Review, Row, reasons
from lion.statistics import Bootstrap, Estimate

T = TypeVar("T")
_KEYS, _UNCATEGORISED = ("question_id", "id"), "uncategorised"


@dataclass(frozen=True, slots=True)
class Question:
    """One question; answers and reviews refer to it by `key`."""

    key: str
    text: str
    category: str


@dataclass(frozen=True, slots=True)
class ReadReview:
    """One review's scores of the first and the second answer: those recorded in its file, and ours.

    `recorded` is None if the file has no scores. `read` are the scores in the review's text, or the
    reason why it has no two scores.
    """

    key: str
    recorded: judge_parser.Scores | None
    read: judge_parser.Scores | str


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a file. Raises DataError."""
    return _read(path, _question, key=lambda question: question.key)


def read_answers(path: Path) -> dict[str, str]:
    """Return the answers of a file by their question's key. Raises DataError."""
    answers = _read(
        path,
        lambda row: (_key(row), _first(row, ("text", "output", "answer", "response"))),
        key=lambda answer: answer[0],
    )
    return dict(answers)


def read_reviews(path: Path) -> list[ReadReview]:
    """Return the reviews of a file, whose first line holds both scores. Raises DataError."""
    return _read(path, _review, key=lambda review: review.key)


def join(questions: Sequence[Question], by_key: dict[str, T], path: Path) -> list[T]:
    """Return the value of each question, in their order. Raises DataError if one has none."""
    missing = [question.key for question in questions if question.key not in by_key]
    if missing:
        raise DataError(
            f"{path}: nothing for {len(missing)} of {len(questions)} questions, the first of them "
            f"{missing[0]}. Complete the file, or shorten the questions' file."
        )
    return [by_key[question.key] for question in questions]


def _question(row: Row) -> Question:
    category = row.get("category") or _UNCATEGORISED
    if not isinstance(category, str):
        raise DataError(f"category: text is expected, found {category!r:.60}")
    return Question(_key(row), _first(row, ("text", "instruction", "question", "prompt")), category)


def _review(row: Row) -> ReadReview:
    recorded = row.get("score")
    pair = None
    if recorded is not None:
        if not (
            isinstance(recorded, list) and len(recorded) == 2 and all(map(_is_number, recorded))
        ):
            raise DataError(f"score: two numbers are expected, found {recorded!r:.60}")
        pair = (float(recorded[0]), float(recorded[1]))
        if pair == (-1.0, -1.0):  # FastChat writes this for a review that it could not read
            pair = None
    return ReadReview(_key(row), pair, judge_parser.from_first_line(_first(row, ("text",))))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(row: Row) -> str:
    key = next((row[name] for name in _KEYS if row.get(name) is not None), None)
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise DataError(f"one of {', '.join(_KEYS)} is expected, a text or a whole number")
    return str(key)


def _first(row: Row, names: tuple[str, ...]) -> str:
    text = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(text, str):
        raise DataError(f"one of {', '.join(names)} is expected, a text")
    return text


def _read(path: Path, make: Callable[[Row], T], key: Callable[[T], str]) -> list[T]:
    """Return the records of JSON lines. Raises DataError, also for a question with two rows."""
    by_key: dict[str, T] = {}
    for number, record in jsonl.read_user_rows(path, make):
        if key(record) in by_key:
            raise DataError(f"{path}, line {number}: question {key(record)} stands twice")
        by_key[key(record)] = record
    if not by_key:
        raise DataError(f"{path}: no row in it")
    return list(by_key.values())


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

        A side is a file of answers, a student's folder, or `teacher`. `scores_first` is the paper's
        Setting 1, one judgement of one order; else Setting 2, `evaluate.samples` of both. Raises
        DataError if a side is none of these, TooManyDroppedError, and what the client raises.
        """
        pairs = self._pairs(reference, candidate)
        orders = ORDERS[:1] if scores_first else ORDERS
        settings, share = self.settings, self.settings.evaluate.max_dropped
        judge = settings.exam_referee
        form = "scores_first" if scores_first else judge.form
        samples = 1 if scores_first else settings.evaluate.samples
        with self.clients.open("referee", judge) as client:
            wanted = [(pair, order) for pair in pairs for order in orders]
            limit = pairwise.ReviewLimit(share, "evaluate.max_dropped")
            reviews = pairwise.ask(client, wanted, self.templates["referee"], form, limit, samples)
            usage = client.usage.versioned()
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
            return join(self.questions, read_answers(path), path)
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
            outcomes = client.complete(requests, DropLimit(0, parameter="an exam's reference"))
        answers = [teacher.parse_answer(*pair, "keep") for pair in zip(rows, outcomes, strict=True)]
        failed = [row for row in answers if isinstance(row, Dropped)]
        check_dropped(failed, 0.0, len(answers), "an exam's reference")
        return [row.text for row in answers if isinstance(row, Answer)]


def _averaged(
    questions: Sequence[Question], pairs: Sequence[Pair], reviews: Sequence[Review], orders: int
) -> list[Compared]:
    """Return the questions that have scores in all orders, with their mean scores."""
    means = verdicts.means(verdicts.pooled(reviews), orders)
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
    pairs = [(row.candidate, row.reference) for row in rows]
    return statistics.quality(pairs, bootstrap.confidence)
