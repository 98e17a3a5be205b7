"""An open-ended exam: two sides answer the questions, the referee compares them, figures come out.

The paper's two settings: the Vicuna protocol (scores on the first line, one order, the reference
first) and the calibrated one (evidence first, both orders averaged). Asks through the ledger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import Settings
from lion.discrimination import pairwise, verdicts
from lion.discrimination.pairwise import Pair
from lion.errors import DataError
from lion.evaluation import open_ended_figures, vicuna_files
from lion.evaluation.open_ended_figures import Compared
from lion.evaluation.vicuna_files import Question
from lion.failure_limit import check_dropped
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.metrics.exams import OpenExamMetrics
from lion.prompting import teacher
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import ORDERS, Answer, Dropped, Instruction, Review, reasons
from lion.statistics import Bootstrap

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class OpenExam:
    """The questions of an exam, and what it takes to answer and judge them.

    `templates` are the prompts of teacher and referee. `respondent` makes the one of a checkpoint.
    """

    questions: Sequence[Question]
    settings: Settings
    clients: Clients
    templates: Mapping[PromptRole, Prompts]
    respondent: Callable[[Path], Respondent]

    def compare(self, reference: str, candidate: str, *, scores_first: bool) -> OpenExamMetrics:
        """Return the figures of `candidate` against `reference`, and why reviews have no scores.

        A side is a file of answers, a student's folder, or `teacher`. Raises DataError where a side
        is none of these, and what asking raises.
        """
        pairs = self._pairs(reference, candidate)
        orders = ORDERS[:1] if scores_first else ORDERS
        settings, share = self.settings, self.settings.evaluate.max_dropped
        with self.clients.open("referee", settings.referee) as client:
            wanted = [(pair, order) for pair in pairs for order in orders]
            form = "scores_first" if scores_first else settings.referee.form
            reviews = pairwise.ask(client, wanted, self.templates["referee"], form, share)
            asked = client.account.versioned()
        dropped = pairwise.dropped(reviews, "exam")
        check_dropped(dropped, share, len(reviews), "evaluate.max_dropped")
        evaluate = settings.evaluate
        bootstrap = Bootstrap(evaluate.confidence, evaluate.resamples, settings.random_seed)
        rows = _compared(self.questions, pairs, reviews, len(orders))
        return OpenExamMetrics(
            setting=1 if scores_first else 2,
            figures=open_ended_figures.open_ended_metrics(rows, bootstrap),
            dropped=reasons(dropped),
            referee=asked,
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
            Instruction.new([{"role": "user", "content": one.text}], origin="exam", iteration="0")
            for one in self.questions
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


def _compared(
    asked: Sequence[Question], pairs: Sequence[Pair], reviews: Sequence[Review], orders: int
) -> list[Compared]:
    """Return the questions with scores in all their orders, averaged over them."""
    found = verdicts.means(reviews, orders)
    return [
        Compared(
            question.category,
            found[one.id][1],
            found[one.id][0],
            (len(one.student.text), len(one.teacher)),
        )
        for question, one in zip(asked, pairs, strict=True)
        if one.id in found
    ]
