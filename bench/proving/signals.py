"""How well each signal ranks what the exact referee calls hard: areas under the curve."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lion.config.settings import Settings
from lion.discrimination.likelihood import ranked_answers
from lion.discrimination.review import review
from lion.loop import Loop, State
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Instruction, Likelihood, Review, Signal
from lion.statistics import Bootstrap, auc_of_groups
from proving.money import NOISY, MockBilling

ROWS = 600
"""Rows of the Cache Pool, drawn uniformly."""
# intervals are over seeds; of fewer than two resamples scipy has no standard error, and warns
_NO_INTERVAL = Bootstrap(confidence=0.95, resamples=2, seed=0)

Scores = Mapping[str, float]


def areas(loop: Loop, state: State) -> dict[str, float | None]:
    """Return by signal the chance that a hard row ranks above an easy one; None of one kind alone.

    Hard is what the exact referee gives a gap of tau or more in both orders together. Nothing that
    is asked here is billed.
    """
    seed, depth = loop.settings.random_seed, state.depth + 1
    drawn = random.Random(f"signals {seed} {depth}").sample(list(state.cache), ROWS)
    respondent = loop.respondent(state)
    answers = respondent.respond(drawn, seed + depth)
    judged = _Judged(drawn, answers, loop.settings, loop.templates["referee"])
    exact = _gaps(judged.reviews("referee", MockBilling(seed)))
    noisy = judged.reviews("referee", MockBilling(seed, NOISY))
    signals: dict[str, Scores] = {
        **_likelihoods(respondent.likelihoods(drawn, unprompted=True), loop.settings),
        "scorer": _gaps(judged.reviews("scorer", MockBilling(seed))),
        "noisy referee, one order": _gaps(row for row in noisy if row.order == "teacher_first"),
        "noisy referee, both orders": _gaps(noisy),
    }
    tau = loop.settings.split.tau
    hard = {id: gap >= tau for id, gap in exact.items()}
    return {name: _area(scores, hard) for name, scores in signals.items()}


@dataclass(frozen=True, slots=True)
class _Judged:
    """The drawn rows with the student's answers, ready to be judged in both orders."""

    rows: Sequence[Instruction]
    answers: Sequence[Answer]
    settings: Settings
    prompts: Prompts

    def reviews(self, judge: str, billing: MockBilling) -> Sequence[Review]:
        every = {"limit": None, "second_order_margin": None, "same_answer": "ask"}
        rules = self.settings.review.model_copy(update={"judge": judge, **every})
        settings = self.settings.model_copy(update={"review": rules})
        judged = review(self.rows, self.answers, [], settings, billing, self.prompts, depth=1)
        return judged.reviews


def _gaps(reviews: Iterable[Review]) -> Scores:
    """Return the mean over the orders of (teacher score - student score), by id."""
    gaps: dict[str, list[float]] = defaultdict(list)
    for row in reviews:
        if row.teacher_score is not None and row.student_score is not None:
            gaps[row.id].append(row.teacher_score - row.student_score)
    return {id: fmean(values) for id, values in gaps.items()}


def _likelihoods(rows: Sequence[Likelihood], settings: Settings) -> dict[str, Scores]:
    """Return nats per token by id, and the same less what the answer costs by itself."""
    corrected = {row.id: row.signal for row in ranked_answers(rows, settings.review)}
    return {
        "likelihood": {row.id: row.nll_nats for row in rows if row.nll_nats is not None},
        "likelihood, IFD": {
            id: signal.score_nats
            for id, signal in corrected.items()
            if isinstance(signal, Signal) and signal.score_nats is not None
        },
    }


def _area(scores: Scores, hard: Mapping[str, bool]) -> float | None:
    groups: dict[bool, list[float]] = {True: [], False: []}
    for id, score in scores.items():
        if id in hard:
            groups[hard[id]].append(score)
    estimate = auc_of_groups(groups[True], groups[False], _NO_INTERVAL)
    return None if estimate is None else round(estimate.value, 4)
