"""The phase `calibrate`: the referee on pairs whose better answer is known, and a second referee.

Anchors are pairs of a right and a wrong answer; the second referee judges a sample of what the
first one judged. The results decide nothing in the loop. Reads the file of anchors; writes no file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lion import pools, statistics
from lion.config.settings import Referee, Scorer, Settings
from lion.conversations import transcript
from lion.discrimination import pairwise, scorers
from lion.discrimination import verdicts as discrimination
from lion.discrimination.pairwise import Pair
from lion.errors import DataError, LionError
from lion.failure_limit import check_dropped
from lion.llm.protocols import Clients
from lion.metrics.judging import AgainstSecond, AgainstTruth
from lion.metrics.units import PointsEstimate, RoleUsage, ShareEstimate
from lion.prompting.templates import Prompts
from lion.records import jsonl
from lion.records.rows import Answer, Dropped, Instruction, Review, Row, Verdict, instruction_id
from lion.stage_table import Role
from lion.statistics import Bootstrap

EXAM = "exam"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The referee's reviews of the anchors, and the second referee's reviews of judged rows.

    `dropped` are the reviews without scores. The usage of a referee is None if it was not asked.
    """

    anchors: list[Review]
    second: list[Review]
    dropped: list[Dropped]
    referee_usage: RoleUsage | None
    second_usage: RoleUsage | None


def calibrate(
    anchors: Sequence[Pair],
    compared: Sequence[Pair],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> Calibrated:
    """Return both referees' reviews, each pair in both orders.

    Raises TooManyDroppedError if more than `evaluate.max_dropped` of them have no scores.
    """
    second = settings.calibrate.second
    judged = _Judged(settings, clients, templates)
    by_first, first_usage = judged.reviews("referee", settings.referee, anchors)
    by_second, second_usage = judged.reviews("second", second, compared)
    reviews = [*by_first, *by_second]
    dropped = pairwise.dropped(reviews, "calibrate")
    check_dropped(dropped, settings.evaluate.max_dropped, len(reviews), "evaluate.max_dropped")
    return Calibrated(by_first, by_second, dropped, first_usage, second_usage)


@dataclass(frozen=True, slots=True)
class _Judged:
    settings: Settings
    clients: Clients
    templates: Prompts

    def reviews(
        self, role: Role, referee: Referee | None, pairs: Sequence[Pair]
    ) -> tuple[list[Review], RoleUsage | None]:
        """Return a referee's reviews and its usage; ([], None) without pairs or referee."""
        if not pairs or referee is None:
            return [], None
        wanted, share = pairwise.in_both_orders(pairs), self.settings.evaluate.max_dropped
        with self.clients.open(role, referee) as client:
            limit = pairwise.ReviewLimit(share, "evaluate.max_dropped")
            reviews = pairwise.ask(client, wanted, self.templates, referee.form, limit)
            return reviews, client.usage.versioned()


def second_sample(
    verdicts: Sequence[Verdict],
    cache: Sequence[Instruction],
    responses: Sequence[Answer],
    settings: Settings,
    *,
    depth: int,
) -> list[Pair]:
    """Return the pairs for the second referee: a sample of those decided in both orders."""
    if settings.calibrate.second is None:
        return []
    decided = [row.id for row in verdicts if row.gap is not None and row.basis == "both_orders"]
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="second", depth=depth)
    chosen = pools.sample(decided, settings.calibrate.second_rows, rng)
    rows, answers = {row.id: row for row in cache}, {row.id: row for row in responses}
    return [pairwise.pair(rows[identity], answers[identity]) for identity in chosen]


def anchor_problems(settings: Settings) -> Iterator[str]:
    """Yield why the anchors that params name cannot be used."""
    anchors = settings.calibrate.anchors
    if anchors == EXAM and settings.exam.scorer.kind in ("referee", "json_schema"):
        yield (
            f"calibrate.anchors: the scorer `{settings.exam.scorer.kind}` knows no right answer. "
            "Name a file of anchors, or null."
        )
    elif anchors not in (None, EXAM):
        try:
            read_anchors(Path(str(anchors)))
        except LionError as error:
            yield f"calibrate.anchors: {error}"


def read_anchors(path: Path) -> list[Pair]:
    """Return the anchors of a file, lines of {instruction, right, wrong}. Raises DataError.

    The right answer takes the teacher's place in a pair, the wrong one the student's.
    """
    pairs = [pair for _, pair in jsonl.read_user_rows(path, _read_anchor)]
    if not pairs:
        raise DataError(f"{path}: no row in it")
    return pairs


def exam_anchors(
    exam: Sequence[Instruction], scorer: Scorer, limit: int, random_seed: int
) -> list[Pair]:
    """Return at most `limit` anchors made of the exam's rows, drawn at random.

    The right answer is the row's expected answer, the wrong one that of another row in its
    category. The exam's scorer must agree with both.
    """
    expected: dict[str | None, list[str]] = {}
    for row in exam:
        if row.expected is not None:
            texts = expected.setdefault(row.category, [])
            texts += [row.expected] if row.expected not in texts else []
    rng = pools.rng_for(random_seed=random_seed, purpose="anchors", depth=0)
    pairs = []
    for row in pools.sample(exam, len(exam), rng):
        if row.expected is None or not _marked(row.expected, row, scorer):
            continue
        others = [text for text in expected[row.category] if _marked(text, row, scorer) is False]
        if others:
            pairs.append(_anchor(row, row.expected, rng.choice(others)))
    return pools.sample(pairs, limit, rng)


def against_truth(reviews: Sequence[Review], tau: float, bootstrap: Bootstrap) -> AgainstTruth:
    """Return how well a referee judges anchors, with both orders averaged.

    accuracy: share with the higher mean score for the right answer; ties: pairs with equal scores;
    hard: share whose gap reaches tau, 1 at best; auc: probability that a random right answer
    scores above a random wrong one, 0.5 for random scores (pairs are resampled as a whole).
    """
    judged = [row for row in discrimination.verdicts(reviews, tau) if row.gap is not None]
    confidence = bootstrap.confidence
    right = [row.teacher_mean or 0.0 for row in judged]
    wrong = [row.student_mean or 0.0 for row in judged]
    ahead = [(row.gap or 0) > 0 for row in judged]
    hard = [row.difficulty == "hard" for row in judged]
    return AgainstTruth(
        rows=len(judged),
        accuracy=ShareEstimate.of(statistics.accuracy(ahead, confidence)),
        ties=sum(row.gap == 0 for row in judged),
        hard=ShareEstimate.of(statistics.accuracy(hard, confidence)),
        auc=ShareEstimate.of(statistics.auc(right, wrong, bootstrap)),
    )


def against_second(
    ours: Mapping[str, Verdict], reviews: Sequence[Review], tau: float, bootstrap: Bootstrap
) -> AgainstSecond:
    """Return how a second referee's `reviews` compare with our verdicts of the same rows.

    self_preference: the referee's gap minus the second referee's, in points; above 0, the referee
    prefers the teacher's answers, which are its own if it is the same model. agreement: the share
    of rows with the same difficulty.
    """
    pairs = [
        (ours[theirs.id], theirs)
        for theirs in discrimination.verdicts(reviews, tau)
        if theirs.gap is not None and theirs.id in ours and ours[theirs.id].gap is not None
    ]
    same = [first.difficulty == second.difficulty for first, second in pairs]
    more = [(first.gap or 0.0) - (second.gap or 0.0) for first, second in pairs]
    return AgainstSecond(
        rows=len(pairs),
        agreement=ShareEstimate.of(statistics.accuracy(same, bootstrap.confidence)),
        self_preference=PointsEstimate.of(statistics.mean(more, bootstrap)),
    )


def _read_anchor(row: Row) -> Pair:
    texts = [row.get(name) for name in ("instruction", "right", "wrong")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError("texts `instruction`, `right` and `wrong` are expected")
    question, right, wrong = (str(text) for text in texts)
    identity = instruction_id([{"role": "user", "content": question}])
    return Pair(identity, question, right, Answer(identity, wrong, "stop", None), right)


def _anchor(row: Instruction, right: str, wrong: str) -> Pair:
    answer = Answer(row.id, wrong, "stop", None)
    return Pair(row.id, transcript(row.messages), right, answer, right)


def _marked(text: str, row: Instruction, scorer: Scorer) -> bool | None:
    return scorers.score(text, row.expected, scorer, row.id).correct
