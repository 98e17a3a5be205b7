"""The referee against truth: pairs of a right and a wrong answer, and what it makes of them.

And against a second referee. Reads the anchors' file; asks nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lion import pools, statistics
from lion.config.settings import Scorer, Settings
from lion.discrimination import scorers, verdicts
from lion.discrimination.pairwise import Pair
from lion.errors import DataError, LionError
from lion.metrics.judging import AgainstSecond, AgainstTruth
from lion.metrics.units import PointsEstimate, ShareEstimate
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Review, Row, Verdict, instruction_id
from lion.statistics import Bootstrap
from lion.student.chat_format import transcript

EXAM = "exam"


def anchor_problems(settings: Settings) -> Iterator[str]:
    """Yield why the anchors of params cannot be used, before anything is spent."""
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
    """Read anchors, lines of {instruction, right, wrong}, as pairs. Raises DataError.

    The right answer stands in the teacher's place, the wrong one in the student's.
    """
    found = [pair for _, pair in jsonl.read_plain(path, _pair)]
    if not found:
        raise DataError(f"{path}: no row in it")
    return found


def made(exam: Sequence[Instruction], scorer: Scorer, limit: int, random_seed: int) -> list[Pair]:
    """Return at most `limit` anchors of the exam's rows, drawn by lot.

    Right is what a row expects, wrong what another row of its category does; both only where the
    exam's own scorer says so.
    """
    expected: dict[str | None, list[str]] = {}
    for row in exam:
        if row.expected is not None:
            known = expected.setdefault(row.category, [])
            known += [row.expected] if row.expected not in known else []
    rng = pools.rng_for(random_seed=random_seed, purpose="anchors", depth=0)
    found = []
    for row in pools.sample(exam, len(exam), rng):
        if row.expected is None or not _marked(row.expected, row, scorer):
            continue
        others = [one for one in expected[row.category] if _marked(one, row, scorer) is False]
        if others:
            found.append(_of(row, row.expected, rng.choice(others)))
    return pools.sample(found, limit, rng)


def against_truth(reviews: Sequence[Review], tau: float, bootstrap: Bootstrap) -> AgainstTruth:
    """Return how a referee judges anchors, both orders averaged.

    accuracy: the right answer has the higher mean score; ties: the same; hard: the gap reaches tau,
    as it should; auc: the chance that some right answer has a higher score than some wrong one, 0.5
    by lot (the two answers of a pair are resampled together).
    """
    found = [row for row in verdicts.verdicts(reviews, tau) if row.gap is not None]
    confidence = bootstrap.confidence
    right = [row.teacher_mean or 0.0 for row in found]
    wrong = [row.student_mean or 0.0 for row in found]
    ahead = [(row.gap or 0) > 0 for row in found]
    hard = [row.difficulty == "hard" for row in found]
    return AgainstTruth(
        rows=len(found),
        accuracy=ShareEstimate.of(statistics.accuracy(ahead, confidence)),
        ties=sum(row.gap == 0 for row in found),
        hard=ShareEstimate.of(statistics.accuracy(hard, confidence)),
        auc=ShareEstimate.of(statistics.auc(right, wrong, bootstrap)),
    )


def against_second(
    ours: Mapping[str, Verdict], reviews: Sequence[Review], tau: float, bootstrap: Bootstrap
) -> AgainstSecond:
    """Return how a second referee's `reviews` compare with our verdicts of the same rows.

    self_preference: how much larger the gap is for the referee than for the second one, in points;
    above 0, the referee favours the teacher's answers, its own where it is the same model.
    agreement: the share of rows that are hard for both, or easy for both.
    """
    pairs = [
        (ours[theirs.id], theirs)
        for theirs in verdicts.verdicts(reviews, tau)
        if theirs.gap is not None and theirs.id in ours and ours[theirs.id].gap is not None
    ]
    same = [one.difficulty == other.difficulty for one, other in pairs]
    more = [(one.gap or 0.0) - (other.gap or 0.0) for one, other in pairs]
    return AgainstSecond(
        rows=len(pairs),
        agreement=ShareEstimate.of(statistics.accuracy(same, bootstrap.confidence)),
        self_preference=PointsEstimate.of(statistics.mean(more, bootstrap)),
    )


def _pair(row: Row) -> Pair:
    texts = [row.get(name) for name in ("instruction", "right", "wrong")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError("texts `instruction`, `right` and `wrong` are expected")
    question, right, wrong = (str(text) for text in texts)
    identity = instruction_id([{"role": "user", "content": question}])
    return Pair(identity, question, right, Answer(identity, wrong, "stop", None), right)


def _of(row: Instruction, right: str, wrong: str) -> Pair:
    answer = Answer(row.id, wrong, "stop", None)
    return Pair(row.id, transcript(row.messages), right, answer, right)


def _marked(text: str, row: Instruction, scorer: Scorer) -> bool | None:
    return scorers.score(text, row.expected, scorer, row.id).correct
