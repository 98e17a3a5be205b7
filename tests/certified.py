"""Synthetic exams whose students know how sure they may be; claims nothing itself."""

import math
import random
from collections.abc import Callable

from lion.metrics.certificates import StudentIdentity
from lion.records.rows import ExamAnswer, Instruction, TeacherAnswer, TokenScores

IDENTITY = StudentIdentity("a" * 64, "b" * 64, "c" * 64, "transformers, raw, of chosen tokens")


def question(number: int, category: str = "sums") -> Instruction:
    return Instruction.new(
        [{"role": "user", "content": f"Question {number}?"}],
        origin="exam",
        iteration="0",
        category=category,
    )


def answer(
    row: Instruction, text: str, teacher: str | None, logprob: float, finish_reason: str = "stop"
) -> ExamAnswer:
    """Return an answer of one token and its end; its uncertainty is `-logprob`."""
    given = None if teacher is None else TeacherAnswer(teacher, "stop", "oracle")
    tokens = TokenScores((logprob, 0.0), (len(text), len(text)))
    tokens_or_none = tokens if math.isfinite(logprob) else None
    return ExamAnswer(row.id, text, finish_reason, "student", tokens_or_none, given)


def exam(
    rows: int, sure: Callable[[random.Random], float], seed: int = 0
) -> tuple[list[Instruction], list[ExamAnswer]]:
    """Return an exam, and answers that are the teacher's with the probability that `sure` draws."""
    rng = random.Random(seed)
    questions = [question(number, ("sums", "words")[number % 2]) for number in range(rows)]
    answers = []
    for row in questions:
        chance = sure(rng)
        text = "yes" if rng.random() < chance else "no"
        answers.append(answer(row, text, "yes", round(math.log(max(chance, 1e-9)), 4)))
    return questions, answers
